"""Failover of lookups between two datacenters: DNS by itself, HTTP on request, prepared queries by
their own lists; home again after the hold-down; policies."""

import unittest

from cairn import eventually
from servers import Group


class Failover(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.groups = []
        for datacenter in ("dc1", "dc2"):
            group = Group(1, {"datacenter": datacenter, "failover": {"hold_down": "6s"},
                              "translate_wan_addrs": True, "log_level": "DEBUG"})
            cls.addClassCleanup(group.discard)
            cls.groups.append(group.start())
        cls.home, cls.far = (group.servers[0] for group in cls.groups)
        cls.home.must_put("/v1/agent/join/%s?wan=1" % cls.far.ip)
        for server in (cls.home, cls.far):
            eventually(lambda server=server: len(server.get("/v1/catalog/datacenters").json) == 2,
                       "both datacenters are known")

    @classmethod
    def tearDownClass(cls):
        for group in cls.groups:
            group.stop()

    @staticmethod
    def put(server, service, status="passing", address="10.1.0.1", **fields):
        server.must_put("/v1/catalog/register", {
            "Node": "n-" + service, "Address": address,
            "Service": dict({"ID": service, "Service": service, "Port": 80}, **fields),
            "Check": {"CheckID": service, "Name": "c", "Status": status, "ServiceID": service}})

    def both(self, service, **fields):
        """One instance here and one there, and the mirror shows it."""
        self.put(self.far, service, address="10.2.0.1")
        self.put(self.home, service, **fields)
        query = self.home.request("POST", "/v1/query", {
            "Name": "probe-" + service,
            "Service": {"Service": service, "Tags": ["none"], "Failover": {"NearestN": 1}}})
        self.assertEqual(query.status, 200, query)
        self.put(self.far, service, address="10.2.0.1", Tags=["none"])
        path = "/v1/query/probe-%s/execute" % service
        eventually(lambda: self.home.get(path).json["Nodes"], "the mirror has it")

    def addresses(self, name, kind="A"):
        return self.home.resolve(name, kind).data(kind)

    def texts(self, answer):
        return {text for record in answer.additional if record.kind == "TXT"
                for text in record.data}

    def test_dns_goes_elsewhere_and_comes_home(self):
        self.both("web")
        name = "web.service.consul"
        answer = self.home.resolve(name)
        self.assertEqual((answer.data("A"), self.texts(answer)), (["10.1.0.1"], set()))
        self.put(self.home, "web", "critical")
        answer = self.home.resolve(name, edns=1232)
        self.assertEqual(answer.data("A"), ["10.2.0.1"])
        self.assertIn("cairn-datacenter=dc2", self.texts(answer))
        # Names in it are those of the place.
        srv = self.home.resolve(name, "SRV", edns=1232)
        self.assertEqual(srv.answers[0].data[3].lower(), "n-web.node.dc2.consul.")
        # Who names a datacenter means that one.
        self.assertEqual(self.home.resolve("web.service.dc1.consul").rcode, 3)
        eventually(lambda: "service=web" in self.home.output(), "it is told in the log")
        # Home is back at once, lookups only after the hold-down.
        self.put(self.home, "web")
        self.assertEqual(self.addresses(name), ["10.2.0.1"])
        eventually(lambda: self.addresses(name) == ["10.1.0.1"], "home again")
        # Gone altogether is like critical.
        self.home.must_put("/v1/catalog/deregister", {"Node": "n-web"})
        self.assertEqual(self.addresses(name), ["10.2.0.1"])
        self.assertEqual(self.home.resolve("nothing.service.consul").rcode, 3)

    def test_http_on_request(self):
        self.both("api")
        path = "/v1/health/service/api?passing"
        reply = self.home.get(path + "&failover")
        self.assertEqual(reply.headers["X-Cairn-Datacenter"], "dc1")
        self.put(self.home, "api", "critical")
        self.assertEqual(self.home.get(path).json, [])
        reply = self.home.get(path + "&failover")
        self.assertEqual(reply.headers["X-Cairn-Datacenter"], "dc2")
        self.assertEqual([row["Node"]["Datacenter"] for row in reply.json], ["dc2"])
        self.assertGreaterEqual(int(reply.headers["X-Cairn-Mirror-Age"]), 0)
        self.assertIsNone(self.home.get(path).headers["X-Cairn-Datacenter"])
        self.put(self.home, "api")
        eventually(lambda: self.home.get(path + "&failover").headers["X-Cairn-Datacenter"] == "dc1",
                   "home again")

    def test_wide_area_addresses(self):
        self.put(self.home, "wide", "critical")
        self.far.must_put("/v1/catalog/register", {
            "Node": "n-far", "Address": "10.2.0.1", "TaggedAddresses": {"wan": "192.0.2.1"},
            "Service": {"Service": "wide", "Port": 80, "Address": "10.2.0.2",
                        "TaggedAddresses": {"wan": {"Address": "192.0.2.2", "Port": 8080}}}})
        eventually(lambda: self.addresses("wide.service.consul") == ["192.0.2.2"], "translated")
        srv = self.home.resolve("wide.service.consul", "SRV", edns=1232).answers[0]
        self.assertEqual(srv.data[2], 8080)
        row = self.home.get("/v1/health/service/wide?failover").json[0]
        self.assertEqual((row["Node"]["Address"], row["Service"]["Address"],
                          row["Service"]["Port"]), ("192.0.2.1", "192.0.2.2", 8080))
        # At home they are what they are.
        row = self.far.get("/v1/health/service/wide").json[0]
        self.assertEqual((row["Node"]["Address"], row["Service"]["Port"]), ("10.2.0.1", 80))

    def test_policies(self):
        self.both("db")
        self.put(self.home, "db", "critical")
        self.assertEqual(self.addresses("db.service.consul"), ["10.2.0.1"])
        self.home.must_put("/v1/config/failover/db", {"Enabled": False})
        self.assertEqual(self.home.resolve("db.service.consul").rcode, 3)
        self.home.must_put("/v1/config/failover/db", {"Datacenters": ["dc2"]})
        self.assertEqual(self.addresses("db.service.consul"), ["10.2.0.1"])
        reply = self.home.request("DELETE", "/v1/config/failover/db")
        self.assertEqual(reply.text, "true")
        self.put(self.home, "db", "critical", Meta={"cairn-failover": "off"})
        self.assertEqual(self.home.resolve("db.service.consul").rcode, 3)

    def test_prepared_queries(self):
        self.both("job")
        for name, failover, tried in (("near", {"NearestN": 3}, 1),
                                      ("named", {"Datacenters": ["mars", "dc2"]}, 1),
                                      ("target", {"Targets": [{"Datacenter": "dc2"}]}, 1),
                                      ("home", {}, 0)):
            with self.subTest(name):
                reply = self.home.request("POST", "/v1/query", {
                    "Name": name, "Service": {"Service": "job", "Failover": failover}})
                self.assertEqual(reply.status, 200, reply)
                self.put(self.home, "job")
                found = self.home.get("/v1/query/%s/execute" % name).json
                self.assertEqual((found["Datacenter"], found["Failovers"]), ("dc1", 0))
                self.put(self.home, "job", "critical")
                found = self.home.get("/v1/query/%s/execute" % name).json
                self.assertEqual((found["Datacenter"], found["Failovers"], len(found["Nodes"])),
                                 ("dc2" if tried else "dc1", tried, tried))
                answer = self.home.resolve(name + ".query.consul")
                self.assertEqual(answer.data("A"), ["10.2.0.1"] if tried else [])


if __name__ == "__main__":
    unittest.main()
