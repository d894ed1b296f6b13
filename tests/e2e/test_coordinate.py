"""Where nodes are: three servers of a datacenter and one of another tell it, and what is sorted and
estimated by it."""

import select
import subprocess
import unittest

import cairn
from cairn import ENVIRONMENT, Agent, eventually, new_port
from servers import CALM, Group

FAST = {"sync_coordinate_interval_min": "200ms", "consul": {"coordinate": {"update_period": "100ms"}}}


def place(x, height=0.0001):
    return {"Vec": [x, 0, 0, 0, 0, 0, 0, 0], "Error": 0.1, "Adjustment": 0, "Height": height}


def rtt(agent, *args):
    done = subprocess.run(
        [cairn.BINARY, "rtt"] + list(args), capture_output=True, text=True, check=False, timeout=60,
        env=dict(ENVIRONMENT, CONSUL_HTTP_ADDR="%s:%d" % agent.http_address))
    return done.returncode, done.stdout, done.stderr


class Single(unittest.TestCase):
    def start(self, **config):
        agent = Agent(dict(FAST, **config))
        self.addCleanup(agent.discard)
        return agent.start()

    def tell(self, agent, node, coordinate):
        agent.must_put("/v1/catalog/register", {"Node": node, "Address": "192.0.2.1",
                                                "Service": {"Service": "web"}})
        agent.must_put("/v1/coordinate/update", {"Node": node, "Coord": coordinate})
        eventually(lambda: agent.get("/v1/coordinate/node/" + node).status == 200 and
                   agent.get("/v1/coordinate/node/" + node).json[0]["Coord"]["Vec"] ==
                   coordinate["Vec"], node + " is there")

    def test_rtt(self):
        agent = self.start()
        self.tell(agent, "a", place(0))
        self.tell(agent, "b", place(0.01))
        self.assertEqual(rtt(agent, "a", "b"), (
            0, "Estimated a <-> b rtt: 10.200 ms (using LAN coordinates)\n", ""))
        code, out, err = rtt(agent, "a")
        self.assertRegex(out, r"^Estimated a <-> n1 rtt: \d+\.\d{3} ms \(using LAN coordinates\)\n$")
        self.assertEqual((code, err), (0, ""))
        code, out, err = rtt(agent, "-wan", "n1.dc1", "n1.dc1")
        self.assertRegex(out, r"^Estimated n1\.dc1 <-> n1\.dc1 rtt: .* \(using WAN coordinates\)\n$")
        for args, text in (((), "One or two node names must be specified\n"),
                           (("a", "b", "c"), "One or two node names must be specified\n"),
                           (("a", "x"), "Could not find a coordinate for node \"x\"\n"),
                           (("-wan", "n1.dc9"), "Could not find a coordinate for node \"n1.dc9\"\n"),
                           (("-wan", "n1"), "Node names must be specified as <node name>.<datacenter> "
                            "with -wan\n")):
            self.assertEqual(rtt(agent, *args), (1, "", text))

    def test_blocking(self):
        agent = self.start(sync_coordinate_interval_min="1h")
        self.tell(agent, "a", place(0))
        self.tell(agent, "b", place(0.02))
        eventually(lambda: agent.get("/v1/coordinate/node/n1").status == 200, "its own")
        one = agent.get("/v1/coordinate/node/a")
        every = agent.get("/v1/coordinate/nodes")
        with agent.client() as waits, agent.client() as other:
            other.send("GET", "/v1/coordinate/node/a?wait=600s&index=%d" % one.index)
            waits.send("GET", "/v1/coordinate/nodes?wait=600s&index=%d" % every.index)
            agent.must_put("/v1/coordinate/update", {"Node": "b", "Coord": place(0.03)})
            got = waits.receive()
            self.assertGreater(got.index, every.index)
            self.assertEqual(got.json[1]["Coord"]["Vec"][0], 0.03)
            self.assertEqual(select.select([other.connection.sock], [], [], 0)[0], [])
            agent.must_put("/v1/coordinate/update", {"Node": "a", "Coord": place(0.04)})
            self.assertEqual(other.receive().json[0]["Coord"]["Vec"][0], 0.04)
        index = agent.get("/v1/coordinate/nodes").index
        agent.must_put("/v1/catalog/deregister", {"Node": "a"})
        self.assertEqual(agent.get("/v1/coordinate/node/a").status, 404)
        self.assertGreater(agent.get("/v1/coordinate/nodes").index, index)

    def test_order_follows_what_is_told(self):
        agent = self.start()
        self.tell(agent, "a", place(0.05))
        self.tell(agent, "b", place(0.01))
        self.tell(agent, "c", place(0))

        def order():
            rows = agent.get("/v1/health/service/web?near=c").json
            return [row["Node"]["Node"] for row in rows]
        self.assertEqual(order(), ["c", "b", "a"])
        self.tell(agent, "b", place(0.09))  # no index of the service moves
        self.assertEqual(order(), ["c", "a", "b"])

    def test_disabled(self):
        agent = self.start(disable_coordinates=True)
        for method, path in (("GET", "/v1/coordinate/nodes"), ("GET", "/v1/coordinate/node/n1"),
                             ("GET", "/v1/coordinate/datacenters"),
                             ("PUT", "/v1/coordinate/update")):
            reply = agent.request(method, path, "{}" if method == "PUT" else None)
            self.assertEqual((reply.status, reply.text), (401, "Coordinate support disabled"))
        self.assertIsNone(agent.get("/v1/agent/self").json["Coord"])
        self.assertEqual(agent.get("/v1/catalog/nodes?near=_agent").status, 200)

    def test_kept_over_a_restart(self):
        agent = self.start()
        self.tell(agent, "a", place(0.07))
        agent.kill()
        agent.start()
        self.assertEqual(agent.get("/v1/coordinate/node/a").json[0]["Coord"], place(0.07))
        agent.stop()


