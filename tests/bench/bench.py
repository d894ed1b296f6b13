"""The benchmarks of one agent. Every comparison starts both sides itself, in one run, and prints
ratios: absolute figures depend on the machine and on what else it is doing."""

import argparse
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time

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
    def __init__(self, agent, count):
        self.agent = agent
        self.sockets = []
        self.poll = select.epoll()
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", agent.http_port))
            self.sockets.append(s)
            self.poll.register(s.fileno(), select.EPOLLIN)
        self.by_fd = {s.fileno(): s for s in self.sockets}

    def ask(self, index):
        request = (f"GET /v1/health/service/web?index={index}&wait=600s HTTP/1.1\r\nHost: x\r\n"
                   "\r\n").encode()
        for s in self.sockets:
            s.sendall(request)

    def wait_parked(self):
        """All requests have reached the agent and none is answered: told by its CPU going idle."""
        last = self.agent.cpu_seconds()
        while True:
            time.sleep(0.3)
            now = self.agent.cpu_seconds()
            if now - last < 0.02:
                return
            last = now

    def take_answers(self, deadline_s):
        """Seconds until every watcher has its whole answer."""
        begin = time.monotonic()
        waiting = {fd: b"" for fd in self.by_fd}
        while waiting:
            left = deadline_s - (time.monotonic() - begin)
            if left <= 0:
                raise RuntimeError(f"{len(waiting)} watchers were not told")
            for fd, _ in self.poll.poll(left):
                data = self.by_fd[fd].recv(262144)
                if fd not in waiting:
                    raise RuntimeError("told twice")
                waiting[fd] += data
                head, _, body = waiting[fd].partition(b"\r\n\r\n")
                for line in head.split(b"\r\n"):
                    if line.startswith(b"Content-Length:") and len(body) >= int(line[15:]):
                        if not head.startswith(b"HTTP/1.1 200"):
                            raise RuntimeError(head.decode())
                        del waiting[fd]
                        break
        return time.monotonic() - begin

    def told(self):
        return len(self.poll.poll(0))

    def close(self):
        for s in self.sockets:
            s.close()


def watchers(args):
    agent = Agent(args.cairn)
    agent.start()
    writer = Writer(agent)
    for i in range(10):
        writer.put("/v1/catalog/register", instance(i, "web"))
    writer.finish()
    _, before = agent.memory()
    watchers_ = Watchers(agent, args.watchers)
    index = int(agent.get("/v1/health/service/web")[0].getheader("X-Consul-Index"))
    times = []
    for round_ in range(3):
        watchers_.ask(index)
        watchers_.wait_parked()
        if watchers_.told():
            raise RuntimeError("answered without a change")
        _, after = agent.memory()
        changed = instance(0, "web")
        changed["Service"]["Meta"]["version"] = f"2.{round_}"
        begin = time.monotonic()
        writer.put("/v1/catalog/register", changed)
        writer.finish()
        watchers_.take_answers(30)
        times.append(time.monotonic() - begin)
        index = int(agent.get("/v1/health/service/web")[0].getheader("X-Consul-Index"))
    watchers_.ask(index)
    watchers_.wait_parked()
    _, after = agent.memory()
    for i in range(1000):
        writer.put("/v1/catalog/register", instance(1000 + i % 50, f"other{i % 20}"))
    writer.finish()
    watchers_.wait_parked()
    woken = watchers_.told()
    print(f"{args.watchers} blocking queries: {(after - before) / args.watchers:.1f} KiB anonymous "
          f"each (at most 10), all told in {', '.join(f'{t:.2f}' for t in times)} s (at most 0.3), "
          f"woken by 1,000 writes to others: {woken} (none)")
    watchers_.close()
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


BENCHES = {"lookup": lookup, "watchers": watchers, "idle": idle, "instances": instances}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--bare", required=True)
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
