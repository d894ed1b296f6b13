"""?filter= on every endpoint that knows it: what stays, what is refused, and what watchers hear."""

import select
import urllib.parse

from cairn import AgentTest

PREFIX = "Failed to create boolean expression evaluator: "
NODES = ("/v1/catalog/nodes",)
SERVICE_NODES = ("/v1/catalog/services", "/v1/catalog/service/web")
SERVICES = ("/v1/catalog/node/a", "/v1/catalog/node-services/a", "/v1/agent/services")
CHECKS = ("/v1/health/node/a", "/v1/health/checks/web", "/v1/health/state/any",
          "/v1/agent/checks")
INSTANCES = ("/v1/health/service/web",)


def filtered(path, expression, more=""):
    return "%s?filter=%s%s" % (path, urllib.parse.quote(expression, safe=""), more)


def node(name, address, rack, services):
    yield {"Node": name, "Address": address, "NodeMeta": {"rack": rack},
           "Check": {"CheckID": "alive", "Status": "passing"}}
    for service_id, tags, version, status in services:
        yield {"Node": name, "Address": address, "SkipNodeUpdate": True,
               "Service": {"ID": service_id, "Service": service_id.split("-")[0], "Tags": tags,
                           "Meta": {"version": version} if version else {},
                           "Port": 8000 + len(service_id), "Weights": {"Passing": 2, "Warning": 1},
                           "TaggedAddresses": {"lan": {"Address": address, "Port": 9000}}},
               "Check": {"CheckID": "check:" + service_id, "Status": status,
                         "ServiceID": service_id, "Output": "says " + status}}


