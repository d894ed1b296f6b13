"""The router of tests/wan does to packets what it is told: delay, jitter, loss, bandwidth, cuts."""
import os
import socket
import struct
import sys
import threading
import time
import unittest

from cairn import BINARY, eventually

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "wan"))
import wan  # noqa: E402

PORT = 9000
SO_RCVBUFFORCE = 33  # Python has no name for it
MISSING = wan.missing()


@unittest.skipIf(MISSING, MISSING)
class Router(unittest.TestCase):
    def setUp(self):
        self.wan = wan.Wan(["a", "b", "c"], wan.router_beside(BINARY))
        self.wan.__enter__()
        self.addCleanup(self.wan.__exit__)
        self.a, self.b = (self.socket(name) for name in "ab")

    def socket(self, name):
        region = self.wan.regions[name]
        with region.inside():
            udp = socket.socket(type=socket.SOCK_DGRAM)
        self.addCleanup(udp.close)
        udp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        udp.bind((region.ip(1), PORT))
        udp.settimeout(60)
        return udp

    def send(self, count, size=100, one=None, other="b"):
        """Numbered packets, as fast as the device takes them."""
        for i in range(count):
            (one or self.a).sendto(struct.pack(">I", i) + b"x" * (size - 4),
                                   (self.wan.regions[other].ip(1), PORT))

    def receive(self, count, udp=None):
        """[(number, when)]"""
        got = []
        for _ in range(count):
            got.append((struct.unpack(">I", (udp or self.b).recv(2000)[:4])[0], time.monotonic()))
        return got

    def judged(self, count, one="a", other="b"):
        """The numbers of a link once it has judged so many packets, and none is on its way."""
        return eventually(lambda: next((s for s in [self.wan.stats(one, other)] if sum(
            s[n] for n in ("sent", "lost", "overrun", "cut")) == count), None), "all are judged")

    def round_trip_s(self, tries=10):
        """The shortest of some: a busy machine adds to it."""
        stop = threading.Event()

        def echo():
            while not stop.is_set():
                try:
                    data, source = self.b.recvfrom(2000)
                    self.b.sendto(data, source)
                except TimeoutError:
                    pass
        thread = threading.Thread(target=echo)
        self.b.settimeout(0.1)
        thread.start()
        times = []
        for _ in range(tries):
            begin = time.monotonic()
            self.send(1)
            self.receive(1, self.a)
            times.append(time.monotonic() - begin)
        stop.set()
        thread.join()
        return min(times)

    def test_delay(self):
        near = self.round_trip_s()
        self.wan.link("a", "b", delay_ms=60)
        one_way = self.round_trip_s()
        self.wan.link("b", "a", delay_ms=180)
        far = self.round_trip_s()
        self.assertGreaterEqual(one_way, 0.06)
        self.assertGreaterEqual(far, 0.24, "each way has its own")
        # What a busy machine adds is not there in some try.
        self.wan.link("b", "a", delay_ms=0)
        eventually(lambda: min(one_way, self.round_trip_s(1)) < far, "less than both ways")
        self.wan.link("a", "b", delay_ms=0)
        eventually(lambda: min(near, self.round_trip_s(1)) < one_way, "less than one way")

    def test_none_overtakes_another(self):
        self.wan.link("a", "b", delay_ms=10, jitter_ms=60)
        self.send(300)
        self.assertEqual([number for number, _ in self.receive(300)], list(range(300)))

    def test_loss(self):
        self.wan.link("a", "b", loss=0.2)
        self.send(4000)
        stats = self.judged(4000)
        # Six standard deviations.
        self.assertLess(abs(stats["lost"] - 800), 6 * (4000 * 0.2 * 0.8) ** 0.5)
        self.assertEqual(len(self.receive(stats["sent"])), 4000 - stats["lost"])
        self.wan.link("a", "b", loss=0)
        self.send(500)
        self.receive(500)

    def test_cut(self):
        other = self.socket("c")
        self.wan.link("a", "b", delay_ms=3000)  # the cut comes meanwhile
        self.send(5)
        # One way, and what is on its way, too.
        eventually(lambda: self.wan.command("cut", "a", "b"), "cut")
        self.send(3)
        self.assertEqual(self.judged(8)["cut"], 8)
        self.send(1, one=self.b, other="a")
        self.receive(1, self.a)
        self.send(1, other="c")
        self.receive(1, other)
        self.wan.heal("a", "b")
        self.send(2)
        self.assertEqual([number for number, _ in self.receive(2)], [0, 1])

    def rate_s(self, rate_kbit, count=40):
        """From the first to the last of some packets of 1250 bytes."""
        self.wan.link("a", "b", rate_kbit=rate_kbit, queue_ms=10000)
        self.send(count, 1250 - 28)  # with its headers
        got = self.receive(count)
        return got[-1][1] - got[0][1]

    def test_bandwidth(self):
        slow = min(self.rate_s(1000) for _ in range(2))
        self.assertGreater(slow, 39 * 0.01 * 0.9)
        eventually(lambda: slow > 2 * self.rate_s(8000), "it goes faster")  # in some try

    def test_a_full_queue(self):
        self.wan.link("a", "b", rate_kbit=1000, queue_ms=100)
        self.send(200, 1250 - 28)
        stats = self.judged(200)
        self.assertGreater(stats["overrun"], 0)
        self.assertGreaterEqual(stats["sent"], 10, "what the queue holds")
        self.assertEqual(len(self.receive(stats["sent"])), stats["sent"])

    def test_what_is_not_a_command(self):
        for words in (["link", "a"], ["link", "a", "x", "loss=0"], ["link", "a", "b", "loss=2"],
                      ["link", "a", "b", "delay_ms=-1"], ["link", "a", "b", "speed=1"],
                      ["dig", "a", "b"], ["cut", "a", "b", "c"], ["link", "a", "b", "loss="]):
            with self.subTest(words), self.assertRaises(ValueError):
                self.wan.command(*words)
        self.wan.command("link", "*", "*", "delay_ms=1", "loss=0.5")


if __name__ == "__main__":
    unittest.main()
