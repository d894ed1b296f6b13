"""All servers cut off from all client agents, in network namespaces: what is looked up at the clients
meanwhile, and what is left of it once the links are back.

    outage.py --cairn build/release/cairn [--seconds 600] [--clients 20] [--rate 100]

Every client agent looks up every host's service by HTTP and DNS in turns, so many lookups a second in
all. None may fail, neither while the servers are away nor around it; but for a moment after the heal
those hosts may be missing that the servers gave up before the mass-failure guard held them, 30 % at
most. Meanwhile one host registers a service and takes another one away, and one host dies. After the
heal the catalog must be what the hosts have: nothing lost, no ghost. The servers' CPU is printed, and
how long after the heal it is that of before the cut again."""
import argparse
import http.client
import itertools
import json
import os
import queue
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import datacenter  # noqa: E402
import netns  # noqa: E402
import usage  # noqa: E402

WORKERS = 8
NOT_THERE = "no instance"
GIVEN_UP_MAX = 0.3  # of the clients (gossip/guard.c)
WAITING_MAX = 200   # on a machine that is too busy there are fewer lookups, and no pile of them
UNUSED_MAX_S = 90   # of a connection: agents close those of clients that are silent for 120 s
ANSWER_S = 20       # on a machine that is too busy some wait; the longest is printed
SETTLES_S = 5       # clients hear of what the servers have
IDLE_S = 10         # how long the servers are watched before the cut
IDLE_WITHIN_S = 30  # the bound


class Lookups:
    """So many a second, by a few threads that keep a connection to each client while they use it."""

    def __init__(self, clients, names, rate):
        self.queue = queue.Queue(WAITING_MAX)
        self.failed, self.slowest_s, self.done = [], 0, 0
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.pairs = itertools.cycle([(client, name) for name in names for client in clients])
        self.rate = rate
        self.begin, self.took_s = 0, 0
        self.threads = [threading.Thread(target=self._work) for _ in range(WORKERS)]
        self.threads.append(threading.Thread(target=self._pace))

    def start(self):
        self.begin = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        self.took_s = time.monotonic() - self.begin

    def _pace(self):
        begin = time.monotonic()
        for number in itertools.count():
            if self.stopped.is_set():
                break
            self.queue.put((number, ) + next(self.pairs))
            time.sleep(max(0, begin + number / self.rate - time.monotonic()))
        for _ in range(WORKERS):
            self.queue.put(None)

    def _work(self):
        connections = {}
        while True:
            job = self.queue.get()
            if job is None:
                break
            number, client, name = job
            at = time.monotonic()
            if number % 2 == 0:
                problem = self._http(connections, client, name)
            else:
                found = client.resolves(name + ".service.consul", timeout=ANSWER_S)
                problem = None if found else NOT_THERE if found == 0 else "DNS: %s" % found
            with self.lock:
                self.done += 1
                self.slowest_s = max(self.slowest_s, time.monotonic() - at)
                if problem is not None:
                    self.failed.append((time.strftime("%H:%M:%S"), client.name, name, problem, at))
        for connection, _ in connections.values():
            connection.close()

    @staticmethod
    def _http(connections, client, name):
        now = time.monotonic()
        connection, used = connections.get(client.ip, (None, now))
        if connection is not None and now - used > UNUSED_MAX_S:
            connection.close()
            connection = None
        if connection is None:
            connection = http.client.HTTPConnection(client.ip, 8500, timeout=ANSWER_S)
        connections[client.ip] = connection, now
        try:
            connection.request("GET", "/v1/health/service/%s?passing" % name)
            reply = connection.getresponse()
            body = reply.read().decode()
        except (OSError, socket.timeout, http.client.HTTPException) as error:
            connections.pop(client.ip)[0].close()
            return "HTTP: %r" % error
        if reply.status == 200:
            return None if json.loads(body) else NOT_THERE
        return "HTTP: %d %s" % (reply.status, body[:100])


def known(client, name):
    """It answers from its own rows, so it goes on without servers."""
    reply = client.request("GET", "/v1/health/service/%s?passing&stale" % name)
    return reply is not None and reply[0] == 200 and json.loads(reply[2]) and \
        reply[1].get("X-Cairn-Mirror-Age") is not None


def services_of(server):
    """{service: nodes} that the catalog shows as passing, None: no answer."""
    services = server.get("/v1/catalog/services")
    if services is None:
        return None
    shown = {}
    for name in services:
        rows = server.get("/v1/health/service/%s?passing" % name)
        if rows is None:
            return None
        if rows:
            shown[name] = sorted(row["Node"]["Node"] for row in rows)
    return shown


class Cpu:
    """Of the servers, in parts of a core."""

    def __init__(self, servers):
        self.servers = servers
        self.at, self.used = time.monotonic(), [usage.cpu_s(s.process.pid) for s in servers]

    def lap(self):
        at, used = time.monotonic(), [usage.cpu_s(s.process.pid) for s in self.servers]
        shares = [(b - a) / (at - self.at) for a, b in zip(self.used, used)]
        self.at, self.used = at, used
        return shares