class Servers(unittest.TestCase):
    def test_a_group_tells_and_measures(self):
        group = Group(3, dict(FAST, gossip_lan={
            "probe_interval": "50ms", "probe_timeout": "40ms", "suspicion_mult": 60}, **CALM))
        self.addCleanup(group.discard)
        group.start()
        first = group.servers[0]

        def known():
            rows = first.get("/v1/coordinate/nodes").json
            return len(rows) == 3 and all(any(row["Coord"]["Vec"]) for row in rows) and rows
        rows = eventually(known, "all three have measured")
        self.assertEqual([row["Node"] for row in rows], ["s1", "s2", "s3"])
        for server in group.servers:  # whoever is asked
            eventually(lambda s=server: [row["Node"] for row in s.get(
                "/v1/coordinate/nodes?stale").json] == ["s1", "s2", "s3"], server.name)
        follower = group.servers[1]
        follower.must_put("/v1/catalog/register", {"Node": "x", "Address": "192.0.2.1"})
        follower.must_put("/v1/coordinate/update", {"Node": "x", "Coord": place(0.5)})
        eventually(lambda: first.get("/v1/coordinate/node/x").status == 200, "told to any server")
        names = [row["Node"] for row in follower.get("/v1/catalog/nodes?near=_agent").json]
        self.assertEqual((len(names), names[-1]), (4, "x"))

    def test_datacenters(self):
        one = Agent(dict(FAST, node_name="n1"))
        two = Agent(dict(FAST, node_name="n2", datacenter="dc2"))
        for agent in (one, two):
            self.addCleanup(agent.discard)
            agent.config["ports"] = {
                "http": agent.http_address[1], "dns": agent.dns_address[1],
                "server": agent.server_port, "serf_wan": new_port(agent.ip)}
            agent.start()
        one.must_put("/v1/agent/join/%s:%d?wan=1" % (two.ip, two.config["ports"]["serf_wan"]))

        def shown():
            found = one.get("/v1/coordinate/datacenters").json
            return [(dc["Datacenter"], [row["Node"] for row in dc["Coordinates"]])
                    for dc in found] == [("dc1", ["n1"]), ("dc2", ["n2"])]
        eventually(shown, "the other datacenter is measured")
        self.assertEqual(one.get("/v1/catalog/datacenters").json, ["dc1", "dc2"])
        self.assertEqual(two.get("/v1/catalog/datacenters").json, ["dc2", "dc1"])
        code, out, err = rtt(one, "-wan", "n1.dc1", "n2.dc2")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"^Estimated n1\.dc1 <-> n2\.dc2 rtt: \d+\.\d{3} ms ")


class ClientAgent(unittest.TestCase):
    def test_it_tells_through_a_server(self):
        server = Agent(dict(FAST, node_name="s1"))
        self.addCleanup(server.discard)
        server.start()
        client = Agent(dict(FAST, node_name="a&1", server=False, bootstrap=None,
                            retry_join=[server.ip]))
        self.addCleanup(client.discard)
        client.spawn()
        eventually(lambda: server.get("/v1/coordinate/node/a&1").status == 200, "the client's own")
        for node, x in (("x", 0.3), ("y", 0.2)):
            client.must_put("/v1/catalog/register", {"Node": node, "Address": "192.0.2.1"})
            client.must_put("/v1/coordinate/update", {"Node": node, "Coord": place(x)})
            eventually(lambda n=node: client.get("/v1/coordinate/node/" + n).status == 200, node)
        for query in ("near=_agent", "stale&near=%5Fagent", "&&n%65ar=_agent&near=x"):
            names = [row["Node"] for row in client.get("/v1/catalog/nodes?" + query).json]
            self.assertEqual(names[2:], ["y", "x"], query)
        self.assertEqual(client.get("/v1/coordinate/datacenters").json[0]["Datacenter"], "dc1")
        client.stop(code=0)  # it leaves
        server.stop()
