"""The benchmarks of keys: reads beside the health lookup and a bare server, bytes a key, and what a
large list, a large deletion and many sessions do to a writer. Prints ratios where it can."""

import base64
import http.client
import json
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time

from agent import Agent, Writer, free_port, instance, wrk

VALUE = base64.b64encode(b"v" * 100).decode()


class Bare:
    """tests/bench/bare_httpd.c with one answer."""

    def __init__(self, binary, body):
        self.file = tempfile.NamedTemporaryFile()
        self.file.write(body)
        self.file.flush()
        self.port = free_port()
        self.process = subprocess.Popen([binary, str(self.port), self.file.name])
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.01)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.file.close()


def reads(args):
    agent = Agent(args.cairn)
    agent.start()
    writer = Writer(agent)
    for i in range(10):
        writer.put("/v1/catalog/register", instance(i, "web"))
    writer.put("/v1/kv/bench/key", "v" * 126)
    writer.finish()
    paths = {"health": "/v1/health/service/web?passing", "key": "/v1/kv/bench/key"}
    bares = {name: Bare(args.bare, agent.get(path)[1]) for name, path in paths.items()}
    ratios = {"health": [], "key": []}
    for _ in range(args.rounds):
        for name, path in paths.items():
            ours = wrk(f"http://127.0.0.1:{agent.http_port}{path}", 16, args.seconds)
            theirs = wrk(f"http://127.0.0.1:{bares[name].port}/", 16, args.seconds)
            ratios[name].append(ours / theirs)
            print(f"  {name}: {ours:.0f}/s, bare libmicrohttpd {theirs:.0f}/s, "
                  f"ratio {ours / theirs:.2f}")
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    print(f"ratio to bare libmicrohttpd: key {medians['key']:.2f}, health lookup "
          f"{medians['health']:.2f}; key / health {medians['key'] / medians['health']:.2f} "
          f"(at least 0.8)")
    for bare in bares.values():
        bare.close()
    agent.close()


class Probe(threading.Thread):
    """Writes a small key again and again; the longest time of each named stretch."""

    def __init__(self, agent):
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", agent.http_port)
        self.times = []
        self.stopped = False

    def run(self):
        number = 0
        while not self.stopped:
            number += 1
            begun = time.monotonic()
            self.connection.request("PUT", "/v1/kv/probe", str(number))
            self.connection.getresponse().read()
            self.times.append(time.monotonic() - begun)
            time.sleep(0.001)

    def longest_ms(self, stretch):
        """Of a stretch of work; and how long that took. Tells other percentiles beside it: what the
        disk does to a single write is not the stretch's doing."""
        self.times = []
        begun = time.monotonic()
        stretch()
        took = time.monotonic() - begun
        time.sleep(0.05)
        times = sorted(self.times)
        print(f"  {len(times)} writes beside it: 50 % {times[len(times) // 2] * 1000:.1f} ms, "
              f"99 % {times[len(times) * 99 // 100] * 1000:.1f} ms, 99.9 % "
              f"{times[len(times) * 999 // 1000] * 1000:.1f} ms, longest {times[-1] * 1000:.1f} ms")
        return times[-1] * 1000, took


def longest_sync_ms(folder, seconds):
    """Of the disk alone: small writes, each synced, one after the other."""
    longest, end = 0, time.monotonic() + seconds
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(bytes(1 << 20))
        while time.monotonic() < end:
            os.pwrite(file.fileno(), b"x" * 512, 0)
            begun = time.monotonic()
            os.fdatasync(file.fileno())
            longest = max(longest, time.monotonic() - begun)
            time.sleep(0.001)
    return longest * 1000


