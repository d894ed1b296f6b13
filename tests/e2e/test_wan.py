"""Three regions, 80 ms from each other, that lose their links, their servers and their services: lookups
go on. Longer, and with figures, in tests/bench/wan.py."""
import os
import sys
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
# What a mirror shows of a datacenter; the answer to each is the source's, indexes included.
LISTS = ("/v1/catalog/nodes", "/v1/catalog/services", "/v1/health/state/any")


@unittest.skipIf(MISSING, MISSING)
class World(unittest.TestCase):
    # A busy machine must not cost a group its leader: that would be no fault of the links.
    servers, config = 3, {"failover": {"hold_down": "3s"}, "performance": {"raft_multiplier": 10}}

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

    def none_failed(self, asked):
        self.assertEqual(asked.failures, [], self.world.outputs() if asked.failures else "")

    def every_record(self, server):
        """{path: (rows, index)} of what a server knows of its own region."""
        paths = list(LISTS)
        paths += ["/v1/health/service/" + s for s in server.get("/v1/catalog/services").json]
        paths += ["/v1/catalog/node/" + n["Node"] for n in server.get("/v1/catalog/nodes").json]
        return {path: (reply.json, reply.index) for path in paths for reply in [server.get(path)]}

    def compare_mirrors(self):
        """Cuts all links, so that only mirrors answer."""
        for server in self.world.machines():
            self.world.mirrored(server, 1000)
        sources = {name: self.every_record(self.world.servers[name][0]) for name in NAMES}
        self.world.wan.cut()
        for server in self.world.machines():
            for name in NAMES:
                if name == server.region.region:
                    continue
                for path, told in sources[name].items():
                    reply = server.get("%s?dc=%s" % (path, name))
                    self.assertEqual((reply.json, reply.index), told, (server.name, name, path))
                    self.assertIsNotNone(reply.headers[AGE])
        self.world.wan.heal()


class Links(World):
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
        self.compare_mirrors()


if __name__ == "__main__":
    unittest.main()
