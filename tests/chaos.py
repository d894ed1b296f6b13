#!/usr/bin/python3
"""A group of real servers under random harm while clients write, and a judge of what they saw.

    tests/chaos.py [SECONDS] [--servers 3] [--seed N] [--binary build/release/cairn] [--loopback]
                   [--faults fill,kill]

Clients put, cas and read keys at every server, in all three modes, while servers of a minority are
killed, stopped and continued, or restarted; as root each server has a network namespace, and
links are cut, too, one way or both; and each has a small disk in memory, which is filled up while large
values are written. Faults come from the seed; how the processes race does not.

Then all is healed. The history of each key must be linearizable (tests/history.py): every
acknowledged write is there, no default or consistent read is older than what was acknowledged before
it began, each cas succeeds once. An answer of "No cluster leader", or that the disk is full, means that
nothing was written; any other error or silence leaves it open. Stale reads may be old, but of something that was written.
Exit code 1: it was not so; the data and logs stay, and their folder is printed."""

import argparse
import base64
import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "e2e"), HERE]
import cairn  # noqa: E402
import history  # noqa: E402
import netns  # noqa: E402
from servers import Group, Server  # noqa: E402

KEYS = 3           # that are used at once
KEY_OPS = 40       # of one key, then it is left for a new one: small histories are judged whole
CLIENTS = 2        # at each server
PAUSE_S = 0.02     # of a client, at most
TIMEOUT_S = 4      # then the outcome is not known
CLONE_NEWNET = 0x40000000
DISK_MIB = 160     # of a server: log, snapshots and what they need beside them
LARGE_BYTES = 400 * 1024
DISK_IS_FULL = "the disk of the data directory is full"


def may_mount():
    """Whether small disks can be made here."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder],
                              capture_output=True, check=False)
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return done.returncode == 0


class Disks:
    """A small one for each server's data."""

    def __init__(self, servers):
        self.mounted = []
        for server in servers:
            os.makedirs(server.data_dir, mode=0o700)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,mode=0700" % DISK_MIB, "tmpfs",
                            server.data_dir], check=True)
            self.mounted.append(server.data_dir)

    @staticmethod
    def ballast(server):
        return os.path.join(server.data_dir, "ballast")

    def fill(self, server):
        try:
            with open(self.ballast(server), "ab", buffering=0) as file:
                while file.write(bytes(1 << 16)):
                    pass
        except OSError:
            pass  # that it is full is the point

    def empty(self, server):
        if os.path.exists(self.ballast(server)):
            os.unlink(self.ballast(server))

    def clear(self):
        for folder in self.mounted:
            subprocess.run(["umount", "-l", folder], check=False)


class NamespaceServer(Server):
    """Its host has one address, and nobody else on it."""

    def __init__(self, host, name, count, **how):
        super().__init__(name, count, **how)
        self.host = host
        self.ip = host.ip
        self.http_address, self.dns_address = (self.ip, 8500), (self.ip, 8600)
        self.server_port = 8300

    def command(self):
        return self.host.command(super().command())

    def client(self, **how):
        """This thread's sockets are its host's from now on."""
        descriptor = os.open("/run/netns/" + self.host.name, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)
        return super().client(**how)


class Keys:
    """Which keys are in use; each is left after KEY_OPS."""

    def __init__(self):
        self.lock = threading.Lock()
        self.current = [["k%d" % i, 0] for i in range(KEYS)]
        self.made = KEYS
        self.values = 0

    def pick(self, rng):
        with self.lock:
            slot = rng.choice(self.current)
            if slot[1] >= KEY_OPS:
                slot[:] = ["k%d" % self.made, 0]
                self.made += 1
            slot[1] += 1
            return slot[0]

    def value(self):
        """No two are alike, so that a value tells which write it is of."""
        with self.lock:
            self.values += 1
            return "v%d" % self.values


