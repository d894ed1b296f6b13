"""The benchmarks of one agent. Every comparison starts both sides itself, in one run, and prints
ratios: absolute figures depend on the machine and on what else it is doing."""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

from agent import Agent, Writer, free_port, instance, wrk


def lookup(args):
    agent = Agent(args.cairn)
    agent.start()
    writer = Writer(agent)
    for i in range(10):
        writer.put("/v1/catalog/register", instance(i, "web"))
    writer.finish()
    path = "/v1/health/service/web?passing"
    _, body = agent.get(path)
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        port = free_port()
        bare = subprocess.Popen([args.bare, str(port), file.name])
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.01)
            ratios = []
            for _ in range(args.rounds):
                ours = wrk(f"http://127.0.0.1:{agent.http_port}{path}", 16, args.seconds)
                theirs = wrk(f"http://127.0.0.1:{port}/", 16, args.seconds)
                ratios.append(ours / theirs)
                print(f"  health lookup, {len(body)} bytes, 16 connections: {ours:.0f}/s, "
                      f"bare libmicrohttpd {theirs:.0f}/s, ratio {ours / theirs:.2f}")
            print(f"health lookup / bare libmicrohttpd: median ratio "
                  f"{statistics.median(ratios):.2f} (at least 0.7)")
        finally:
            bare.terminate()
            bare.wait()
            agent.close()


class Watchers:
    """Many blocking queries, held by tests/bench/watch_client.c."""

    def __init__(self, args, agent):
        self.agent = agent
        self.process = subprocess.Popen(
            [args.watch_client, str(agent.http_port), "/v1/health/service/web",
             str(args.watchers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.command("count")

    def command(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the client failed")
        return answer.strip()

    def wait_parked(self):
        """The agent has gone idle: it has parked what it got."""
        last = self.agent.cpu_seconds()
        while True:
            time.sleep(0.3)
            now = self.agent.cpu_seconds()
            if now - last < 0.02:
                return
            last = now

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def watchers(args):
    agent = Agent(args.cairn)
    agent.start()
    writer = Writer(agent)
    for i in range(10):
        writer.put("/v1/catalog/register", instance(i, "web"))
    writer.finish()
    _, before = agent.memory()
    clients = Watchers(args, agent)
    times = []
    for round_ in range(4):
        index = agent.get("/v1/health/service/web")[0].getheader("X-Consul-Index")
        clients.command(f"ask {index}")
        clients.wait_parked()
        if clients.command("count") != "0":
            raise RuntimeError("answered without a change")
        _, after = agent.memory()
        if round_ == 3:
            break
        changed = instance(0, "web")
        changed["Service"]["Meta"]["version"] = f"2.{round_}"
        begin = time.monotonic()
        writer.put("/v1/catalog/register", changed)
        writer.finish()
        times.append(float(clients.command("take")) - begin)
    for i in range(1000):
        writer.put("/v1/catalog/register", instance(1000 + i, f"other{i % 20}"))
    writer.finish()
    clients.wait_parked()
    woken = clients.command("count")
    print(f"{args.watchers} blocking queries: {(after - before) / args.watchers:.1f} KiB anonymous "
          f"each (at most 10), all told in {', '.join(f'{t:.2f}' for t in times)} s (at most 0.3), "
          f"woken by 1,000 writes to others: {woken} (none)")
    clients.close()
    agent.close()


def idle(args):
    starts = []
    for _ in range(5):
        agent = Agent(args.cairn)
        starts.append(agent.start())
        if len(starts) < 5:
            agent.close()
    time.sleep(2)
    begin = agent.cpu_seconds()
    time.sleep(args.idle_seconds)
    cpu = (agent.cpu_seconds() - begin) / args.idle_seconds * 100
    resident, anonymous = agent.memory()
    agent.close()
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run(["strip", "-o", file.name, args.cairn], check=True)
        size = os.path.getsize(file.name)
    print(f"idle: {resident / 1024:.1f} MiB resident (at most 16), {anonymous / 1024:.1f} MiB "
          f"anonymous (at most 5), {cpu:.2f} % of a core (at most 0.1), exec to leader "
          f"{statistics.median(starts):.3f} s (at most 0.3), stripped binary "
          f"{size / 1048576:.2f} MiB (at most 4)")


def instances(args):
    agent = Agent(args.cairn)
    agent.start()
    writer = Writer(agent)
    count, services = 20000, 400
    for i in range(services):
        writer.put("/v1/catalog/register", instance(i, f"service{i}"))
    writer.finish()
    before, _ = agent.memory()
    # Instances of one size in both cases: the lookup's answer has 50 instances before and after.
    for i in range(50):
        writer.put("/v1/catalog/register", instance(i, "probe", i))
    writer.finish()
    url = f"http://127.0.0.1:{agent.http_port}/v1/health/service/probe?passing&x="
    small = [wrk(url, 16, args.seconds) for _ in range(args.rounds)]
    begin = time.monotonic()
    for i in range(services, count):
        writer.put("/v1/catalog/register", instance(i, f"service{i % services}", i % 1000))
    writer.finish()
    took = time.monotonic() - begin
    after, _ = agent.memory()
    large = [wrk(url, 16, args.seconds) for _ in range(args.rounds)]
    agent.kill()
    restart = agent.start()
    _, body = agent.get("/v1/health/service/service399?passing")
    if body.count(b'"Checks"') != count // services:
        raise RuntimeError("instances are missing after the restart")
    print(f"20,000 instances over 400 services: {(after - before) / (count - services):.2f} KiB "
          f"resident each (at most 3), exec to serving them {restart:.2f} s (at most 0.5), a lookup "
          f"of one service against 400 instances in all: ratio "
          f"{statistics.median(large) / statistics.median(small):.2f} (about 1 or more), "
          f"{(count - services) / took:.0f} registrations/s over one connection")
    agent.close()


def filters(args):
    """What ?filter= adds to the answer that it leaves as it is; both are too large to be kept."""
    agent = Agent(args.cairn)
    agent.start()
    writer = Writer(agent)
    for i in range(1000):
        writer.put("/v1/catalog/register", instance(i, "web"))
    writer.finish()
    path = "/v1/health/service/web"
    _, plain = agent.get(path)
    for expression in ('Service.Meta.version == "1.2.3" and "v1" in Service.Tags',
                       'Checks.Output matches "200 OK" and Service.ID matches "^web-[0-9]+$"'):
        question = f"{path}?filter={urllib.parse.quote(expression, safe='')}"
        if agent.get(question)[1] != plain:
            raise RuntimeError("the filter does not keep all instances")
        ratios = []
        for _ in range(args.rounds):
            without = wrk(f"http://127.0.0.1:{agent.http_port}{path}", 2, args.seconds)
            with_it = wrk(f"http://127.0.0.1:{agent.http_port}{question}", 2, args.seconds)
            ratios.append(without / with_it)
            print(f"  1,000 instances, {len(plain)} bytes: {2000 / without:.2f} ms, filtered "
                  f"{2000 / with_it:.2f} ms, ratio {ratios[-1]:.2f}")
        print(f"{expression}: median ratio {statistics.median(ratios):.2f} (at most 3)")
    agent.close()


BENCHES = {"lookup": lookup, "watchers": watchers, "idle": idle, "instances": instances,
           "filter": filters}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--bare", required=True)
    parser.add_argument("--watch-client", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--watchers", type=int, default=10000)
    parser.add_argument("--idle-seconds", type=int, default=20)
    parser.add_argument("only", nargs="*", choices=[*BENCHES, []])
    args = parser.parse_args()
    for name in args.only or BENCHES:
        BENCHES[name](args)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
