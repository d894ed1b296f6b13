"""What a large catalog and a long time do to a group of three servers.

    large.py --cairn build/release/cairn [--instances 100000] [--calm 600]

Registers instances (node, service and two checks each), then prints: anonymous memory of each server
at rest, and the most of it from the first registration on, snapshots among them; the time from exec
until a killed server, and then all three, serve all instances; what a server whose disk was wiped takes
to catch up while 64 clients register, how many they register meanwhile, and whether anyone stepped
down. With --calm it prints the elections and errors of so many seconds at rest and as many under load
instead. Bounds: docs/TESTING.md."""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
from cairn import eventually  # noqa: E402
from group import wrk  # noqa: E402
from servers import Group  # noqa: E402
import agent as bench  # noqa: E402

LARGE = {"log_level": "INFO", "limits": {"http_max_conns_per_client": 0}}
WINDOW_S = 10
WRITERS = 16


class Writer(bench.Writer):
    def __init__(self, server):
        self.socket = bench.socket.create_connection(server.http_address)
        self.pipeline, self.waiting, self.left = 64, 0, b""


def anonymous(server):
    """MiB."""
    with open("/proc/%d/status" % server.process.pid, encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024


class Peaks:
    """The most anonymous memory that each server was seen with."""

    def __init__(self, servers):
        self.most = {server.name: 0 for server in servers}
        self.servers = servers
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.over.wait(0.02):
            for server in self.servers:
                self.most[server.name] = max(self.most[server.name], anonymous(server))

    def stop(self):
        self.over.set()
        self.thread.join()


def term(server):
    return int(server.try_request("GET", "/v1/agent/self").json["Stats"]["raft"]["term"])


def snapshots(server):
    return server.output().count("snapshot complete up to")


def count(server, service):
    reply = server.try_request("GET", "/v1/health/service/%s?passing&stale" % service, timeout=30)
    return len(reply.json) if reply is not None and reply.status == 200 else 0


def show(values):
    return " ".join("%.0f" % values[name] for name in sorted(values))


def until_serving(servers, instances, services):
    """Seconds from exec until each of them serves the first and the last service whole."""
    begin = time.monotonic()
    for server in servers:
        server.spawn()
    waiting = list(servers)
    while waiting:
        if all(count(waiting[0], "service%d" % number) == instances // services
               for number in (0, services - 1)):
            waiting.pop(0)
        elif time.monotonic() - begin > 60:
            raise AssertionError("instances are missing: %s has %s" % (waiting[0].name, [
                count(waiting[0], "service%d" % number) for number in (0, services - 1)]))
        else:
            time.sleep(0.005)
    return time.monotonic() - begin


def load(group, instances, services):
    leader, _ = group.roles()
    begin = time.monotonic()

    def write(first):
        writer = Writer(leader)
        for i in range(first, instances, WRITERS):
            writer.put("/v1/catalog/register",
                       bench.instance(i, "service%d" % (i % services), i % (instances // 10)))
        writer.finish()

    writers = [threading.Thread(target=write, args=(first,)) for first in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    print("%d instances on %d nodes over %d connections: %.0f registrations/s" % (
        instances, instances // 10, WRITERS, instances / (time.monotonic() - begin)), flush=True)


def large(args):
    services = args.instances // 100
    group = Group(3, LARGE, args.cairn)
    try:
        group.start()
        peaks = Peaks(group.servers)
        load(group, args.instances, services)
        print("snapshots so far: %s" % show({s.name: snapshots(s) for s in group.servers}))
        time.sleep(15)  # at rest
        print("anonymous memory at rest, MiB: %s" % show(
            {s.name: anonymous(s) for s in group.servers}), flush=True)
        before = {s.name: snapshots(s) for s in group.servers}
        leader, followers = group.roles()
        run = 1000
        while any(snapshots(s) == before[s.name] for s in group.servers) and run < 1030:
            wrk(leader.http_address, "kv", 64, WINDOW_S, run)
            run += 1
        peaks.stop()
        print("the most of it, also while snapshots ran (%s of them): %s" % (
            show({s.name: snapshots(s) - before[s.name] for s in group.servers}),
            show(peaks.most)), flush=True)

        victim = followers[0]
        victim.process.kill()
        victim.process.wait()
        print("a killed follower serves all of them %.2f s after exec" % until_serving(
            [victim], args.instances, services), flush=True)
        group.whole()
        for server in group.servers:
            server.process.kill()
            server.process.wait()
        print("all three killed: %.2f s after exec" % until_serving(
            group.servers, args.instances, services), flush=True)
        group.whole()
        wiped(group, args, services)
        group.stop()
    finally:
        group.discard()


def wiped(group, args, services):
    leader, followers = group.roles()
    whole = [wrk(leader.http_address, "cairn", 64, WINDOW_S, 2000 + i)[0] for i in range(3)]
    victim, began = followers[0], term(leader)
    victim.process.kill()
    victim.process.wait()
    shutil.rmtree(victim.data_dir)
    alone = [wrk(leader.http_address, "cairn", 64, WINDOW_S, 2100 + i)[0] for i in range(2)]
    took = []
    catching = threading.Thread(
        target=lambda: took.append(until_serving([victim], args.instances, services)))
    catching.start()
    during = [wrk(leader.http_address, "cairn", 64, WINDOW_S, 2200 + i)[0] for i in range(2)]
    catching.join()
    eventually(lambda: term(victim) == term(leader), "the wiped one follows")
    print("64 clients register: all three up %s/s; one down %s/s; a wiped one catches up %s/s: %.2f of "
          "the first, serving all after %.2f s under load; term %d before, %d after" % (
              "/".join("%.0f" % w for w in whole), "/".join("%.0f" % w for w in alone),
              "/".join("%.0f" % w for w in during), during[0] / statistics.median(whole), took[0],
              began, term(leader)), flush=True)


def calm(args):
    group = Group(3, LARGE, args.cairn)
    try:
        group.start()
        leader, _ = group.roles()
        began = term(leader)
        cpu = sum(server.cpu_s() for server in group.servers)
        time.sleep(args.calm)
        cpu = sum(server.cpu_s() for server in group.servers) - cpu
        print("%d s at rest: term %d before, %d after; %.3f %% of a core for the three" % (
            args.calm, began, term(leader), 100 * cpu / args.calm), flush=True)
        begin, writes = time.monotonic(), []
        while time.monotonic() - begin < args.calm:
            writes.append(wrk(leader.http_address, "cairn", 64, 30, len(writes))[0])
        print("%.0f s of registrations by 64 clients: term %d before, %d after; %.0f/s, lowest %.0f/s; "
              "no errors" % (time.monotonic() - begin, began, term(leader), statistics.mean(writes),
                             min(writes)), flush=True)
        group.stop()
    finally:
        group.discard()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", default="build/release/cairn")
    parser.add_argument("--instances", type=int, default=100000)
    parser.add_argument("--calm", type=int, default=0)
    args = parser.parse_args()
    args.cairn = os.path.abspath(args.cairn)
    calm(args) if args.calm else large(args)


if __name__ == "__main__":
    main()
