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

import kv
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


class Target:
    """What the checks ask: tests/bench/check_target.c."""

    def __init__(self, binary):
        self.process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.port = int(self.process.stdout.readline())

    def report(self):
        """Since the last one: requests, different checks, the longest gap of one in ms."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return [int(word) for word in self.process.stdout.readline().split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def processes():
    """(pid, parent, state, command line) of all."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            with open(f"/proc/{name}/cmdline", encoding="latin-1") as file:
                yield int(name), int(fields[1]), fields[0], file.read()
        except OSError:
            pass


def find_scripts(agent, marker):
    """How many processes are scripts of the agent, and the pids of zombies below the agent and its
    helper: a moment of that is what every process has between its end and its parent's look."""
    all_ = list(processes())
    family = {agent.process.pid} | {p for p, parent, _, _ in all_ if parent == agent.process.pid}
    return (sum(marker in line for _, _, _, line in all_),
            {pid for pid, parent, state, _ in all_ if state == "Z" and parent in family})


def http_checks(args):
    count, interval = 10000, 10
    agent = Agent(args.cairn)
    agent.start()
    target = Target(args.check_target)
    time.sleep(1)
    _, idle_kib = agent.memory()
    writer = Writer(agent)
    for i in range(count):
        writer.put("/v1/agent/check/register", {
            "Name": f"check {i}", "HTTP": f"http://127.0.0.1:{target.port}/{i}",
            "Interval": f"{interval}s", "Timeout": "5s"})
    writer.finish()
    seen = 0
    while seen < count:  # all have run, and told the catalog
        time.sleep(interval)
        seen = target.report()[1]
    shares, gaps, rates, memory = [], [], [], []
    for _ in range(3):
        begin, cpu = time.monotonic(), agent.cpu_seconds()
        time.sleep(2 * interval)
        requests, different, gap = target.report()
        took = time.monotonic() - begin
        if different != count:
            raise RuntimeError(f"{count - different} checks did not run in {took:.1f} s")
        shares.append((agent.cpu_seconds() - cpu) / took * 100)
        gaps.append(gap)
        rates.append(requests / took)
        memory.append((agent.memory()[1] - idle_kib) / 1024)
    print(f"{count} HTTP checks of {interval} s: {', '.join(f'{r:.0f}' for r in rates)} runs/s, "
          f"{', '.join(f'{s:.1f}' for s in shares)} % of a core (flat), latest by "
          f"{', '.join(f'{(g - interval * 1000) / 1000:.2f}' for g in gaps)} s (at most 1), "
          f"{', '.join(f'{m:.1f}' for m in memory)} MiB anonymous above idle (at most 40), "
          f"{len(find_scripts(agent, 'no-script')[1])} zombies (none)")
    agent.close()
    target.close()


def script_checks(args):
    count, marker = 500, str(1000000 + os.getpid())
    agent = Agent(args.cairn, {"enable_script_checks": True,
                               "http_config": {"allow_write_http_from": ["127.0.0.0/8"]}})
    agent.start()
    writer = Writer(agent)
    for i in range(count):
        writer.put("/v1/agent/check/register", {
            "Name": f"script {i}", "Interval": "5s", "Timeout": "1s",
            "ScriptArgs": ["/bin/sh", "-c", f"sleep {marker} & sleep {marker}"]})
    writer.finish()
    begin, cpu = time.monotonic(), agent.cpu_seconds()
    most = timed_out = 0
    before, stayed = set(), set()
    while timed_out < count:
        time.sleep(0.2)
        alive, dead = find_scripts(agent, marker)
        most, stayed, before = max(most, alive), stayed | (before & dead), dead
        timed_out = agent.get("/v1/agent/checks")[1].count(b"Timed out (1s) running check")
    took = time.monotonic() - begin
    share = (agent.cpu_seconds() - cpu) / took * 100
    for i in range(count):
        writer.put(f"/v1/agent/check/deregister/script%20{i}", {})
    writer.finish()
    begin = time.monotonic()
    while find_scripts(agent, marker)[0] > 0 and time.monotonic() - begin < 10:
        time.sleep(0.01)
    gone = time.monotonic() - begin
    left, dead = find_scripts(agent, marker)
    print(f"{count} script checks that time out after 1 s: all told after {took:.1f} s, at most "
          f"{most} processes of theirs at once, {share:.1f} % of a core in the agent; once "
          f"deregistered, after {gone:.2f} s: {left} processes, {len(stayed | dead)} zombies "
          f"that stayed for 0.2 s (none)")
    agent.close()


def checks(args):
    http_checks(args)
    sys.stdout.flush()
    script_checks(args)


BENCHES = {"lookup": lookup, "watchers": watchers, "idle": idle, "instances": instances,
           "filter": filters, "checks": checks, "kv": kv.run}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--bare", required=True)
    parser.add_argument("--watch-client", required=True)
    parser.add_argument("--check-target", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--watchers", type=int, default=10000)
    parser.add_argument("--idle-seconds", type=int, default=20)
    parser.add_argument("--keys", type=int, default=1000000)
    parser.add_argument("only", nargs="*", choices=[*BENCHES, []])
    args = parser.parse_args()
    for name in args.only or BENCHES:
        BENCHES[name](args)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
