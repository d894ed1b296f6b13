"""A pool beside Debian's serf: members in network namespaces, one run.

    pool.py --cairn build/release/cairn [--members 30] [--servers N] [--encrypt] [--idle]
            [--only cairn|serf]

Of ours the first N are servers; with --idle nothing is cut off or killed. Prints for each: bytes a second and member while idle (IP packets from and to the pool's port, over
UDP and TCP; behind it all of the link: our agents also keep RPC connections), the time until a member
that nft has cut off is known dead to all others, and until one that was killed is; then the ratios.
Bounds (docs/TESTING.md): half of serf's time when cut off, 1.2 times its bytes, 1.5 s when killed."""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import netns  # noqa: E402
import usage  # noqa: E402

KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="
IDLE_S = 30
LIMIT_S = 60


class Cairn:
    name = "cairn"
    port = 8301

    def __init__(self, arguments):
        self.arguments = arguments

    def command(self, host, folder, first):
        command = [self.arguments.cairn, "agent", "-node=n%d" % host.number, "-bind=" + host.ip,
                   "-serf-wan-port=-1", "-data-dir=" + os.path.join(folder, "d%d" % host.number),
                   "-log-level=DEBUG", "-retry-join=" + first.ip, "-retry-interval=1s"]
        servers = self.arguments.servers
        if servers >= self.arguments.members:  # a group of so many is none: they wait for more
            command += ["-server", "-bootstrap-expect=9999"]
        elif host.number - first.number < servers:
            command += ["-server", "-bootstrap-expect=%d" % servers]
        return command + (["-encrypt=" + KEY] if self.arguments.encrypt else [])


class Serf:
    name = "serf"
    port = 7946

    def __init__(self, arguments):
        self.arguments = arguments

    def command(self, host, _, first):
        command = ["serf", "agent", "-node=n%d" % host.number, "-bind=" + host.ip,
                   "-profile=lan", "-log-level=debug"]
        command += ["-retry-join=" + first.ip, "-retry-interval=1s"] if host is not first else []
        return command + (["-encrypt=" + KEY] if self.arguments.encrypt else [])


def pool_bytes(host):
    text = netns.run("ip", "netns", "exec", host.name, "nft", "list", "counter", "inet", "count",
                     "sent")
    return int(re.search(r"bytes (\d+)", text).group(1))


class Run:
    def __init__(self, kind, network, folder):
        self.kind = kind
        self.hosts = network.hosts
        self.folder = folder
        self.logs = [os.path.join(folder, "log%d" % host.number) for host in self.hosts]
        self.read = {}

    def start(self):
        for host in self.hosts:
            host.nft("add table inet count; add counter inet count sent; "
                     "add chain inet count out { type filter hook output priority 1; }; "
                     "add rule inet count out th dport %d counter name sent; "
                     "add rule inet count out th sport %d th dport != %d counter name sent" % (
                         self.kind.port, self.kind.port, self.kind.port))
        for host, log in zip(self.hosts, self.logs):
            with open(log, "wb") as out:
                host.popen(self.kind.command(host, self.folder, self.hosts[0]), stdout=out,
                           stderr=out, stdin=subprocess.DEVNULL)
        for host in self.hosts:
            self.all_say("EventMemberJoin", host, time.monotonic())

    def says(self, log, event, host):
        """Whether this log has the event since it was last asked to forget."""
        with open(log, "rb") as file:
            file.seek(self.read.get(log, 0))
            text = file.read()
        return ("%s: n%d " % (event, host.number)).encode() in text

    def forget(self):
        self.read = {log: os.path.getsize(log) for log in self.logs}

    def all_say(self, event, host, begin):
        """Seconds from begin until all others have it in their logs."""
        left = [log for h, log in zip(self.hosts, self.logs) if h is not host and h.processes]
        while left:
            left = [log for log in left if not self.says(log, event, host)]
            if time.monotonic() - begin > LIMIT_S:
                raise AssertionError("%s: not within %d s: %s of n%d in %s" % (
                    self.kind.name, LIMIT_S, event, host.number, left))
            time.sleep(0.01)
        return time.monotonic() - begin

    def idle_bytes(self):
        """A second and member: of the pool's port, of the link."""
        before = [(pool_bytes(host), host.sent_bytes()) for host in self.hosts]
        begin = time.monotonic()
        time.sleep(IDLE_S)
        after = [(pool_bytes(host), host.sent_bytes()) for host in self.hosts]
        seconds = time.monotonic() - begin
        return [statistics.mean(b[i] - a[i] for a, b in zip(before, after)) / seconds
                for i in (0, 1)]

    def cut(self, host):
        self.forget()
        begin = time.monotonic()
        host.isolate()
        seconds = self.all_say("EventMemberFailed", host, begin)
        self.forget()
        begin = time.monotonic()
        host.heal()
        self.all_say("EventMemberJoin", host, begin)
        return seconds

    def kill(self, host):
        self.forget()
        begin = time.monotonic()
        for process in host.processes:
            process.kill()
            process.wait()
        host.processes = []
        return self.all_say("EventMemberFailed", host, begin)

    def memory_kib(self, host):
        with open("/proc/%d/status" % host.processes[0].pid) as file:
            return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))


