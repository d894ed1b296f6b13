"""Which server is asked: the near one, by coordinates. One datacenter whose servers are in three regions,
80 ms of round trip apart (tests/wan), with agents beside one of them, and another in two of the regions."""
import os
import sys
import unittest

from cairn import BINARY, eventually

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "wan"))
import regions  # noqa: E402
import wan  # noqa: E402

CLIENTS = 4
DEADLINE_S = 120  # some rounds of probes, and what coordinates take to settle


class World:
    binary = BINARY
    config = {"log_level": "DEBUG", "performance": {"raft_multiplier": 3}}


class Near(unittest.TestCase):
    def setUp(self):
        why_not = wan.missing()
        if why_not or not os.path.exists(wan.router_beside(BINARY)):
            self.skipTest(why_not or "the router is not built")
        self.wan = wan.Wan(["a", "b", "c"], wan.router_beside(BINARY))
        self.wan.__enter__()
        self.addCleanup(self.wan.__exit__)
        self.wan.link("*", "*", delay_ms=40)

    def machine(self, name, region, number, datacenter, server=True, **config):
        machine = regions.Machine(World, self.wan.regions[region], number, name, server)
        machine.config.update(config, datacenter=datacenter)
        self.addCleanup(machine.discard)
        return machine

    @staticmethod
    def asks(machine, datacenter):
        """The server of a datacenter that it is connected to; "": it was to none."""
        seen = [line.split("server=")[1].split()[0] for line in machine.output().splitlines()
                if "connected to a server: " in line and
                line.endswith("datacenter=" + datacenter)]
        return seen[-1] if seen else ""

    def test_the_near_server_is_asked(self):
        ones = [self.machine("s%d" % (i + 1), region, 1, "dc1", bootstrap_expect=3)
                for i, region in enumerate("abc")]
        others = [self.machine("t%d" % (i + 1), region, 2, "dc2", bootstrap_expect=2)
                  for i, region in enumerate("ab")]
        clients = [self.machine("c%d" % i, "a", 10 + i, "dc1", server=False)
                   for i in range(CLIENTS)]
        for machine in ones + clients:
            machine.config["retry_join"] = [s.ip for s in ones]
        for machine in others:
            machine.config["retry_join"] = [s.ip for s in others]
            machine.config["retry_join_wan"] = [ones[0].ip]
        for machine in ones + others + clients:
            machine.spawn()
        eventually(lambda: all(len(m.rows("/v1/catalog/datacenters") or []) == 2
                               for m in ones + others + clients), "all have met", DEADLINE_S)
        for client in clients:
            eventually(lambda c=client: self.asks(c, "dc1") == "s1",
                       client.name + " asks the server beside it", DEADLINE_S)
        for server, near in ((ones[0], "t1"), (ones[1], "t2")):
            def asked(server=server, near=near):
                server.ask("/v1/catalog/nodes?dc=dc2")
                return self.asks(server, "dc2").split(".")[0] == near
            eventually(asked, "%s asks %s" % (server.name, near), DEADLINE_S)


if __name__ == "__main__":
    unittest.main()
