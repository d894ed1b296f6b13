#!/usr/bin/python3
"""Runs an agent under mixed load for a long time and fails when it grows.

    tests/soak.py MINUTES [--binary build/release/cairn]

The load: registrations and deregistrations, lookups, blocking queries of which many hang up, DNS
over UDP and TCP, TTL updates, HTTP checks whose service fails and recovers, reloads, and garbage on
both wires. The set of rows stays bounded, so memory must too. The memory of the latest changes,
whose bound in bytes this load would take hours to reach, is filled before. Every 5 seconds resident
and anonymous memory, descriptors and threads are sampled; the table is printed as it grows. After a
quarter of the time, at least one minute, the agent counts as warm; from there the median of the last
third may be 5 % above that of the first, and descriptors and threads may not rise by more than what
load makes them swing. Exit code 1: it grew, it died, or a part of the load got no answers any more.
"""

import argparse
import os
import random
import re
import socket
import statistics
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
import cairn  # noqa: E402

SAMPLE_S = 5
WARM_UP_S = 60
MEMORY_GROWTH = 1.05
MEMORY_SLACK_KIB = 512   # below this a median of a small process moves by chance
DESCRIPTORS_SLACK = 24   # connections of the load that happen to be open
SERVICES = 200           # names; instances come and go
NODES = 40
TTLS = 30


class Load:
    """One kind of load on a thread of its own, at its own pace, until told to stop."""

    def __init__(self, agent, name, step, pause_s, seed):
        self.agent, self.name, self.step, self.pause_s = agent, name, step, pause_s
        self.chance = random.Random(seed)
        self.done = self.failed = 0
        self.last_failure = ""
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop.is_set():
            try:
                self.step(self.agent, self.chance)
                self.done += 1
            except (OSError, EOFError, AssertionError, ValueError) as failure:
                self.failed += 1
                self.last_failure = repr(failure)
            self.stop.wait(self.pause_s)


# ---- the kinds ----

def register(agent, chance):
    number = chance.randrange(SERVICES)
    agent.register("service-%d" % number, node="node-%d" % chance.randrange(NODES),
                   ID="instance-%d" % chance.randrange(SERVICES), Port=chance.randrange(1, 65536),
                   Tags=["t%d" % chance.randrange(5)], Meta={"k": "v" * chance.randrange(200)})


def deregister(agent, chance):
    body = {"Node": "node-%d" % chance.randrange(NODES)}
    if chance.randrange(10):
        body["ServiceID"] = "instance-%d" % chance.randrange(SERVICES)
    agent.must_put("/v1/catalog/deregister", body)


def own_services(agent, chance):
    name = "own-%d" % chance.randrange(50)
    if chance.randrange(2):
        agent.must_put("/v1/agent/service/register", {
            "Name": name, "Tags": ["x" * chance.randrange(40)],
            "Check": {"CheckID": name, "TTL": "5s", "Status": "passing"}})
    elif agent.put("/v1/agent/service/deregister/" + name).status not in (200, 404):
        raise AssertionError("deregistering one's own")


def look_up(agent, chance):
    with agent.client() as client:
        for _ in range(20):
            path = chance.choice((
                "/v1/health/service/service-%d?passing", "/v1/catalog/service/service-%d",
                "/v1/health/service/service-%d?filter=Service.Port%%20!=%%201",
                "/v1/catalog/node/node-%d", "/v1/health/node/node-%d?pretty")) % chance.randrange(60)
            if client.get(path).status != 200:
                raise AssertionError(path)
        for path in ("/v1/catalog/services", "/v1/catalog/nodes", "/v1/agent/services",
                     "/v1/health/state/any", "/v1/agent/metrics", "/v1/agent/self"):
            if client.get(path).status != 200:
                raise AssertionError(path)


def block(agent, chance):
    """Ten queries wait; half of them hang up before the answer."""
    raws = []
    for _ in range(10):
        raw = agent.raw()
        name = "service-%d" % chance.randrange(SERVICES)
        index = agent.get("/v1/health/service/" + name).index
        raw.send(b"GET /v1/health/service/%s?index=%d&wait=%dms HTTP/1.1\r\nHost: x\r\n\r\n"
                 % (name.encode(), index, chance.randrange(100, 3000)))
        raws.append(raw)
    for i, raw in enumerate(raws):
        if i % 2:
            if i % 4 == 1:
                raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.close()
    for i, raw in enumerate(raws):
        if i % 2 == 0:
            if raw.reply().status != 200:
                raise AssertionError("a blocking query")
            raw.close()


def resolve(agent, chance):
    for _ in range(20):
        name = chance.choice(("service-%d.service.consul", "t1.service-%d.service.consul",
                              "node-%d.node.consul", "nothing-%d.service.cairn"))
        kind = chance.choice(("A", "SRV", "ANY", "AAAA", "TXT"))
        agent.resolve(name % chance.randrange(60), kind, tcp=chance.randrange(4) == 0)


def update_ttl(agent, chance):
    name = "ttl-%d" % chance.randrange(TTLS)
    status = chance.choice(("passing", "warning", "critical"))
    agent.must_put("/v1/agent/check/update/" + name,
                   {"Status": status, "Output": "%x" % chance.getrandbits(400)})


def reload(agent, _):
    agent.must_put("/v1/agent/reload")