class Filter(AgentTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        rows = [*node("a", "192.0.2.1", "r1", [("web-1", ["v1"], "1.2.3", "passing"),
                                               ("web-2", ["v2", "canary"], "2.0.0", "warning"),
                                               ("db-1", [], "", "passing")]),
                *node("b", "192.0.2.2", "r2", [("web-3", ["v1"], "1.2.4", "critical")])]
        for row in rows:
            cls.agent.must_put("/v1/catalog/register", row)
        for name, tags in (("local", ["v1"]), ("other", ["v2"])):
            cls.agent.must_put("/v1/agent/service/register", {
                "Name": name, "Tags": tags, "Meta": {"team": name},
                "Check": {"TTL": "10m", "Status": "passing", "Notes": name}})

    def read(self, path, expression, more=""):
        reply = self.agent.get(filtered(path, expression, more))
        self.assertEqual(reply.status, 200, (path, expression, reply))
        return reply.json

    def test_catalog_nodes(self):
        for expression, names in (('Meta.rack == r1', ["a"]),
                                  ('Meta.rack == r1 or Address == "192.0.2.2"', ["a", "b"]),
                                  ('rack not in Meta', ["n1"]),
                                  ('Node matches "^[ab]$" and not Node == a', ["b"]),
                                  ('Node == nobody', [])):
            rows = self.read("/v1/catalog/nodes", expression)
            self.assertEqual([row["Node"] for row in rows], names, expression)
        # With ?node-meta, both must hold.
        self.assertEqual(self.read("/v1/catalog/nodes", "Node == b", "&node-meta=rack:r1"), [])

    def test_catalog_services(self):
        # A service stays if an instance does; its tags are those of the instances that do.
        self.assertEqual(self.read("/v1/catalog/services", "Node == a and ServiceName != db"),
                         {"web": ["canary", "v1", "v2"]})
        self.assertEqual(self.read("/v1/catalog/services", 'version in ServiceMeta and '
                                   'ServiceMeta.version matches `^1\.2\.`'), {"web": ["v1"]})
        self.assertEqual(self.read("/v1/catalog/services", "ServiceTags is empty and Node == a"),
                         {"db": []})
        self.assertEqual(self.read("/v1/catalog/services", "Node == nobody"), {})

    def test_catalog_service(self):
        for expression, more, ids in (
                ("v1 in ServiceTags", "", ["web-1", "web-3"]),
                ("v1 in ServiceTags", "&tag=canary", []),
                ("ServiceWeights.Passing == 2", "&node-meta=rack:r2", ["web-3"]),
                ("ServiceTaggedAddresses.lan.Port == 9000 and NodeMeta.rack == r1", "",
                 ["web-1", "web-2"]),
                ("ServiceProxy.Upstreams is empty and ServiceConnect.Native == false", "",
                 ["web-1", "web-2", "web-3"]),
                ("Datacenter == dc1 and ServiceKind == \"\" and ServicePort == 8005", "&tag=v2",
                 ["web-2"])):
            rows = self.read("/v1/catalog/service/web", expression, more)
            self.assertEqual([row["ServiceID"] for row in rows], ids, (expression, more))

    def test_services_of_a_node(self):
        # The node itself is never judged.
        reply = self.read("/v1/catalog/node/a", "v1 in Tags")
        self.assertEqual((reply["Node"]["Node"], list(reply["Services"])), ("a", ["web-1"]))
        reply = self.read("/v1/catalog/node/a", "Service == nothing")
        self.assertEqual((reply["Node"]["Node"], reply["Services"]), ("a", {}))
        self.assertIsNone(self.read("/v1/catalog/node/nobody", "Service == web"))
        reply = self.read("/v1/catalog/node-services/a", "Meta is not empty and Port != 80")
        self.assertEqual([s["ID"] for s in reply["Services"]], ["web-1", "web-2"])
        self.assertEqual(list(self.read("/v1/agent/services", "Meta.team == other")), ["other"])
        self.assertEqual(list(self.read("/v1/agent/services", "Port == 0")), ["local", "other"])
        self.assertEqual(self.read("/v1/agent/services", "v9 in Tags"), {})

    def test_checks(self):
        for path, expression, ids in (
                ("/v1/health/node/a", "ServiceID == \"\"", ["alive"]),
                ("/v1/health/node/a", 'Output contains "says pass"', ["check:db-1", "check:web-1"]),
                ("/v1/health/checks/web", "Status != passing", ["check:web-2", "check:web-3"]),
                ("/v1/health/checks/web", "v1 in ServiceTags and Node == b", ["check:web-3"]),
                ("/v1/health/state/any", "ServiceName == web and Status == warning",
                 ["check:web-2"]),
                ("/v1/health/state/critical", "ServiceName == db", []),
                ("/v1/agent/checks", "Notes == local", ["service:local"]),
                ("/v1/agent/checks", "Type == ttl", ["service:local", "service:other"])):
            rows = self.read(path, expression)
            self.assertEqual([row["CheckID"] for row in
                              (rows.values() if isinstance(rows, dict) else rows)], ids,
                             (path, expression))

    def test_health_service(self):
        path = "/v1/health/service/web"
        for expression, more, ids in (
                ('Service.Meta.version == "1.2.3" and "v1" in Service.Tags', "", ["web-1"]),
                ("Checks.Status == critical", "", ["web-3"]),
                ("Checks.Status != passing", "", ["web-2", "web-3"]),  # any check of the instance
                ("Node.Meta.rack == r1", "&passing", ["web-1"]),
                ("Checks.Status == warning", "&passing", []),
                ("Node.Meta.rack == r1", "&tag=v2", ["web-2"])):
            rows = self.read(path, expression, more)
            self.assertEqual([row["Service"]["ID"] for row in rows], ids, (expression, more))

    def test_empty_and_repeated(self):
        path = "/v1/health/service/web"
        every = self.agent.get(path).body
        self.assertEqual(self.agent.get(path + "?filter=").body, every)
        self.assertEqual(self.agent.get(path + "?filter").body, every)
        # Answers that are kept are kept by their question.
        for _ in range(3):
            for version, number in (("1.2.3", 1), ("2.0.0", 2), ("9", 0)):
                rows = self.read(path, 'Service.Meta.version == "%s"' % version)
                self.assertEqual([row["Service"]["ID"] for row in rows],
                                 ["web-%d" % number] if number else [])

    def test_refusals(self):
        for paths, selector in ((NODES, "Node"), (SERVICE_NODES, "ServiceName"),
                                (SERVICES, "Service"), (CHECKS, "CheckID"),
                                (INSTANCES, "Service.Service")):
            for path in paths:
                with self.subTest(path=path):
                    self.read(path, selector + " == x")
                    for expression, text in (
                            ("Foo == x", 'Selector "Foo" is not valid'),
                            (selector + " is empty",
                             'Invalid match operator "Is Empty" for selector "%s"' % selector),
                            (selector + " == x y", None), ("(", None)):
                        reply = self.agent.get(filtered(path, expression))
                        self.assertEqual(reply.status, 500)
                        self.assertTrue(reply.text.startswith(PREFIX), reply)
                        if text is not None:
                            self.assertEqual(reply.text, PREFIX + text)
                        if path.startswith(("/v1/catalog", "/v1/health/node")):
                            self.assertEqual([reply.headers[h] for h in (
                                "X-Consul-Index", "X-Consul-KnownLeader", "X-Consul-LastContact")],
                                ["1", "false", "0"])
                        else:
                            self.assertEqual(reply.headers["X-Consul-Index"],
                                             "1" if path.startswith(("/v1/health/checks",
                                                                     "/v1/health/state")) else None)
        # An error is told at once, to a blocking query too.
        reply = self.agent.get(filtered("/v1/health/service/web", "Foo == x", "&index=1000000"))
        self.assertEqual(reply.text, PREFIX + 'Selector "Foo" is not valid')

    def test_hostile(self):
        for expression in ("(" * 600, "not " * 300 + "Node == x", "Node" + ".x" * 900 + " == y",
                           "Node matches `" + "(" * 600 + "`",
                           "Node matches `((a{1000}){1000}){1000}`"):
            reply = self.agent.get(filtered("/v1/catalog/nodes", expression))
            self.assertEqual(reply.status, 500)
            self.assertTrue(reply.text.startswith(PREFIX), reply)
        self.agent.must_put("/v1/catalog/register", {
            "Node": "slow", "Address": "192.0.2.9",
            "Check": {"CheckID": "slow", "Output": "a" * 60 + "b", "Status": "passing"}})
        reply = self.agent.get(filtered("/v1/health/node/slow", "Output matches `^(a|aa)+$`"))
        self.assertEqual((reply.status, reply.text), (500, (
            "the filter's regular expression \"^(a|aa)+$\" takes more steps than this server "
            "gives it")))
        self.agent.must_put("/v1/catalog/deregister", {"Node": "slow"})

    # ---- watchers ----

    def park(self, path, index):
        raw = self.agent.raw()
        self.addCleanup(raw.close)
        raw.send(("GET %s&index=%d&wait=600s HTTP/1.1\r\nHost: x\r\n\r\n" % (path, index)).encode())
        return raw

    def told(self, raw):
        poll = select.poll()
        poll.register(raw.socket, select.POLLIN)
        return bool(poll.poll(0))

    def test_watchers_hear_of_what_stays(self):
        agent = self.agent

        def register(service_id, tag, port):
            agent.register("watched", node="w-" + service_id, ID=service_id, Tags=[tag], Port=port)

        register("blue", "blue", 1)
        register("green", "green", 1)
        path = "/v1/health/service/watched"
        blue = filtered(path, "blue in Service.Tags")
        first = agent.get(blue)
        parked = self.park(blue, first.index)
        everyone = filtered(path, "Service.Port != 0")
        for port in range(2, 12):
            # Each change is told to one who watches all, and by then not to the watcher of blue.
            witness = self.park(everyone, agent.get(everyone).index)
            register("green", "green", port)
            reply = witness.reply()
            self.assertIn(port, [row["Service"]["Port"] for row in reply.json])
            self.assertFalse(self.told(parked))
        register("blue", "blue", 2)
        reply = parked.reply()
        self.assertEqual(reply.status, 200)
        self.assertGreater(reply.index, first.index)
        self.assertEqual([(row["Service"]["ID"], row["Service"]["Port"]) for row in reply.json],
                         [("blue", 2)])
        # An instance that comes to match is news, and so is one that ceases to.
        parked = self.park(blue, reply.index)
        register("green", "blue", 20)
        reply = parked.reply()
        self.assertEqual([row["Service"]["ID"] for row in reply.json], ["blue", "green"])
        parked = self.park(blue, reply.index)
        register("blue", "red", 2)
        self.assertEqual([row["Service"]["ID"] for row in parked.reply().json], ["green"])