def measure(kind, arguments):
    folder = tempfile.mkdtemp(prefix="cairn-bench-pool-")
    try:
        with netns.Network(arguments.members) as network:
            run = Run(kind, network, folder)
            run.start()
            time.sleep(5)  # what joining set off is over
            cpu = [usage.cpu_s(host.processes[0].pid) for host in run.hosts]
            result = {}
            result["bytes"], result["link"] = run.idle_bytes()
            used = [usage.cpu_s(host.processes[0].pid) - c for host, c in zip(run.hosts, cpu)]
            quiet = 0 if arguments.servers >= arguments.members else arguments.servers
            result["cpu"] = 100 * statistics.mean(used[quiet:]) / IDLE_S
            result["anonymous"] = max(run.memory_kib(host) for host in run.hosts[quiet:])
            cuts = [] if arguments.idle else [run.cut(run.hosts[i]) for i in (7, 14, 21)]
            result["cut"] = statistics.median(cuts or [0])
            kills = [] if arguments.idle else [run.kill(run.hosts[-i]) for i in (1, 2, 3)]
            result["kill"] = statistics.median(kills or [0])
            print("%-6s %6.0f bytes/s a member idle (link %.0f) | cut off: %s s | killed: %s s | anonymous "
                  "%d KiB at most, %.2f %% of a core (of clients, if there are)" % (
                      kind.name, result["bytes"], result["link"], " ".join("%.2f" % c for c in cuts),
                      " ".join("%.2f" % k for k in kills), result["anonymous"], result["cpu"]),
                  flush=True)
            return result
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def takes_clients(program):
    """Whether this version has agents that are no servers."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write('{"data_dir": "/nonexistent", "bind_addr": "127.0.0.1"}')
        file.flush()
        return subprocess.run([program, "validate", "-quiet", file.name], check=False,
                              stderr=subprocess.DEVNULL).returncode == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--members", type=int, default=30)
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--encrypt", action="store_true")
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("--only", choices=("cairn", "serf"))
    arguments = parser.parse_args()
    if not netns.available():
        print("pool: needs root, ip and nft; left out")
        return
    arguments.cairn = os.path.abspath(arguments.cairn)
    if not takes_clients(arguments.cairn):
        arguments.servers = arguments.members
    kinds = [k for k in (Cairn, Serf) if arguments.only in (None, k.name)]
    results = {kind.name: measure(kind(arguments), arguments) for kind in kinds}
    if len(results) == 2 and arguments.idle:
        print("pool   bytes %.2f (bound 1.2)" % (results["cairn"]["bytes"] /
                                                 results["serf"]["bytes"]))
    elif len(results) == 2:
        cairn, serf = results["cairn"], results["serf"]
        print("pool   cut off %.2f of serf's time (bound 0.5), bytes %.2f (bound 1.2), killed "
              "%.2f s (bound 1.5)" % (cairn["cut"] / serf["cut"], cairn["bytes"] / serf["bytes"],
                                      cairn["kill"]))


if __name__ == "__main__":
    main()
