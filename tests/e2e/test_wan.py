"""Three regions, 80 ms from each other, that lose their links, their servers and their services: lookups
go on. Longer, and with figures, in tests/bench/wan.py."""
import os
import sys
import threading
import time
import unittest

from cairn import BINARY, eventually

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "wan"))
import load  # noqa: E402
import regions  # noqa: E402
import wan  # noqa: E402
from regions import AGE, NAMES  # noqa: E402

MISSING = wan.missing()
CUT_S = 20
FLAP_S = 18
HOLD_DOWN_S = 3


@unittest.skipIf(MISSING, MISSING)
class World(unittest.TestCase):
    # A busy machine must not cost a group its leader: that would be no fault of the links.
    servers, config = 3, {"failover": {"hold_down": "%ds" % HOLD_DOWN_S},
                          "performance": {"raft_multiplier": 10}}

    @classmethod
    def setUpClass(cls):
        cls.world = regions.Regions(BINARY, servers=cls.servers, config=cls.config)
        cls.world.__enter__()
        cls.addClassCleanup(cls.world.__exit__)
        cls.world.start()
        load.fill(cls.world)

    @classmethod
    def tearDownClass(cls):
        for machine in cls.world.machines():
            machine.check_output()

    def setUp(self):
        self.addCleanup(self.world.wan.heal)

    def none_failed(self, asked):
        self.assertEqual(asked.failures, [], "%s\n%s" % (
            asked.failures, self.world.outputs() if asked.failures else ""))