def garbage(agent, chance):
    for _ in range(5):
        try:
            with agent.raw() as raw:
                raw.send(chance.choice((
                    chance.randbytes(chance.randrange(1, 2000)), b"G",
                    b"PUT /v1/agent/service/register HTTP/1.1\r\nContent-Length: 999\r\n\r\n{",
                    b"GET /v1/catalog/nodes HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
                    b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
                    b"{\"a\":[[[[", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n")))
        except ConnectionError:
            pass
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        for _ in range(20):
            udp.sendto(chance.randbytes(chance.randrange(0, 600)), agent.dns_address)
    try:
        with socket.create_connection(agent.dns_address, 5) as tcp:
            tcp.sendall(chance.randbytes(chance.randrange(1, 300)))
    except ConnectionError:
        pass


KINDS = ((register, 0.005), (deregister, 0.008), (own_services, 0.05), (look_up, 0.02),
         (block, 0.1), (block, 0.1), (resolve, 0.02), (update_ttl, 0.02), (reload, 3.0),
         (garbage, 0.1))


# ---- samples ----

def sample(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        status = file.read()

    def field(name):
        return int(re.search(name + r":\s+(\d+)", status).group(1))
    return {"rss": field("VmRSS"), "anon": field("RssAnon"), "threads": field("Threads"),
            "fds": len(os.listdir("/proc/%d/fd" % pid))}


def judge(samples, warm_s):
    """What has grown, as sentences."""
    warm = [s for s in samples if s["at"] >= warm_s]
    third = len(warm) // 3
    if third < 2:
        return ["too few samples to judge by: run it for longer"]
    grown = []
    for key, slack in (("rss", None), ("anon", None), ("fds", DESCRIPTORS_SLACK), ("threads", 2)):
        first = statistics.median(s[key] for s in warm[:third])
        last = statistics.median(s[key] for s in warm[-third:])
        most = max(first * MEMORY_GROWTH, first + MEMORY_SLACK_KIB) if slack is None \
            else first + slack
        print("%-8s median of the first third %8.0f, of the last %8.0f, allowed %8.0f"
              % (key, first, last, most))
        if last > most:
            grown.append("%s grew from %.0f to %.0f" % (key, first, last))
    return grown


def fill(agent):
    """As many changes as the agent remembers (LIMIT_CHANGES_BYTES), twice: of each check its id."""
    most, each = 2 * 8 * 1024 * 1024, 50
    ids = ["%s-%d" % ("c" * 100, i) for i in range(each)]
    with agent.client() as client:
        for i in range(most // (each * len(ids[0]))):
            reply = client.request("PUT", "/v1/catalog/register", {
                "Node": "filled", "Address": "192.0.2.1", "Checks": [
                    {"Node": "filled", "CheckID": name, "Name": "c",
                     "Status": ("passing", "critical")[i % 2]} for name in ids]})
            if reply.status != 200:
                raise AssertionError(reply)
    agent.must_put("/v1/catalog/deregister", {"Node": "filled"})


def prepare(agent):
    with open(os.path.join(agent.folder, "svc.json"), "w", encoding="ascii") as file:
        file.write('{"service": {"name": "of-file", "port": 1, "check": {"ttl": "10m"}}}')
    agent.args = ["-config-file=" + file.name]
    agent.start()
    service = cairn.Service().start()
    for i in range(10):
        agent.must_put("/v1/agent/service/register", {
            "Name": "checked-%d" % i, "Check": {
                "HTTP": "http://%s:%d/" % service.address, "Interval": "1s"}})
    for i in range(TTLS):
        agent.must_put("/v1/agent/check/register", {"Name": "ttl-%d" % i, "TTL": "2s"})
    fill(agent)
    return service


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("minutes", type=float)
    parser.add_argument("--binary", default="build/release/cairn")
    options = parser.parse_args()
    agent = cairn.Agent({"limits": {"http_max_conns_per_client": 0}},
                        binary=os.path.abspath(options.binary))
    end_s = options.minutes * 60
    warm_s = max(WARM_UP_S, end_s / 4)
    samples, loads, failures = [], [], []
    try:
        service = prepare(agent)
        pid = agent.process.pid
        loads = [Load(agent, step.__name__, step, pause_s, seed)
                 for seed, (step, pause_s) in enumerate(KINDS)]
        start = time.monotonic()
        print("   time s  rss KiB  anon KiB  descriptors  threads  requests  failed")
        while agent.process.poll() is None and time.monotonic() - start < end_s:
            time.sleep(SAMPLE_S)
            at = time.monotonic() - start
            service.status = 500 if int(at) // 20 % 2 else 200
            if agent.process.poll() is None:
                samples.append(dict(sample(pid), at=at))
                print("%9.0f %8d %9d %12d %8d %9d %7d" % (
                    at, samples[-1]["rss"], samples[-1]["anon"], samples[-1]["fds"],
                    samples[-1]["threads"], sum(l.done for l in loads),
                    sum(l.failed for l in loads)), flush=True)
        for load in loads:
            load.stop.set()
        for load in loads:
            load.thread.join(60)
        print()
        for load in loads:
            print("%-14s %8d done, %4d failed %s" % (load.name, load.done, load.failed,
                                                     load.last_failure))
            if load.done == 0 or load.failed > load.done / 100:
                failures.append("%s got no good answers: %s" % (load.name, load.last_failure))
        if agent.process.poll() is not None:
            failures.append("the agent died: %s" % agent.output()[-2000:])
        else:
            failures += judge(samples, warm_s)
            agent.stop()
    finally:
        agent.discard()
    for failure in failures:
        print("FAILED: " + failure)
    if not failures:
        print("ok: it has not grown")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