def many(args):
    count = args.keys
    agent = Agent(args.cairn)
    agent.start()
    before = agent.memory()[1]
    writer = Writer(agent, pipeline=8)
    names = 0
    for start in range(0, count, 128):
        ops = []
        for i in range(start, min(start + 128, count)):
            key = f"app/{i // 10000:03d}/{i // 100 % 100:02d}/item-{i:07d}"
            names += len(key)
            ops.append({"KV": {"Verb": "set", "Key": key, "Value": VALUE}})
        writer.put("/v1/txn", ops)
    writer.finish()
    agent.get("/v1/kv/app/000/00/item-0000000")
    time.sleep(3)  # what was replaced is freed with the next turns
    bytes_each = (agent.memory()[1] - before) * 1024 / count
    print(f"{count} keys of 100 bytes: {bytes_each - 100 - names / count:.0f} bytes overhead each "
          f"(at most 350); names of {names / count:.0f} bytes and values not counted")
    disk = longest_sync_ms(agent.folder, args.seconds)
    probe = Probe(agent)
    probe.start()

    def recurse():
        """By another process: this one's parsing would hold up its own writes."""
        url = f"http://127.0.0.1:{agent.http_port}/v1/kv/app/000/?recurse&n="
        sizes = subprocess.run(["curl", "-s", "-w", "%{size_download}\n", *sum(
            (["-o", "/dev/null", url + str(n)] for n in range(50)), [])],
            stdout=subprocess.PIPE, check=True).stdout.split()
        assert len(sizes) == 50 and min(map(int, sizes)) > 10000 * 200
    stretches = []
    for _ in range(args.rounds):  # as long idle as under lists, in turns
        listing, took = probe.longest_ms(recurse)
        idle, _ = probe.longest_ms(lambda: time.sleep(took))
        stretches.append((listing, idle))
    listing, idle = (statistics.median(column) for column in zip(*stretches))
    print(f"50 lists of 10,000 keys, {took / 50 * 1000:.0f} ms each: longest write {listing:.1f} ms "
          f"(at most 20), {idle:.1f} ms while idle, ratio {listing / idle:.2f} (medians of "
          f"{args.rounds}); longest sync of the disk alone {disk:.1f} ms")

    def keys():
        _, body = agent.get("/v1/kv/app/?keys&separator=/")
        assert len(json.loads(body)) == (count + 9999) // 10000
    _, took = probe.longest_ms(keys)
    print(f"keys below app/ up to the next slash, of {count}: {took * 1000:.1f} ms")

    def remove():
        connection = http.client.HTTPConnection("127.0.0.1", agent.http_port)
        connection.request("DELETE", "/v1/kv/app/?recurse")
        assert connection.getresponse().read() == b"true"
    deleting, took = probe.longest_ms(remove)
    freeing, _ = probe.longest_ms(lambda: time.sleep(5))
    print(f"deletion of {count} keys: answered in {took * 1000:.1f} ms, longest write "
          f"{deleting:.1f} ms then and {freeing:.1f} ms while they were freed")
    probe.stopped = True
    probe.join()
    agent.close()


def sessions(args):
    agent = Agent(args.cairn)
    agent.start()
    connection = http.client.HTTPConnection("127.0.0.1", agent.http_port)

    def put(path, body=""):
        connection.request("PUT", path, body)
        return connection.getresponse().read()
    made = []
    for i in range(1000):
        session = json.loads(put("/v1/session/create", '{"TTL":"10s","NodeChecks":[]}'))["ID"]
        put(f"/v1/kv/held/{i}?acquire={session}")
        made.append(session)
    renewed = time.monotonic()
    for session in made:
        put("/v1/session/renew/" + session)
    last = time.monotonic()
    first_end = last_end = None
    probe = Probe(agent)
    probe.start()

    def ends():
        nonlocal first_end, last_end
        while last_end is None:
            left = len(json.loads(agent.get("/v1/session/list")[1]))
            if left < 1000 and first_end is None:
                first_end = time.monotonic()
            if left == 0:
                last_end = time.monotonic()
            time.sleep(0.01)
    longest, _ = probe.longest_ms(ends)
    print(f"1,000 sessions of 10 s, renewed within {last - renewed:.2f} s: the first ended after "
          f"{first_end - renewed:.2f} s (not before 10), the last {last_end - last:.2f} s after its "
          f"renewal (at most 11); longest write meanwhile {longest:.1f} ms")
    probe.stopped = True
    probe.join()
    agent.close()


def run(args):
    reads(args)
    many(args)
    sessions(args)