class Links(World):
    def far_from_c(self):
        """Region c is farther from a than b is, and a has measured it."""
        self.world.wan.link("a", "c", delay_ms=120)
        self.world.wan.link("c", "a", delay_ms=120)
        self.addCleanup(self.world.wan.link, "*", "*", delay_ms=regions.ROUND_TRIP_MS / 2)
        for server in self.world.servers["a"]:
            eventually(lambda s=server: s.get("/v1/catalog/datacenters").json == ["a", "b", "c"],
                       "b is nearer than c")

    def test_all_links_are_cut(self):
        world = self.world
        for name in NAMES:
            world.servers[name][0].put_instance("old-" + name)
        with load.Load(world, 40) as asked:
            eventually(lambda: len(asked.of("far dns")) > 20, "lookups run")
            begin = time.monotonic()
            world.wan.cut()
            # Rows that change meanwhile, and one that goes.
            for name in NAMES:
                world.servers[name][-1].put_instance("new-" + name)
                world.servers[name][0].must_put("/v1/catalog/deregister", {"Node": "n-old-" + name})
            eventually(lambda: time.monotonic() > begin + CUT_S, "a while")
        self.none_failed(asked)
        for kind in ("http", "dns", "write"):
            self.assertGreater(len(asked.of(kind)), 20)
        far = [a for a in asked.of("far http", "far dns") if a.began > begin + 6]
        self.assertGreater(len(far), 20)
        self.assertEqual([a for a in far if a.age_ms is None], [], "each says how old it is")
        # It was surely so when the links were whole.
        self.assertEqual([a for a in far if a.age_ms < (a.began - begin) * 1000], [])
        world.wan.heal()
        for server in world.machines():
            world.mirrored(server, 1000)
        self.assertEqual(world.differences(), [])

    def everywhere(self, service):
        for name in NAMES:
            self.world.servers[name][0].put_in(service)
        for server in self.world.servers["a"]:
            for name in "bc":
                eventually(lambda s=server, n=name: s.rows("/v1/health/service/%s?dc=%s" % (
                    service, n)), "it is known")
            self.world.mirrored(server, 1000)

    def test_all_instances_of_a_region_die(self):
        self.far_from_c()
        self.everywhere("shop")
        servers = self.world.servers
        self.assertEqual({s.place("shop") for s in servers["a"]}, {"a"})
        servers["a"][1].put_in("shop", "critical")
        for server in servers["a"]:
            eventually(lambda s=server: s.place("shop") == "b", "the nearest")
        servers["b"][0].put_in("shop", "critical")
        for server in servers["a"]:
            eventually(lambda s=server: s.place("shop") == "c", "the nearest that has it")
        self.assertEqual({s.place("shop") for s in servers["c"]}, {"c"})
        back = time.monotonic()
        servers["a"][2].put_in("shop")
        for server in servers["a"]:
            eventually(lambda s=server: s.place("shop") == "a", "home again")
            self.assertGreaterEqual(time.monotonic(), back + HOLD_DOWN_S, "it was held down")

    def test_answers_do_not_flap_with_links(self):
        """a's way to b comes and goes every 3 s, that to c loses 5 %; and its instances are all ill."""
        self.everywhere("flappy")
        self.world.servers["a"][0].put_in("flappy", "critical")
        self.world.wan.link("a", "c", loss=0.05)
        self.world.wan.link("c", "a", loss=0.05)
        stop = threading.Event()

        def flap():
            while not stop.wait(3):
                self.world.wan.cut("a", "b")
                if stop.wait(3):
                    break
                self.world.wan.heal("a", "b")
        thread = threading.Thread(target=flap)
        thread.start()
        try:
            seen = {server.name: [] for server in self.world.servers["a"]}
            end = time.monotonic() + FLAP_S
            while time.monotonic() < end:
                for server in self.world.servers["a"]:
                    asked = time.monotonic()
                    place = server.place("flappy")
                    self.assertIsNotNone(place)
                    seen[server.name].append((asked, time.monotonic(), place))
                stop.wait(0.05)
        finally:
            stop.set()
            thread.join()
            self.world.wan.heal()
            self.world.wan.link("*", "*", loss=0)
        for name, answers in seen.items():
            self.no_more_often_than_the_hold_down(name, answers)

    def no_more_often_than_the_hold_down(self, name, answers):
        """Each answer: when it was asked for, when it came, the place. The first change is the one that
        leaves home."""
        changes = [(old[0], new[1], old[2], new[2]) for old, new in zip(answers, answers[1:])
                   if old[2] != new[2] and old[2] != "a"]
        for one, other in zip(changes, changes[1:]):
            self.assertGreaterEqual(other[1] - one[0], HOLD_DOWN_S, (name, changes))

    def test_all_servers_of_a_region_are_killed_at_once(self):
        world = self.world
        near = [n for n in NAMES if n != "b"]
        eventually(lambda: all(world.mirrored(s, 1000) is None for n in near
                               for s in world.servers[n]), "mirrors are young")
        with load.Load(world, 20, regions=near) as asked:
            eventually(lambda: len(asked.of("far dns")) > 10, "lookups run")
            begin = time.monotonic()
            world.kill_region("b")
            eventually(lambda: len([a for a in asked.of("far http", "far dns")
                                    if a.where == "b" and a.began > begin + 6]) > 20, "a while")
        self.none_failed(asked)
        late = [a for a in asked.of("far http", "far dns") if a.began > begin + 6]
        self.assertEqual([a for a in late if a.where == "b" and a.age_ms is None], [])
        # The region that lives is answered by itself, now and then from its mirror on a busy machine.
        self.assertTrue([a for a in late if a.where != "b" and a.age_ms is None])
        for server in world.servers["b"]:
            server.spawn()
        world.settle()
        far = world.servers["b"][0]
        far.must_put("/v1/kv/after", "1")
        for name in near:
            for server in world.servers[name]:
                eventually(lambda s=server: s.get("/v1/kv/after?raw&dc=b").text == "1",
                           "there is a path again")
                self.assertIsNone(eventually(lambda s=server: next(
                    (r for r in [s.get("/v1/health/service/web-b?dc=b")] if r.headers[AGE] is None),
                    None), "live answers").headers[AGE])


if __name__ == "__main__":
    unittest.main()
