"""Lookups and writes in all regions at a rate, each judged: for tests and tests/bench/wan.py.

    with load.Load(world, per_second=50) as asked:
        world.wan.cut()
        ...
    asked.failures

Every region has its own service, "web-a" and so on, which answers() knows. What is asked of a region's
servers in turn: its own service over HTTP and DNS, a key that is written, and the services of the other
regions, over HTTP and DNS."""
import itertools
import threading
import time

from regions import AGE, NAMES, eventually

INSTANCES = 3
TEXT = "cairn-mirror-age-ms="


def fill(world):
    for name in NAMES:
        for i in range(INSTANCES):
            world.servers[name][0].put_instance("web-" + name, node="%s-n%d" % (name, i),
                                                address="10.%d.0.%d" % (NAMES.index(name), i + 1))
        for other in NAMES:
            for server in world.servers[other]:
                eventually(lambda s=server, n=name: len(s.rows(
                    "/v1/health/service/web-%s?dc=%s" % (n, n)) or []) == INSTANCES, "all is there")


class Asked:
    """One thing that was asked."""

    def __init__(self, kind, server, where, began):
        self.kind, self.server, self.where, self.began = kind, server, where, began
        self.seconds, self.age_ms, self.failure = 0.0, None, None

    def __repr__(self):
        return "%s at %s about %s: %s, age %s, after %.2f s" % (
            self.kind, self.server.name, self.where, self.failure or "well", self.age_ms,
            self.seconds)


class Load:
    def __init__(self, world, per_second, workers=8, kinds=None, regions=NAMES):
        self.world, self.per_second = world, per_second
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.next = itertools.count()
        self.all = []
        servers = [s for i in range(max(len(world.servers[n]) for n in NAMES))
                   for n in regions for s in world.servers[n][i:i + 1]]
        kinds = kinds or ("http", "dns", "write", "far http", "far dns")
        self.work = [(kind, server) for kind in kinds for server in servers]
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(workers)]
        self.began = None

    def __enter__(self):
        self.began = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    @property
    def failures(self):
        return [a for a in self.of() if a.failure]

    def of(self, *kinds):
        with self.lock:
            return [a for a in self.all if not kinds or a.kind in kinds]

    def run(self):
        while not self.stop.is_set():
            with self.lock:
                i = next(self.next)
            pause = self.began + i / self.per_second - time.monotonic()
            if pause > 0 and self.stop.wait(pause):
                return
            # Each of the other regions in turn.
            kind, server = self.work[i % len(self.work)]
            region = server.region.region
            others = [n for n in NAMES if n != region]
            where = others[i // len(self.work) % 2] if kind.startswith("far") else region
            asked = Asked(kind, server, where, time.monotonic())
            try:
                getattr(self, "ask_" + kind.split()[-1])(asked, where, i)
            except (OSError, EOFError) as error:
                asked.failure = repr(error)
            asked.seconds = time.monotonic() - asked.began
            with self.lock:
                self.all.append(asked)

    def ask_http(self, asked, where, _):
        far = "&dc=" + where if asked.kind.startswith("far") else ""
        reply = asked.server.get("/v1/health/service/web-%s?passing%s" % (where, far))
        if reply.status != 200 or len(reply.json) != INSTANCES:
            asked.failure = repr(reply)
        elif reply.headers[AGE] is not None:
            asked.age_ms = int(reply.headers[AGE])

    def ask_dns(self, asked, where, _):
        answer = asked.server.resolve("web-%s.service.%s.consul" % (where, where), edns=1232)
        if answer.rcode != 0 or len(answer.data("A")) != INSTANCES:
            asked.failure = "%s %s" % (answer.rcode, answer.answers)
        for record in answer.additional:
            for text in record.data if record.kind == "TXT" else ():
                if text.startswith(TEXT):
                    asked.age_ms = int(text[len(TEXT):])

    def ask_write(self, asked, _, i):
        reply = asked.server.put("/v1/kv/load/%d" % (i % 1000), str(i))
        if reply.status != 200 or reply.text.strip() != "true":
            asked.failure = repr(reply)