class Worker(threading.Thread):
    """One client of one server: one request after the other."""

    def __init__(self, server, keys, record, seed):
        super().__init__(daemon=True)
        self.server, self.keys, self.record = server, keys, record
        self.rng = random.Random(seed)
        self.client = None
        self.known = {}  # of a key: (its ModifyIndex, its value), as last read here
        self.stopping = False

    def run(self):
        while not self.stopping:
            self.one(self.keys.pick(self.rng), self.rng.random())
            time.sleep(self.rng.random() * PAUSE_S)
        if self.client is not None:
            self.client.close()

    def one(self, key, dice):
        if dice < 0.4:
            self.read(key, "")
        elif dice < 0.5:
            self.read(key, "?consistent")
        elif dice < 0.6:
            self.read(key, "?stale")
        elif dice < 0.75:
            self.write(key, history.PUT, None, "")
        else:
            index, value = self.known.get(key, (0, None))
            self.write(key, history.CAS, value, "?cas=%d" % index)

    def ask(self, method, path, body=None):
        """(begin, end, reply); no reply: nobody knows."""
        begin = time.monotonic()
        try:
            if self.client is None:
                self.client = self.server.client(timeout=TIMEOUT_S)
            reply = self.client.request(method, path, body)
        except (OSError, cairn.http.client.HTTPException):
            if self.client is not None:
                self.client.close()
            self.client, reply = None, None
            time.sleep(0.05)
        return begin, time.monotonic(), reply

    def read(self, key, mode):
        begin, end, reply = self.ask("GET", "/v1/kv/%s%s" % (key, mode))
        if reply is None or reply.status not in (200, 404):
            return
        value = None
        if reply.status == 200:
            row = reply.json[0]
            value = base64.b64decode(row["Value"]).decode()
            self.known[key] = (row["ModifyIndex"], value)
        kind = history.STALE if mode == "?stale" else history.READ
        self.record(history.Op(key, kind, begin, end, None, value, True, self.server.name + mode))

    def write(self, key, kind, expected, query):
        value = self.keys.value()
        begin, end, reply = self.ask("PUT", "/v1/kv/%s%s" % (key, query), value)
        if reply is not None and reply.status == 500 and (
                reply.text == "No cluster leader" or DISK_IS_FULL in reply.text):
            return  # surely not written
        done = reply is not None and reply.status == 200
        if done and reply.text.strip() != "true":
            if kind == history.PUT:
                raise AssertionError("a put was answered with " + reply.text)
            kind = history.CAS_FAILED
        self.record(history.Op(key, kind, begin, end if done else history.OPEN, expected, value,
                               done, self.server.name))