def show(shares):
    return ", ".join("%.2f %%" % (100 * share) for share in shares)


def cut(dc):
    for server in dc.servers:
        server.host.cut(*(client.host for client in dc.clients))


def heal(dc):
    dc.network.heal()


def while_away(dc, seconds, deaf, changed):
    """One host dies and one changes its services while nobody of the servers sees it."""
    end = time.monotonic() + seconds
    time.sleep(seconds / 2)
    deaf.kill()
    datacenter.eventually(
        lambda: changed.put("/v1/agent/service/register", {"Name": "late", "Port": 81}) or
        changed.get("/v1/agent/services", 1) and "late" in changed.get("/v1/agent/services", 1),
        "a service is registered without servers")
    changed.put("/v1/agent/service/deregister/early")
    time.sleep(max(0, end - time.monotonic()))


def run(dc, seconds, rate, bound_s=IDLE_WITHIN_S):
    """Prints what was seen. Returns what was wrong, as sentences. bound_s None: the servers' CPU is not
    judged."""
    wrong, whole_at = [], 0
    deaf, changed, lookers = dc.clients[-1], dc.clients[-2], dc.clients[:-1]
    assert changed.put("/v1/agent/service/register", {"Name": "early", "Port": 80})
    names = ["of-" + client.name for client in lookers]
    for client in lookers:
        for name in names:
            datacenter.eventually(lambda c=client, n=name: known(c, n),
                                  "%s knows %s" % (client.name, name))
    time.sleep(2)
    cpu = Cpu(dc.servers)
    time.sleep(IDLE_S)
    idle = cpu.lap()
    print("servers before, idle:  %s of a core" % show(idle), flush=True)

    lookups = Lookups(lookers, names, rate).start()
    try:
        time.sleep(min(5, seconds / 4))
        print("servers before, with lookups: %s" % show(cpu.lap()), flush=True)
        cut(dc)
        while_away(dc, seconds, deaf, changed)
        print("servers while cut off: %s" % show(cpu.lap()), flush=True)
        shown = [datacenter.eventually(lambda s=s: services_of(s), "a server answers")
                 for s in dc.servers]
        given_up = {name for services in shown for name in names if name not in services}
        if len(given_up) > GIVEN_UP_MAX * len(dc.clients):
            wrong.append("the servers gave up %d of %d hosts" % (len(given_up), len(dc.clients)))
        heal(dc)
        healed_at = time.monotonic()
        cpu.lap()
        expected = {"consul": sorted(s.name for s in dc.servers), "late": [changed.name]}
        expected.update(("of-" + client.name, [client.name]) for client in lookers)
        try:
            datacenter.eventually(lambda: all(services_of(s) == expected for s in dc.servers),
                                  "the catalog is what the hosts have", pause_s=0.5,
                                  deadline_s=120)
            whole_at = time.monotonic()
            print("whole again after %.1f s; given up before: %s" % (
                whole_at - healed_at, ", ".join(sorted(given_up)) or "none"), flush=True)
        except AssertionError as error:
            wrong.append("%s; seen: %s; expected: %s" % (error, services_of(dc.servers[0]), expected))
    finally:
        lookups.stop()
    print("servers while healing, %.1f s, with lookups: %s" % (
        time.monotonic() - cpu.at, show(cpu.lap())), flush=True)
    back_s, share = None, []
    while bound_s and time.monotonic() < healed_at + bound_s + 30 and back_s is None:
        time.sleep(1)
        share = cpu.lap()
        if all(now <= max(2 * before, before + 0.02) for now, before in zip(share, idle)):
            back_s = time.monotonic() - healed_at
    if bound_s:
        print("servers idle again %s s after the heal (bound %d): %s" % (
            back_s and "%.1f" % back_s, bound_s, show(share)), flush=True)
        if back_s is None or back_s > bound_s:
            wrong.append("the servers are not idle again after %s s" % back_s)
    print("%d lookups, %.0f a second, %d failed, slowest %.3f s" % (
        lookups.done, lookups.done / lookups.took_s, len(lookups.failed), lookups.slowest_s),
          flush=True)
    failed = [f for f in lookups.failed if f[3] != NOT_THERE or f[2] not in given_up or
              not healed_at - ANSWER_S < f[4] < whole_at + SETTLES_S]
    for failure in failed[:10]:
        print("  failed: %s" % (failure[:4], ), flush=True)
    if failed:
        wrong.append("%d of %d lookups failed" % (len(failed), lookups.done))
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rate", type=float, default=100)
    arguments = parser.parse_args()
    if not netns.available():
        print("outage: needs root, ip and nft; left out")
        return
    with datacenter.Datacenter(arguments.cairn, clients=arguments.clients) as dc:
        dc.start()
        wrong = run(dc, arguments.seconds, arguments.rate)
        for sentence in wrong:
            print("WRONG: " + sentence)
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
