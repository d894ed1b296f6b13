"""Three of ours beside three of Debian's etcd (its JSON gateway), one run.

    group.py --cairn build/release/cairn [--seconds 8] [--rounds 3] [--failovers 10]

Registrations (node, service and check in one request) with 64 clients on the leader and on a
follower, and with one, beside puts of the same text into etcd; puts of keys of 128 bytes on both
sides; then the time from kill -9 or SIGSTOP
of our leader until a write that began afterwards is acknowledged at another server. Bounds
(docs/TESTING.md): 3 times etcd's writes, 4 times with keys, 0.6 of its latency, 0.5 s after a kill, 0.8 s when stopped."""
import argparse
import base64
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
import cairn  # noqa: E402
from servers import Group  # noqa: E402


class Etcd:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="cairn-bench-etcd-")
        self.addresses = [(cairn.new_ip(), 2379) for _ in range(3)]
        self.processes = []

    def start(self):
        cluster = ",".join("e%d=http://%s:2380" % (i, ip)
                           for i, (ip, _) in enumerate(self.addresses))
        for i, (ip, port) in enumerate(self.addresses):
            client, peer = "http://%s:%d" % (ip, port), "http://%s:2380" % ip
            with open(os.path.join(self.folder, "log%d" % i), "wb") as log:
                self.processes.append(subprocess.Popen(
                    ["etcd", "--name", "e%d" % i, "--data-dir", os.path.join(self.folder, str(i)),
                     "--listen-client-urls", client, "--advertise-client-urls", client,
                     "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                     "--initial-cluster", cluster, "--log-level", "error"],
                    stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        cairn.eventually(lambda: self.put(self.addresses[0]), "etcd takes writes")
        return self

    @staticmethod
    def post(address, path, body):
        request = urllib.request.Request("http://%s:%d%s" % (address + (path,)),
                                         json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=5) as reply:
            return json.load(reply)

    def put(self, address):
        try:
            self.post(address, "/v3/kv/put", {"key": base64.b64encode(b"x").decode(), "value": ""})
            return True
        except OSError:
            return False

    def roles(self):
        states = [self.post(a, "/v3/maintenance/status", {}) for a in self.addresses]
        leads = [s["header"]["member_id"] == s["leader"] for s in states]
        return (self.addresses[leads.index(True)],
                [a for a, is_leader in zip(self.addresses, leads) if not is_leader])

    def discard(self):
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


MILLISECONDS = {"us": 0.001, "ms": 1, "s": 1000}


def wrk(address, kind, clients, seconds, run):
    """(requests a second, median latency in ms)"""
    text = subprocess.run(
        ["wrk", "-t", "1", "-c", str(clients), "-d", "%ds" % seconds, "--latency", "-s",
         os.path.join(HERE, "group.lua"), "http://%s:%d" % address, "--", kind, str(run)],
        check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise AssertionError(text)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
            float(median.group(1)) * MILLISECONDS[median.group(2)])


def throughput(args):
    ours, theirs = Group(3, {"log_level": "INFO"}, args.cairn), Etcd()
    try:
        ours.start()
        theirs.start()
        leader, followers = ours.roles()
        etcd_leader, etcd_followers = theirs.roles()
        rows = (("64 clients on the leader", 64, leader, etcd_leader, "cairn", "etcd"),
                ("64 clients on a follower", 64, followers[0], etcd_followers[0], "cairn", "etcd"),
                ("1 client on the leader", 1, leader, etcd_leader, "cairn", "etcd"),
                ("keys, 64 clients on the leader", 64, leader, etcd_leader, "kv", "etcd-kv"),
                ("keys, 64 clients on a follower", 64, followers[0], etcd_followers[0], "kv",
                 "etcd-kv"))
        for what, clients, server, etcd, our_kind, their_kind in rows:
            ratios = []
            for i in range(args.rounds):
                we = wrk(server.http_address, our_kind, clients, args.seconds, i)
                they = wrk(etcd, their_kind, clients, args.seconds, i)
                ratios.append(we[1] / they[1] if clients == 1 else we[0] / they[0])
                print("  %s: %.0f/s, median %.2f ms; etcd %.0f/s, median %.2f ms" % (
                    (what,) + we + they), flush=True)
            print("%s: %s %.2f (%s)" % (
                what, "latency, ratio to etcd" if clients == 1 else "writes, ratio to etcd",
                statistics.median(ratios), " ".join("%.2f" % r for r in sorted(ratios))),
                flush=True)
        ours.stop()
    finally:
        ours.discard()
        theirs.discard()


def until_written(servers, begin):
    """Seconds from begin until one of them acknowledges a write."""
    number = 0
    while True:
        server = servers[number % len(servers)]
        number += 1
        if server.write("failover", str(number)):
            return time.monotonic() - begin
        time.sleep(0.005)
        if time.monotonic() - begin > 60:
            raise AssertionError("no write for 60 s")


def failovers(args):
    group = Group(3, {"log_level": "INFO"}, args.cairn)
    try:
        group.start()
        for what, number in (("kill -9", signal.SIGKILL), ("SIGSTOP", signal.SIGSTOP)):
            times = []
            for _ in range(args.failovers):
                leader, followers = group.roles()
                begin = time.monotonic()
                leader.process.send_signal(number)
                times.append(until_written(followers, begin))
                if number == signal.SIGKILL:
                    leader.process.wait()
                    leader.spawn()
                else:
                    leader.process.send_signal(signal.SIGCONT)
                group.whole()
                # All of them vote again: for one election timeout after a start they do not.
                time.sleep(1)
            print("%s of the leader: writes again after %.2f s, median of %d (%s)" % (
                what, statistics.median(times), len(times),
                " ".join("%.2f" % t for t in sorted(times))), flush=True)
        group.stop()
    finally:
        group.discard()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", default="build/release/cairn")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--failovers", type=int, default=10)
    args = parser.parse_args()
    args.cairn = os.path.abspath(args.cairn)
    throughput(args)
    failovers(args)


if __name__ == "__main__":
    main()
