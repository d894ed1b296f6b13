"""Clients that are broken, slow, greedy or hostile: the agent stays up, small and answering."""

import os
import random
import resource
import socket
import struct
import threading
import time

from cairn import (DEADLINE_S, AgentTest, FORMERR, NOERROR, NOTIMP, NXDOMAIN, REFUSED, Message, encode_name,
                   encode_query, eventually, exchange_tcp, exchange_udp, read_tcp)

MIB = 1024  # in the KiB that the kernel counts in
ASAN_GROWTH_KIB = 64 * MIB  # quarantine and shadow of a sanitizer's build, not what is held


class HostileTest(AgentTest):
    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def tearDown(self):
        self.assertIsNone(self.agent.process.poll(), self.agent.output())
        self.assertEqual(self.agent.get("/v1/status/leader").status, 200)
        self.assertEqual(self.agent.resolve("consul.service.consul").rcode, NOERROR)
        self.assertEqual(self.agent.resolve("consul.service.consul", tcp=True).rcode, NOERROR)

    def raws(self, count):
        raws = [self.agent.raw() for _ in range(count)]
        for raw in raws:
            self.addCleanup(raw.close)
        return raws

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.agent.process.pid))


class HttpHostile(HostileTest):
    config = {"limits": {"http_max_conns_per_client": 0}}

    def test_a_byte_at_a_time(self):
        body = b'{"Node":"slow","Address":"192.0.2.1"}'
        request = (b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                   % (len(body), body))
        slow = self.raws(20)
        for i, byte in enumerate(request):
            for raw in slow:
                raw.send(bytes([byte]))
            if i % 20 == 0:  # others are served meanwhile
                self.assertEqual(self.agent.get("/v1/status/leader").status, 200)
        for raw in slow:
            reply = raw.reply()
            self.assertEqual((reply.status, reply.body), (200, b"true"))

    def test_half_open_connections(self):
        before = self.descriptors()
        raws = self.raws(600)
        for i, raw in enumerate(raws):
            raw.send((b"", b"G", b"GET /v1/catalog/nodes HTTP/1.1\r\n",
                      b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{",
                      b"GET /v1/catalog/nodes?index=9999999 HTTP/1.1\r\nHost: x\r\n\r\n")[i % 5])
        self.assertEqual(self.agent.get("/v1/catalog/nodes").status, 200)
        for i, raw in enumerate(raws):
            if i % 3 == 0:  # a reset instead of a farewell
                raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.close()
        eventually(lambda: self.descriptors() < before + 60, "descriptors are given back", 45)

    def test_answers_that_nobody_reads(self):
        for i in range(40):
            self.agent.register("bulk", ID="bulk-%d" % i, node="bulk", Meta={"k": "v" * 500})
        memory = self.agent.memory_kib()
        raws = self.raws(50)
        for raw in raws:
            raw.socket.settimeout(0.2)
            try:
                for _ in range(300):  # some 10 MB of answers each
                    raw.send(b"GET /v1/health/service/bulk HTTP/1.1\r\nHost: x\r\n\r\n")
            except socket.timeout:
                pass
        self.assertEqual(self.agent.get("/v1/status/leader").status, 200)
        self.assertLess(self.agent.memory_kib() - memory, ASAN_GROWTH_KIB)
        self.agent.must_put("/v1/catalog/deregister", {"Node": "bulk"})

    def test_a_hundred_megabytes(self):
        """Refused before it is sent when its length is known, cut off when it is not."""
        memory = self.agent.memory_kib()
        raw, = self.raws(1)
        raw.send(b"PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\n"
                 b"Content-Length: %d\r\n\r\n" % (100 << 20))
        self.assertEqual(raw.reply().status, 413)
        self.assertTrue(raw.closed())
        raw, = self.raws(1)
        raw.send(b"PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\n"
                 b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
        sent = highest = 0
        try:
            while sent < 1000:  # one that never ends
                raw.send(piece)
                sent += 1
                highest = max(highest, self.agent.memory_kib())
        except ConnectionError:
            pass
        self.assertLess(sent, 100)
        self.assertLess(highest - memory, ASAN_GROWTH_KIB)

    def test_too_large_by_little(self):
        """Read to its end, so that a client that sends first and reads then gets its answer."""
        for head, tail in ((b"Content-Length: %d\r\n\r\n" % (9 << 20), b""),
                           (b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (9 << 20),
                            b"\r\n0\r\n\r\n")):
            raw, = self.raws(1)
            raw.send(b"PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\n" + head)
            raw.send(b" " * (9 << 20) + tail)
            self.assertEqual(raw.reply().status, 413)
            raw.send(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(raw.reply().status, 200)

    def unread_bytes(self):
        """What is on its way to the agent's HTTP port or waits there to be read."""
        port, count = self.agent.http_address[1], 0
        with open("/proc/net/tcp", encoding="ascii") as file:
            for fields in map(str.split, file.readlines()[1:]):
                sent, received = (int(size, 16) for size in fields[4].split(":"))
                count += received if int(fields[1].split(":")[1], 16) == port else 0
                count += sent if int(fields[2].split(":")[1], 16) == port else 0
        return count

    def test_bodies_that_do_not_end(self):
        """What all request bodies hold together is bounded."""
        body = b" " * ((8 << 20) - 1)
        raws = []

        def put():
            return self.agent.put("/v1/catalog/register", {"Node": "b", "Address": "192.0.2.1"})

        def fill(raw):
            try:
                raw.send(b"PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\n"
                         b"Content-Length: %d\r\n\r\n%s" % (8 << 20, body))
            except OSError:
                pass  # its minute is over

        def refusal():
            """None: they did not all come within the minute that a request has."""
            end = time.monotonic() + 58
            raws[:] = self.raws(17)
            threads = [threading.Thread(target=fill, args=(raw,)) for raw in raws]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            while time.monotonic() < end:
                unread = self.unread_bytes()
                reply = put()
                if reply.status == 429:
                    return reply
                time.sleep(0.1)
            self.assertGreater(unread, 0, "all have come, and none is refused")
            for raw in raws:
                raw.close()
            return None
        reply = next(filter(None, (refusal() for _ in range(3))), None)
        if reply is None:
            self.skipTest("this machine takes longer than a minute for 136 MB")
        self.assertEqual(reply.headers["Retry-After"], "1")
        self.assertIn("request bodies", reply.text)
        self.assertEqual(self.agent.get("/v1/status/leader").status, 200)
        for raw in raws:
            raw.close()
        eventually(lambda: put().status == 200, "there is room again")
        self.agent.must_put("/v1/catalog/deregister", {"Node": "b"})

    def test_answers_that_hold_memory(self):
        """What all answers hold together is bounded."""
        meta = {"k%d" % i: "v" * 512 for i in range(64)}
        for i in range(120):
            self.agent.register("heavy", ID="heavy-%d" % i, node="heavy", Meta=meta)
        size = len(self.agent.get("/v1/health/service/heavy").body)
        raws = []
        for i in range((300 << 20) // size):
            raw = socket.socket()
            self.addCleanup(raw.close)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(self.agent.http_address)
            raw.sendall(b"GET /v1/health/service/heavy HTTP/1.1\r\nHost: x\r\n\r\n")
            raws.append(raw)
        reply = eventually(
            lambda: (lambda r: r if r.status == 429 else None)(
                self.agent.get("/v1/health/service/heavy")), "answers are refused", 120)
        self.assertEqual(reply.headers["Retry-After"], "1")
        self.assertIn("too many answers", reply.text)
        for raw in raws:
            raw.close()
        eventually(lambda: self.agent.get("/v1/health/service/heavy").status == 200,
                   "there is room again")
        self.agent.must_put("/v1/catalog/deregister", {"Node": "heavy"})

    def test_a_flood_of_pipelined_requests(self):
        """Hundreds of requests in a row on each connection: all are answered, in order."""
        memory = self.agent.memory_kib()
        raws = self.raws(10)
        for raw in raws:
            raw.send(b"".join(b"GET /v1/agent/service/none-%d HTTP/1.1\r\nHost: x\r\n\r\n" % i
                              for i in range(400)))
        self.assertEqual(self.agent.get("/v1/status/leader").status, 200)
        for raw in raws:
            for i in range(400):
                reply = raw.reply()
                self.assertEqual((reply.status, reply.text),
                                 (404, "unknown service ID: none-%d" % i))
        self.assertLess(self.agent.memory_kib() - memory, ASAN_GROWTH_KIB)

    def test_a_hang_up_with_the_start_of_a_request(self):
        """Bytes and FIN in one segment: the library forgets such a connection."""
        before = self.descriptors()
        for i in range(300):
            with self.agent.raw() as raw:
                raw.send((b"G", b"GET /v1/catalog/nodes HTTP/1.1\r\n",
                          b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: 5"
                          b"\r\n\r\n{",
                          b"GET /v1/catalog/nodes?index=9999999 HTTP/1.1\r\nHost: x\r\n\r\n")[i % 4])
        eventually(lambda: self.descriptors() < before + 5, "descriptors are given back", 45)

    def test_a_client_that_says_no_more(self):
        """Half-closed after its request: the answer comes all the same, and nothing is left."""
        before = self.descriptors()
        for _ in range(20):
            raw, = self.raws(1)
            raw.send(b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: 37\r\n\r\n"
                     b'{"Node":"half","Address":"192.0.2.1"')
            raw.send(b"}")
            raw.socket.shutdown(socket.SHUT_WR)
            reply = raw.reply()
            self.assertIsNotNone(reply)
            self.assertIn(reply.status, (200, 400))
            self.assertTrue(raw.closed())
            raw.close()
        eventually(lambda: self.descriptors() < before + 5, "descriptors are given back", 45)

    def test_ten_thousand_headers(self):
        memory = self.agent.memory_kib()
        for _ in range(20):
            raw, = self.raws(1)
            try:
                raw.send(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n"
                         + b"".join(b"X-%d: y\r\n" % i for i in range(10000)) + b"\r\n")
                reply = raw.reply()
            except ConnectionError:
                reply = None
            if reply is not None:
                self.assertEqual(reply.status, 431)
        self.assertLess(self.agent.memory_kib() - memory, ASAN_GROWTH_KIB)

    def test_garbage(self):
        chance = random.Random(1)
        for i in range(200):
            raw, = self.raws(1)
            try:
                raw.send(chance.randbytes(chance.randrange(1, 3000)))
                if i % 2:
                    raw.send(b"\r\n\r\n")
            except ConnectionError:
                pass
            raw.close()
        for _ in range(300):  # requests with one byte turned
            request = bytearray(b"PUT /v1/catalog/register?dc=dc1 HTTP/1.1\r\nHost: x\r\n"
                                b"Content-Length: 44\r\nX-Consul-Token: t\r\n\r\n"
                                b'{"Node":"garbage","Address":"192.0.2.1"    }')
            request[chance.randrange(len(request))] = chance.randrange(256)
            raw, = self.raws(1)
            try:
                raw.send(bytes(request))
            except ConnectionError:
                pass
            raw.close()

    def test_json_with_a_turned_byte(self):
        chance = random.Random(2)
        good = (b'{"Name":"turned","ID":"t1","Tags":["a","b"],"Port":80,"Meta":{"k":"v"},'
                b'"Weights":{"Passing":1,"Warning":1},"Check":{"TTL":"10m","Header":{"a":["b"]}},'
                b'"TaggedAddresses":{"wan":{"Address":"192.0.2.1","Port":1}}}')
        with self.agent.client() as client:
            for _ in range(500):
                body = bytearray(good)
                for _ in range(chance.randrange(1, 3)):
                    body[chance.randrange(len(body))] = chance.choice(b'{}[]",:0e-\\\xff\x00tn ')
                reply = client.put("/v1/agent/service/register", bytes(body))
                self.assertIn(reply.status, (200, 400, 500))
        for service in self.agent.get("/v1/agent/services").json.values():
            self.assertTrue(service["Service"])


class BigNode(HostileTest):
    def test_it_goes_at_once(self):
        """More rows than one turn of the core touches: nobody sees a part of them gone, and who
        deregistered it sees none."""
        count = 2500
        with self.agent.client() as client:
            for i in range(count):
                reply = client.put("/v1/catalog/register", {
                    "Node": "big", "Address": "192.0.2.1", "SkipNodeUpdate": True,
                    "Service": {"ID": "s%d" % i, "Service": "big-%d" % (i % 3)}})
                self.assertEqual(reply.status, 200)
        seen = set()
        stop = threading.Event()

        def look():
            with self.agent.client() as client:
                while not stop.is_set():
                    seen.add(len((client.get("/v1/catalog/node/big").json or
                                  {"Services": ()})["Services"]))

        readers = [threading.Thread(target=look) for _ in range(2)]
        with self.agent.raw() as waiting:
            index = self.agent.get("/v1/catalog/service/big-0").index
            waiting.send(b"GET /v1/catalog/service/big-0?index=%d HTTP/1.1\r\nHost: x\r\n\r\n" % index)
            for reader in readers:
                reader.start()
            # Told by a change of the node's address first: every instance shows it.
            self.agent.must_put("/v1/catalog/register", {"Node": "big", "Address": "192.0.2.2"})
            rows = self.agent.get("/v1/catalog/service/big-1").json
            self.assertEqual({row["Address"] for row in rows}, {"192.0.2.2"})
            self.assertEqual({row["Address"] for row in waiting.reply().json}, {"192.0.2.2"})
            self.agent.must_put("/v1/catalog/deregister", {"Node": "big"})
            self.assertEqual(self.agent.get("/v1/catalog/service/big-2").json, [])
        stop.set()
        for reader in readers:
            reader.join()
        self.assertLessEqual(seen, {count, 0})


class CostlyEvents(HostileTest):
    def test_filters_of_events_do_not_hold_the_core(self):
        """Every agent judges them against its services, between its other duties."""
        for i in range(150):
            self.agent.must_put("/v1/agent/service/register",
                                {"Name": "a" * 60 + str(i), "Tags": ["a" * 60]})
        begun_s = self.agent.cpu_s()
        for filters in ("service=(a%7C[a-c]%7Caa)*[x-z]", "service=a&tag=(a%7C[a-c]%7Caa)*[x-z]"):
            for _ in range(10):
                self.agent.must_put("/v1/event/fire/deploy?" + filters, b"")
        self.agent.must_put("/v1/kv/key", b"value")
        self.assertLess(self.agent.cpu_s() - begun_s, 5)
        # What is cheap is found as before, among many services too.
        self.agent.must_put("/v1/event/fire/cheap?service=%5Ea%2B149$&tag=a%2B", b"")
        eventually(lambda: [event["Name"] for event in self.agent.get("/v1/event/list").json] ==
                   ["cheap"], "the one that was meant for it")


class Greedy(HostileTest):
    config = {"limits": {"http_max_conns_per_client": 20}}

    def test_connections_of_one_client(self):
        source = "127.0.0.9"
        within = [self.agent.raw(source=source) for _ in range(20)]
        for raw in within:
            self.addCleanup(raw.close)
            raw.send(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(raw.reply().status, 200)
        for _ in range(3):
            with self.agent.raw(source=source) as raw:
                raw.send(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
                reply = raw.reply()
                self.assertEqual((reply.status, reply.reason), (429, "Too Many Requests"))
                self.assertTrue(reply.headers["Content-Type"].startswith("text/plain"))
                self.assertEqual(reply.headers["Connection"].lower(), "close")
                self.assertIn("too many concurrent connections", reply.text)
                self.assertTrue(raw.closed())
        # Another client is served, those that are within go on, and a free place is given again.
        with self.agent.raw(source="127.0.0.10") as raw:
            raw.send(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(raw.reply().status, 200)
        within[0].send(b"GET /v1/status/peers HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(within[0].reply().status, 200)
        within[1].close()

        def served():
            with self.agent.raw(source=source) as raw:
                raw.send(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
                return raw.reply().status == 200
        eventually(served, "the place of a connection that went is free")

    def test_parked_queries_count(self):
        source = "127.0.0.11"
        parked = [self.agent.raw(source=source) for _ in range(20)]
        for raw in parked:
            self.addCleanup(raw.close)
            raw.send(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(raw.reply().status, 200)  # it has its place
            raw.send(b"GET /v1/catalog/nodes?index=99999999 HTTP/1.1\r\nHost: x\r\n\r\n")

        def status():
            with self.agent.raw(source=source) as raw:
                raw.send(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
                return raw.reply().status
        self.assertEqual(status(), 429)
        for raw in parked:
            raw.close()
        eventually(lambda: status() == 200, "places are free again")


class DnsHostile(HostileTest):
    def ask(self, wire, tcp=False):
        return Message((exchange_tcp if tcp else exchange_udp)(self.agent.dns_address, wire))

    def test_refused_questions(self):
        for tcp in (False, True):
            for name, kind, rcode in (("www.example.org", "A", REFUSED), ("org", "NS", REFUSED),
                                      (".", "NS", REFUSED), ("consul.service.consulx", "A", REFUSED),
                                      ("consul", "AXFR", NOTIMP),
                                      ("nothing.service.consul", "A", NXDOMAIN)):
                with self.subTest(name=name, kind=kind, tcp=tcp):
                    answer = self.agent.resolve(name, kind, tcp=tcp)
                    self.assertEqual((answer.rcode, answer.answers), (rcode, []))
                    self.assertEqual(answer.question[0][0].rstrip("."), name.rstrip("."))
            for opcode in (1, 2, 5, 6, 15):
                answer = self.ask(encode_query("a.service.consul", flags=opcode << 11), tcp)
                self.assertEqual((answer.rcode, answer.number, answer.flags >> 11 & 15),
                                 (NOTIMP, 1, opcode))

    def test_malformed_questions(self):
        good = encode_query("web.service.consul", number=77)
        two = struct.pack(">HHHHHH", 77, 0, 2, 0, 0, 0) + good[12:] + good[12:]
        none = struct.pack(">HHHHHH", 77, 0, 0, 0, 0, 0)
        for wire in (two, none, good[:-1], good[:-5], good[:14],
                     good[:12] + b"\x40abc" + good[12:], good[:12] + b"\xc0\x0c" + good[-4:],
                     good[:12] + b"\xc0\xff" + good[-4:], good[:12] + b"\x3f" + b"a" * 10,
                     good[:12] + (b"\x3f" + b"a" * 63) * 5 + b"\0" + good[-4:],
                     struct.pack(">HHHHHH", 77, 0, 1, 2, 0, 0) + good[12:],
                     struct.pack(">HHHHHH", 77, 0, 1, 0, 2, 0) + good[12:],
                     struct.pack(">HHHHHH", 77, 0, 1, 0, 0, 3) + good[12:]):
            for tcp in (False, True):
                with self.subTest(wire=wire, tcp=tcp):
                    answer = self.ask(wire, tcp)
                    self.assertEqual((answer.number, answer.qr, answer.rcode), (77, True, FORMERR))

    def test_no_answer_to_answers(self):
        """Two servers must not talk to each other for ever."""
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.connect(self.agent.dns_address)
            udp.settimeout(DEADLINE_S)
            for wire in (encode_query("a.service.consul", flags=0x8000), b"", b"\0", b"x" * 11):
                udp.send(wire)
            for _ in range(20):  # one of these comes to each of the server's threads
                udp.send(encode_query("b.service.consul", number=99))
                self.assertEqual(Message(udp.recv(4096)).number, 99)

    def test_garbage_datagrams(self):
        chance = random.Random(3)
        good = encode_query("web.service.consul", edns=1232)
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.connect(self.agent.dns_address)
            for i in range(3000):
                wire = bytearray(good)
                if i % 3 == 0:
                    wire = bytearray(chance.randbytes(chance.randrange(0, 1500)))
                elif i % 3 == 1:
                    wire[chance.randrange(len(wire))] = chance.randrange(256)
                else:
                    wire = wire[:chance.randrange(len(wire))]
                udp.send(bytes(wire))

    def test_garbage_streams(self):
        chance = random.Random(4)
        before = self.descriptors()
        for i in range(200):
            with socket.create_connection(self.agent.dns_address) as tcp:
                data = chance.randbytes(chance.randrange(1, 400))
                if i % 2:
                    data = struct.pack(">H", len(data)) + data
                tcp.sendall(data)
        eventually(lambda: self.descriptors() < before + 20, "descriptors are given back")

    def test_stream_in_pieces(self):
        """Questions that come byte by byte, and many at once."""
        with socket.create_connection(self.agent.dns_address, DEADLINE_S) as tcp:
            wire = encode_query("consul.service.consul")
            for byte in struct.pack(">H", len(wire)) + wire:
                tcp.sendall(bytes([byte]))
            self.assertEqual(Message(read_tcp(tcp)).data("A"), [self.agent.ip])
            every = b""
            for number in range(100):
                wire = encode_query("consul.service.consul", number=number)
                every += struct.pack(">H", len(wire)) + wire
            tcp.sendall(every)
            numbers = [Message(read_tcp(tcp)).number for _ in range(100)]
            self.assertEqual(sorted(numbers), list(range(100)))

    def test_mute_streams_are_closed(self):
        streams = []
        for data in (b"\0", b"\0\x20abc"):  # a question that never ends, 2 s
            tcp = socket.create_connection(self.agent.dns_address, DEADLINE_S)
            self.addCleanup(tcp.close)
            tcp.sendall(data)
            streams.append(tcp)
        for tcp in streams:
            self.assertEqual(tcp.recv(1), b"")

    def test_more_streams_than_it_takes(self):
        streams = []
        for _ in range(400):
            tcp = socket.create_connection(self.agent.dns_address, DEADLINE_S)
            self.addCleanup(tcp.close)
            streams.append(tcp)
        self.assertEqual(self.agent.resolve("consul.service.consul").rcode, NOERROR)
        for tcp in streams:
            tcp.close()

        def answered():
            try:
                return self.agent.resolve("consul.service.consul", tcp=True).rcode == NOERROR
            except (OSError, EOFError):
                return False
        eventually(answered, "TCP is answered again")

    def test_long_names(self):
        label = "a" * 63
        for name in (".".join([label] * 3 + ["b" * 30]) + ".service.consul",
                     ".".join(["a"] * 110) + ".service.consul"):
            self.assertLessEqual(len(encode_name(name)), 255)
            for kind in ("A", "SRV", "ANY"):
                self.assertEqual(self.agent.resolve(name, kind).rcode, NXDOMAIN)