class Nemesis:
    """Harms a minority, heals it, and so on."""

    def __init__(self, group, network, disks, rng, say):
        self.group, self.network, self.rng, self.say = group, network, rng, say
        self.disks = disks
        self.down, self.stopped, self.filled = [], [], []
        self.refused = 0  # large writes, by a full disk
        self.only = ()    # faults; empty: all
        self.counts = {}

    def victims(self):
        count = self.rng.randint(1, (len(self.group.servers) - 1) // 2)
        victims = self.rng.sample(self.group.servers, count)
        if self.rng.random() < 0.5:
            leader = self.group.leader()
            if leader is not None and leader not in victims:
                victims[0] = leader
        return victims

    def step(self):
        kinds = ["kill", "stop", "restart", "blink"] + (
            ["cut", "deaf", "mute"] if self.network else []) + (["fill"] if self.disks else [])
        kind = self.rng.choice([k for k in kinds if not self.only or k in self.only])
        victims = self.victims()
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.say("%s %s" % (kind, " ".join(v.name for v in victims)))
        getattr(self, kind)(victims)
        time.sleep(0.1 if kind == "blink" else 0.2 + self.rng.random() * 2.5)
        self.heal()
        time.sleep(self.rng.random() * 2)

    def kill(self, victims):
        for victim in victims:
            victim.kill()
            self.down.append(victim)

    blink = kill  # back at once

    def restart(self, victims):
        for victim in victims:
            victim.process.send_signal(signal.SIGTERM)
            # One that has not printed its first line yet does not heed signals, but dies of them.
            victim.ended(1 if victim.wait() == 1 or victim.output() else -signal.SIGTERM)
            self.down.append(victim)

    def stop(self, victims):
        for victim in victims:
            victim.process.send_signal(signal.SIGSTOP)
            self.stopped.append(victim)

    def others(self, victims):
        return [s for s in self.group.servers if s not in victims]

    def cut(self, victims):
        for victim in victims:
            victim.host.cut(*[s.host for s in self.others(victims)])

    def deaf(self, victims):
        for victim in victims:
            for other in self.others(victims):
                victim.host.drop_from(other.host)

    def mute(self, victims):
        for victim in victims:
            for other in self.others(victims):
                other.host.drop_from(victim.host)

    def fill(self, victims):
        """Full disks, and more to write than the log has room for. Keys of their own: what is asked
        is whether others are lost."""
        for victim in victims:
            self.disks.fill(victim)
            self.filled.append(victim)
        for _ in range(60):
            reply = self.rng.choice(self.group.servers).try_request(
                "PUT", "/v1/kv/large", b"x" * LARGE_BYTES)
            if reply is not None and DISK_IS_FULL in reply.text:
                self.refused += 1
                break
        if self.rng.random() < 0.4:  # on a full disk it starts, or says what it lacks and ends
            for victim in victims:
                victim.kill()
                victim.spawn()

    def heal(self):
        for victim in self.filled:
            self.disks.empty(victim)
            # One that has begun on the full disk either starts now, or ends with what it met.
            cairn.eventually(lambda v=victim: not v.runs_now or
                             v.try_request("GET", "/v1/agent/self", timeout=TIMEOUT_S),
                             "%s starts or ends" % victim.name)
            if not victim.runs_now:
                victim.wait()
                if "No space left on device" not in victim.output():
                    raise AssertionError("%s ended: %s" % (victim.name, victim.output()[-2000:]))
                victim.spawn()
        self.filled = []
        if self.network:
            self.network.heal()
        for victim in self.stopped:
            victim.process.send_signal(signal.SIGCONT)
        for victim in self.down:
            victim.spawn()
        self.down, self.stopped = [], []


def make_group(count, binary, network):
    if network is None:
        return Group(count, binary=binary)
    group = Group(0)
    group.servers = [NamespaceServer(host, "s%d" % (i + 1), count, binary=binary)
                     for i, host in enumerate(network.hosts)]
    group.join()
    return group


def final_reads(group, ops):
    """Every server has the same of every key, and it is the newest."""
    found = []
    for server in group.servers:
        with server.client() as client:
            for key in sorted({op.key for op in ops}):
                def read(key=key):
                    """(when it began, the answer), but for one of an election."""
                    begin, reply = time.monotonic(), client.get("/v1/kv/" + key)
                    return None if reply.unled else (begin, reply)

                begin, reply = cairn.eventually(read, "%s is healed, and has a leader" % server.name)
                if reply.status not in (200, 404):
                    raise AssertionError("%s is healed, and answers %s" % (server.name, reply))
                value = None
                if reply.status == 200:
                    value = base64.b64decode(reply.json[0]["Value"]).decode()
                found.append(history.Op(key, history.READ, begin, time.monotonic(), None, value,
                                        True, server.name + " at the end"))
    return found


def run(seconds, count, seed, binary, network, say, only=()):
    """Returns (violations, one line about the run). The group's folders stay if there are any."""
    rng = random.Random(seed)
    group = make_group(count, binary, network)
    disks = Disks(group.servers) if may_mount() else None
    if disks is None:
        say("no disks are filled: this user may not mount any")
    violations = []
    ops, lock = [], threading.Lock()

    def record(op):
        with lock:
            ops.append(op)

    try:
        group.start()
        keys = Keys()
        workers = [Worker(server, keys, record, rng.random()) for server in group.servers
                   for _ in range(CLIENTS)]
        for worker in workers:
            worker.start()
        nemesis = Nemesis(group, network, disks, rng, say)
        nemesis.only = only
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            nemesis.step()
            for worker in workers:
                if not worker.is_alive():
                    raise AssertionError("a client has died")
        group.whole()
        for server in group.servers:  # whose disk was full takes writes again
            cairn.eventually(lambda s=server: s.write("written-at-the-end", s.name),
                             "%s takes writes" % server.name)
        for worker in workers:
            worker.stopping = True
        for worker in workers:
            worker.join()
        ops += final_reads(group, ops)
        verdict = history.judge(ops)
        violations = verdict.violations
        for server in group.servers:
            server.stop()
        acknowledged = sum(op.done and op.kind in (history.PUT, history.CAS) for op in ops)
        return violations, "seed %d: %d requests, %d writes acknowledged, %d open, %d keys%s; %s" % (
            seed, len(ops), acknowledged, sum(not op.done for op in ops), verdict.keys,
            ", %d too entangled to judge" % verdict.undecided if verdict.undecided else "",
            ", ".join("%s %d" % pair for pair in sorted(nemesis.counts.items())) +
            (", %d of them refused writes" % nemesis.refused if disks else ""))
    except BaseException as failure:
        violations = ["%s" % failure]
        raise
    finally:
        if violations:
            say("kept: " + " ".join(server.folder for server in group.servers))
            for server in group.servers:
                if server.runs_now:
                    server.process.kill()
                    server.process.wait()
        else:
            if disks is not None:
                disks.clear()
            group.discard()


def chaos(seconds, count=3, seed=None, binary=None, namespaces=True, say=lambda line: None,
          only=()):
    seed = random.randrange(1 << 32) if seed is None else seed
    if namespaces and netns.available():
        with netns.Network(count) as network:
            return run(seconds, count, seed, binary, network, say, only)
    return run(seconds, count, seed, binary, None, say, only)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=float, nargs="?", default=60)
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--binary", default=os.path.join(HERE, "../build/release/cairn"))
    parser.add_argument("--loopback", action="store_true", help="no namespaces, so no cuts")
    parser.add_argument("--faults", default="", help="only these, with commas between them")
    arguments = parser.parse_args()
    begin = time.monotonic()

    def say(line):
        print("%8.2f %s" % (time.monotonic() - begin, line), flush=True)

    violations, summary = chaos(arguments.seconds, arguments.servers, arguments.seed,
                                os.path.abspath(arguments.binary), not arguments.loopback, say,
                                tuple(filter(None, arguments.faults.split(","))))
    for violation in violations:
        print(violation)
    print(summary)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
