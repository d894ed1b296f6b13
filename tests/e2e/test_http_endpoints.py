"""Every endpoint: what it answers, to the last key, and how it refuses."""

import json
import re

from cairn import AgentTest, eventually

NODE = ["ID", "Node", "Address", "Datacenter", "TaggedAddresses", "Meta", "CreateIndex",
        "ModifyIndex"]
NODE_SERVICE = ["ID", "Service", "Tags", "Address", "Meta", "Port", "Weights",
                "EnableTagOverride", "Proxy", "Connect", "PeerName", "CreateIndex", "ModifyIndex"]
SERVICE_NODE = ["ID", "Node", "Address", "Datacenter", "TaggedAddresses", "NodeMeta", "ServiceKind",
                "ServiceID", "ServiceName", "ServiceTags", "ServiceAddress", "ServiceWeights",
                "ServiceMeta", "ServicePort", "ServiceSocketPath", "ServiceEnableTagOverride",
                "ServiceProxy", "ServiceConnect", "ServiceLocality", "CreateIndex", "ModifyIndex"]
CHECK = ["Node", "CheckID", "Name", "Status", "Notes", "Output", "ServiceID", "ServiceName",
         "ServiceTags", "Type", "Interval", "Timeout", "ExposedPort", "Definition", "CreateIndex",
         "ModifyIndex"]
AGENT_SERVICE = ["ID", "Service", "Tags", "Meta", "Port", "Address", "Weights",
                 "EnableTagOverride", "Datacenter"]
PLAIN_PROXY = {"Mode": "", "MeshGateway": {}, "Expose": {}}
UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


class EndpointTest(AgentTest):
    def refuses(self, status, text, method, path, body=None):
        reply = self.agent.request(method, path, body)
        self.assertEqual((reply.status, reply.text), (status, text))
        self.assertEqual(reply.headers["Content-Type"], "text/plain; charset=utf-8")
        return reply

    def put_ok(self, path, body=None, answer=""):
        reply = self.agent.put(path, body)
        self.assertEqual((reply.status, reply.text), (200, answer))
        return reply

    def register(self, answer="true", **body):
        return self.put_ok("/v1/catalog/register", body, answer)

    def forget(self, node):
        self.put_ok("/v1/catalog/deregister", {"Node": node}, "true")


class Reads(EndpointTest):
    """A catalog that is written once and read by all."""

    config = {"node_meta": {"rack": "r7"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.node_id = "4b1f4a3e-0a5d-4f0a-9d2e-5f1f2b3c4d5e"
        cls.agent.must_put("/v1/catalog/register", {
            "ID": cls.node_id.upper(), "Node": "Full", "Address": "192.0.2.10",
            "TaggedAddresses": {"wan": "198.51.100.1"}, "NodeMeta": {"zone": "a", "os": "linux"},
            "Locality": {"Region": "eu", "Zone": "eu-1"},
            "Service": {"ID": "db-1", "Service": "db", "Tags": ["v1", "Master"],
                        "Address": "192.0.2.11", "Port": 5432, "Meta": {"k": "v"},
                        "SocketPath": "/run/db", "EnableTagOverride": True,
                        "TaggedAddresses": {"wan": {"Address": "198.51.100.2", "Port": 15432}},
                        "Weights": {"Passing": 10, "Warning": 2},
                        "Locality": {"Region": "eu"}},
            "Checks": [{"CheckID": "up", "Name": "Node is up", "Status": "passing",
                        "Notes": "pinged", "Output": "pong"},
                       {"CheckID": "db-alive", "Name": "DB alive", "ServiceID": "db-1",
                        "Status": "warning", "Definition": {"TCP": "192.0.2.11:5432",
                                                            "Interval": "10s", "Timeout": 5 * 10**9,
                                                            "Unheard": 1}}]})
        cls.agent.must_put("/v1/catalog/register", {
            "Node": "bare", "Address": "192.0.2.20", "Service": {"Service": "db"}})
        cls.agent.must_put("/v1/catalog/register", {"Node": "empty", "Address": "192.0.2.21"})

    def node_full(self, row):
        self.assertEqual(list(row), NODE[:-2] + ["Locality"] + NODE[-2:])
        index = row["CreateIndex"]
        self.assertGreater(index, 0)
        self.assertEqual(row, {
            "ID": self.node_id, "Node": "Full", "Address": "192.0.2.10", "Datacenter": "dc1",
            "TaggedAddresses": {"wan": "198.51.100.1"}, "Meta": {"os": "linux", "zone": "a"},
            "Locality": {"Region": "eu", "Zone": "eu-1"}, "CreateIndex": index,
            "ModifyIndex": index})

    def service_full(self, row):
        self.assertEqual(list(row), ["ID", "Service", "Tags", "Address", "TaggedAddresses", "Meta",
                                     "Port", "SocketPath", "Weights", "EnableTagOverride",
                                     "Locality", "Proxy", "Connect", "PeerName", "CreateIndex",
                                     "ModifyIndex"])
        index = row["ModifyIndex"]
        self.assertEqual(row, {
            "ID": "db-1", "Service": "db", "Tags": ["v1", "Master"], "Address": "192.0.2.11",
            "TaggedAddresses": {"wan": {"Address": "198.51.100.2", "Port": 15432}},
            "Meta": {"k": "v"}, "Port": 5432, "SocketPath": "/run/db",
            "Weights": {"Passing": 10, "Warning": 2}, "EnableTagOverride": True,
            "Locality": {"Region": "eu"}, "Proxy": PLAIN_PROXY, "Connect": {}, "PeerName": "",
            "CreateIndex": index, "ModifyIndex": index})

    def check_full(self, row):
        self.assertEqual(list(row), CHECK)
        self.assertEqual(row, {
            "Node": "Full", "CheckID": "db-alive", "Name": "DB alive", "Status": "warning",
            "Notes": "", "Output": "", "ServiceID": "db-1", "ServiceName": "db",
            "ServiceTags": ["v1", "Master"], "Type": "tcp", "Interval": "", "Timeout": "",
            "ExposedPort": 0, "Definition": {"TCP": "192.0.2.11:5432", "Interval": "10s",
                                             "Timeout": "5s"},
            "CreateIndex": row["CreateIndex"], "ModifyIndex": row["CreateIndex"]})

    def test_catalog_nodes(self):
        reply = self.agent.get("/v1/catalog/nodes")
        rows = reply.json
        self.assertEqual([r["Node"] for r in rows], ["bare", "empty", "Full", "n1"])
        self.node_full(rows[2])
        self.assertEqual(list(rows[0]), NODE)
        self.assertEqual((rows[0]["ID"], rows[0]["TaggedAddresses"], rows[0]["Meta"]),
                         ("", None, None))
        own = rows[3]
        self.assertRegex(own["ID"], UUID)
        ip = self.agent.ip
        self.assertEqual(own["TaggedAddresses"], {"lan": ip, "lan_ipv4": ip, "wan": ip,
                                                  "wan_ipv4": ip})
        self.assertEqual(sorted(own["Meta"]), ["consul-network-segment", "consul-version", "rack"])
        self.assertEqual(own["Meta"]["consul-network-segment"], "")
        for query, names in (("node-meta=zone:a", ["Full"]), ("node-meta=zone:b", []),
                             ("node-meta=zone:a&node-meta=os:linux", ["Full"]),
                             ("node-meta=zone:a&node-meta=os:bsd", []), ("node-meta=rack:r7", ["n1"]),
                             ("node-meta=consul-network-segment", ["n1"]),
                             ("near=_agent", ["bare", "empty", "Full", "n1"])):
            got = self.agent.get("/v1/catalog/nodes?" + query)
            self.assertEqual([r["Node"] for r in got.json], names, query)
        self.assertEqual(self.agent.get("/v1/catalog/nodes?node-meta=x:y").body, b"[]")

    def test_catalog_services(self):
        self.assertEqual(self.agent.get("/v1/catalog/services").body,
                         b'{"consul":[],"db":["Master","v1"]}')
        self.assertEqual(self.agent.get("/v1/catalog/services?node-meta=zone:a").json,
                         {"db": ["Master", "v1"]})
        self.assertEqual(self.agent.get("/v1/catalog/services?node-meta=zone:z").body, b"{}")

    def test_catalog_service(self):
        rows = self.agent.get("/v1/catalog/service/db").json
        self.assertEqual([r["Node"] for r in rows], ["bare", "Full"])
        bare, full = rows
        self.assertEqual(list(bare), SERVICE_NODE)
        index = bare["CreateIndex"]
        self.assertEqual(bare, {
            "ID": "", "Node": "bare", "Address": "192.0.2.20", "Datacenter": "dc1",
            "TaggedAddresses": None, "NodeMeta": None, "ServiceKind": "", "ServiceID": "db",
            "ServiceName": "db", "ServiceTags": [], "ServiceAddress": "",
            "ServiceWeights": {"Passing": 1, "Warning": 1}, "ServiceMeta": {}, "ServicePort": 0,
            "ServiceSocketPath": "", "ServiceEnableTagOverride": False,
            "ServiceProxy": PLAIN_PROXY, "ServiceConnect": {}, "ServiceLocality": None,
            "CreateIndex": index, "ModifyIndex": index})
        self.assertEqual(full["ServiceTaggedAddresses"],
                         {"wan": {"Address": "198.51.100.2", "Port": 15432}})
        self.assertEqual((full["ID"], full["NodeMeta"], full["ServiceLocality"],
                          full["ServiceMeta"]),
                         (self.node_id, {"os": "linux", "zone": "a"}, {"Region": "eu"},
                          {"k": "v"}))
        for path, nodes in (("DB", ["bare", "Full"]), ("db?tag=v1", ["Full"]),
                            ("db?tag=MASTER&tag=V1", ["Full"]), ("db?tag=v1&tag=v2", []),
                            ("db?tag=", ["bare", "Full"]), ("db?node-meta=zone:a", ["Full"]),
                            ("db?merge-central-config&cached", ["bare", "Full"])):
            self.assertEqual([r["Node"] for r in self.agent.get("/v1/catalog/service/" + path).json],
                             nodes, path)
        self.assertEqual(self.agent.get("/v1/catalog/service/nothing").body, b"[]")
        self.refuses(400, "Missing service name", "GET", "/v1/catalog/service/")

    def test_catalog_node(self):
        for name in ("Full", "fuLL", self.node_id, self.node_id[:2], self.node_id[:11]):
            got = self.agent.get("/v1/catalog/node/" + name).json
            self.assertEqual(list(got), ["Node", "Services"], name)
            self.node_full(got["Node"])
            self.assertEqual(list(got["Services"]), ["db-1"])
            self.service_full(got["Services"]["db-1"])
        self.assertEqual(self.agent.get("/v1/catalog/node/empty").json["Services"], {})
        for name in ("nobody", self.node_id[:1], self.node_id + "0"):
            reply = self.agent.get("/v1/catalog/node/" + name)
            self.assertEqual((reply.status, reply.body), (200, b"null"))
        self.refuses(400, "Missing node name", "GET", "/v1/catalog/node/")

    def test_catalog_node_services(self):
        got = self.agent.get("/v1/catalog/node-services/full").json
        self.assertEqual(list(got), ["Node", "Services"])
        self.node_full(got["Node"])
        self.service_full(got["Services"][0])
        bare, = self.agent.get("/v1/catalog/node-services/bare").json["Services"]
        self.assertEqual(list(bare), [k for k in NODE_SERVICE if k != "Port"])
        self.assertEqual((bare["Tags"], bare["Meta"]), ([], None))
        self.assertIn(self.agent.get("/v1/catalog/node-services/empty").json["Services"],
                      (None, []))
        self.assertEqual(self.agent.get("/v1/catalog/node-services/nobody").body,
                         b'{"Node":null,"Services":null}')
        self.refuses(400, "Missing node name", "GET", "/v1/catalog/node-services/")

    def test_catalog_datacenters(self):
        self.assertEqual(self.agent.get("/v1/catalog/datacenters").body, b'["dc1"]')

    def test_health_node(self):
        rows = self.agent.get("/v1/health/node/Full").json
        self.assertEqual([r["CheckID"] for r in rows], ["db-alive", "up"])
        self.check_full(rows[0])
        self.assertEqual((rows[1]["ServiceID"], rows[1]["ServiceTags"], rows[1]["Definition"],
                          rows[1]["Notes"], rows[1]["Output"], rows[1]["Type"]),
                         ("", [], {}, "pinged", "pong", ""))
        self.assertEqual(self.agent.get("/v1/health/node/full").json, rows)
        for name in ("empty", "nobody"):
            self.assertEqual(self.agent.get("/v1/health/node/" + name).body, b"[]")
        self.refuses(400, "Missing node name", "GET", "/v1/health/node/")

    def test_health_checks(self):
        for name in ("db", "DB"):
            row, = self.agent.get("/v1/health/checks/" + name).json
            self.check_full(row)
        self.assertEqual(self.agent.get("/v1/health/checks/db?node-meta=zone:z").body, b"[]")
        self.assertEqual(self.agent.get("/v1/health/checks/nothing").body, b"[]")
        self.refuses(400, "Missing service name", "GET", "/v1/health/checks/")

    def test_health_state(self):
        def ids(path):
            return [r["CheckID"] for r in self.agent.get("/v1/health/state/" + path).json]
        self.assertEqual(ids("any"), ["db-alive", "up", "serfHealth"])
        self.assertEqual(ids("passing"), ["up", "serfHealth"])
        self.assertEqual(ids("warning"), ["db-alive"])
        self.assertEqual(ids("any?node-meta=zone:a"), ["db-alive", "up"])
        for state in ("critical", "nonsense"):
            self.assertEqual(self.agent.get("/v1/health/state/" + state).body, b"[]")
        self.refuses(400, "Missing check state", "GET", "/v1/health/state/")

    def test_health_service(self):
        rows = self.agent.get("/v1/health/service/db").json
        self.assertEqual([r["Node"]["Node"] for r in rows], ["bare", "Full"])
        for row in rows:
            self.assertEqual(list(row), ["Node", "Service", "Checks"])
        self.assertEqual(rows[0]["Checks"], [])
        self.node_full(rows[1]["Node"])
        self.service_full(rows[1]["Service"])
        self.assertEqual([c["CheckID"] for c in rows[1]["Checks"]], ["up", "db-alive"])
        self.check_full(rows[1]["Checks"][1])
        for query, nodes in (("passing", ["bare"]), ("passing=true", ["bare"]),
                             ("passing=1", ["bare"]), ("passing=false", ["bare", "Full"]),
                             ("passing=f", ["bare", "Full"]), ("tag=master", ["Full"]),
                             ("tag=v1&passing", []), ("node-meta=zone:a", ["Full"])):
            got = self.agent.get("/v1/health/service/db?" + query).json
            self.assertEqual([r["Node"]["Node"] for r in got], nodes, query)
        self.assertEqual(self.agent.get("/v1/health/service/nothing").body, b"[]")
        self.refuses(400, "Missing service name", "GET", "/v1/health/service/")
        self.refuses(400, "Invalid value for ?passing", "GET",
                     "/v1/health/service/db?passing=maybe")

    def test_nothing_of_a_mesh(self):
        for path in ("/v1/catalog/connect/", "/v1/health/connect/", "/v1/health/ingress/",
                     "/v1/catalog/gateway-services/"):
            for service in ("db", "nothing"):
                reply = self.agent.get(path + service)
                self.assertEqual((reply.status, reply.body), (200, b"[]"))
                self.assertGreater(reply.index, 0)
                self.assertEqual(reply.headers["X-Consul-KnownLeader"], "true")
            self.refuses(400, "Missing %s name" % ("gateway" if "gateway" in path else "service"),
                         "GET", path)

    def test_status(self):
        server = "%s:%d" % (self.agent.ip, self.agent.server_port)
        self.assertEqual(self.agent.get("/v1/status/leader").body, json.dumps(server).encode())
        self.assertEqual(self.agent.get("/v1/status/peers").json, [server])
        for path in ("/v1/status/leader", "/v1/status/peers"):
            self.assertEqual(self.agent.get(path + "?dc=DC1").status, 200)
            self.refuses(500, "No path to datacenter", "GET", path + "?dc=elsewhere")

    def test_agent_self(self):
        got = self.agent.get("/v1/agent/self").json
        self.assertEqual(list(got), ["Config", "DebugConfig", "Coord", "Member", "Stats", "Meta"])
        config = got["Config"]
        self.assertEqual(sorted(config), sorted(["Datacenter", "PrimaryDatacenter", "NodeName",
                                                 "NodeID", "Revision", "Server", "Version",
                                                 "BuildDate"]))
        self.assertEqual((config["Datacenter"], config["NodeName"], config["Server"]),
                         ("dc1", "n1", True))
        self.assertRegex(config["BuildDate"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        debug = got["DebugConfig"]
        self.assertEqual(debug["SerfAdvertiseAddrLAN"],
                         "tcp://%s:%d" % (self.agent.ip, debug["SerfPortLAN"]))
        self.assertEqual((debug["HTTPPort"], debug["DNSPort"], debug["ServerPort"]),
                         (self.agent.http_address[1], self.agent.dns_address[1],
                          self.agent.server_port))
        member = got["Member"]
        self.assertEqual((member["Name"], member["Addr"], member["Status"]),
                         ("n1", self.agent.ip, 1))
        self.assertEqual((member["Tags"]["role"], member["Tags"]["acls"]), ("consul", "0"))
        for section in got["Stats"].values():
            for value in section.values():
                self.assertIsInstance(value, str)
        self.assertEqual((got["Stats"]["raft"]["state"], got["Stats"]["consul"]["leader"]),
                         ("Leader", "true"))
        self.assertEqual(got["Meta"]["rack"], "r7")
        version = self.agent.get("/v1/agent/version").json
        self.assertEqual(sorted(version), ["BuildDate", "FIPS", "HumanVersion", "SHA"])
        self.assertEqual(version["HumanVersion"], config["Version"])

    def test_query_options(self):
        path = "/v1/catalog/nodes?"
        for query, text in (("index=x", "Invalid index"), ("index=-1", "Invalid index"),
                            ("index=1.5", "Invalid index"),
                            ("index=99999999999999999999", "Invalid index"),
                            ("wait=10", "Invalid wait time"), ("wait=x", "Invalid wait time"),
                            ("max_stale=x", 'Invalid max_stale value "x"'),
                            ("stale&consistent",
                             "Cannot specify ?stale with ?consistent, conflicting semantics."),
                            ("cached&consistent",
                             "Cannot specify ?cached with ?consistent, conflicting semantics."),
                            ("ns=team", 'Invalid query parameter: "ns" - Namespaces are a Consul '
                             'Enterprise feature'),
                            ("partition=p", 'Invalid query parameter: "partition" - Partitions are '
                             'a Consul Enterprise feature')):
            self.refuses(400, text, "GET", path + query)
        for query in ("dc=nowhere", "datacenter=nowhere"):
            self.refuses(500, "No path to datacenter", "GET", path + query)
            self.refuses(500, "No path to datacenter", "GET", "/v1/health/service/x?" + query)
        for query in ("dc=dc1", "dc=DC1", "datacenter=dc1&dc=nowhere", "dc=", "index=", "index=0",
                      "wait=1s", "max_stale=1h", "leader", "ns=default", "ns=", "cached", "token=x",
                      "index=18446744073709551615&wait=1ms"):
            self.assertEqual(self.agent.get(path + query).status, 200, query)
        for name, value in (("X-Consul-Namespace", 'Invalid header: "X-Consul-Namespace" - '
                             'Namespaces are a Consul Enterprise feature'),
                            ("X-Consul-Partition", 'Invalid header: "X-Consul-Partition" - '
                             'Partitions are a Consul Enterprise feature')):
            with self.subTest(header=name):
                for path in ("/v1/catalog/nodes", "/v1/health/service/x", "/v1/agent/services"):
                    self.assertEqual(self.agent.get(path, {name: "default"}).status, 200)
                    reply = self.agent.get(path, {name: "team"})
                    self.assertEqual((reply.status, reply.text), (400, value))
        self.assertEqual(self.agent.get("/v1/catalog/nodes?max_stale=1h")
                         .headers["X-Consul-Effective-Consistency"], "stale")


class Tenancy(EndpointTest):

    def test_limits_of_requests(self):
        limits = {"mode": "enforcing", "read_rate": 1, "write_rate": 0.2}
        agent = self.new_agent({"limits": {"request_limits": limits}})
        agent.start()
        read = "rate limit exceeded, try again later or against a different server"
        write = ("rate limit exceeded for operation that can only be performed by the leader, "
                 "try again later")
        for method, path, code, text in (("GET", "/v1/kv/?keys", 429, read),
                                         ("GET", "/v1/catalog/nodes", 429, read),
                                         ("PUT", "/v1/kv/x", 503, write),
                                         ("PUT", "/v1/session/create", 503, write)):
            reply = eventually(lambda: next(iter(
                r for r in [agent.request(method, path)] if r.status != 200), None), "it is refused")
            self.assertEqual((reply.status, reply.text), (code, text))
        for path in ("/v1/agent/self", "/v1/status/leader", "/v1/agent/services"):
            self.assertEqual(agent.get(path).status, 200)
        agent.says("RPC exceeded allowed rate limit: path=/v1/kv/ limit_type=global/read "
                   "limit_enforced=true")
        agent.stop()
        agent.config["limits"]["request_limits"]["mode"] = "permissive"
        agent.start()
        for _ in range(40):
            self.assertEqual(agent.get("/v1/catalog/nodes").status, 200)
        agent.says("limit_enforced=false")
        agent.stop()

    def test_reads_that_may_be_old_by_default(self):
        agent = self.new_agent({"discovery_max_stale": "1h"})
        agent.start()
        for path, mode in (("/v1/catalog/nodes", "stale"), ("/v1/health/service/consul", "stale"),
                           ("/v1/catalog/nodes?leader", "leader"),
                           ("/v1/catalog/nodes?consistent", "consistent"),
                           ("/v1/kv/?recurse", "leader")):
            for _ in range(2):  # the second from what is kept of the first
                self.assertEqual(agent.get(path).headers["X-Consul-Effective-Consistency"], mode)
        agent.stop()

    def test_everywhere(self):
        """None but the default one exists, on reads, writes and the agent's own."""
        for method, path in (("GET", "/v1/catalog/nodes"), ("GET", "/v1/agent/services"),
                             ("PUT", "/v1/agent/service/register"),
                             ("PUT", "/v1/agent/check/pass/x")):
            reply = self.agent.request(method, path + "?ns=foo", b"{}" if method == "PUT" else None)
            self.assertEqual(reply.status, 400, path)
            self.assertEqual(reply.body, b'Invalid query parameter: "ns" - Namespaces are a Consul '
                                         b'Enterprise feature')
        self.assertEqual(self.agent.get("/v1/agent/services?ns=default").status, 200)
        for name, status in (("", 200), ("default", 200), ("other", 400)):
            reply = self.agent.put("/v1/agent/check/register", json.dumps(
                {"Name": "tenant", "TTL": "10m", "Namespace": name, "Partition": ""}).encode())
            self.assertEqual(reply.status, status, name)
        self.agent.must_put("/v1/agent/check/deregister/tenant")

    def test_meta_of_an_unknown_datacenter(self):
        reply = self.agent.get("/v1/catalog/nodes?dc=nowhere")
        self.assertEqual((reply.status, reply.headers["X-Consul-Index"],
                          reply.headers["X-Consul-KnownLeader"]), (500, "1", "false"))
        self.assertNotIn("X-Consul-Index",
                         self.agent.get("/v1/health/service/web?dc=nowhere").headers)


class CatalogWrites(EndpointTest):
    def test_weights_that_are_none(self):
        """The Go client sends zeros for weights that its caller did not give."""
        for weights in ({"Passing": 0, "Warning": 0}, {"Passing": 1, "Warning": -1}, {}):
            self.put_ok("/v1/catalog/register", {
                "Node": "lax", "Address": "192.0.2.1",
                "Service": {"Service": "weighed", "Weights": weights}}, "true")
            row, = self.agent.get("/v1/catalog/service/weighed").json
            self.assertEqual(row["ServiceWeights"], {"Passing": 1, "Warning": 1})
        self.forget("lax")

    def test_decoding(self):
        path = "/v1/catalog/register"
        failed = "Request decode failed: "
        for body, detail in ((b"", "EOF"), (None, "EOF"), (b'{"Node":"x"', "unexpected EOF"),
                             (b'{"Nope":1}', 'json: unknown field "Nope"'),
                             (b'{"Node":"x","Service":{"Service":"s","Nope":1}}',
                              'json: unknown field "Nope"'),
                             (b'{"Namespace":"team","Node":"x"}', 'json: unknown field "Namespace" '
                              '- Namespaces are a Consul Enterprise feature')):
            self.refuses(400, failed + detail, "PUT", path, body)
        # What is no UTF-8 is replaced, as Go does, and not refused.
        self.refuses(500, "Must provide address if SkipNodeUpdate is not set", "PUT", path,
                     b'{"Node":"\xff"}')
        for body, part in ((b'{"Node":7}', "cannot unmarshal number"),
                           (b'{"Node":true}', "cannot unmarshal bool"),
                           (b'{"Service":[]}', "cannot unmarshal array"),
                           (b'{"Service":{"Port":"80"}}', "cannot unmarshal string"),
                           (b'{"Service":{"Port":70000}}', ""), (b'{"Service":{"Port":-1}}', ""),
                           (b'{"Service":{"Port":1.5}}', ""), (b'[]', "cannot unmarshal array"),
                           (b'"x"', "cannot unmarshal string"), (b"[" * 100000, ""),
                           (b'{"a":' * 100000, "")):
            with self.subTest(body=body[:40]):
                reply = self.agent.put(path, body)
                self.assertEqual(reply.status, 400)
                self.assertTrue(reply.text.startswith(failed), reply.text)
                self.assertIn(part, reply.text)
        # Letter case of names, null, the last of two, accepted and ignored fields.
        self.put_ok(path, b'{"nODE":"first","node":"lax","ADDRESS":"192.0.2.1","Service":null,'
                    b'"Checks":null,"NodeMeta":null,"CreateIndex":7,"Namespace":"default",'
                    b'"Partition":""}', "true")
        self.assertEqual(self.agent.get("/v1/catalog/node/lax").json["Node"]["Address"],
                         "192.0.2.1")
        self.forget("lax")

    def test_register_refuses(self):
        path = "/v1/catalog/register"
        self.register(Node="owner", ID="11111111-0000-4000-8000-000000000001",
                      Address="192.0.2.1", Check={"CheckID": "serfHealth", "Status": "passing"})
        for body, text in (
                ({}, "Must provide node"),
                ({"Node": "x"}, "Must provide address if SkipNodeUpdate is not set"),
                ({"Node": "x", "Address": "192.0.2.1", "Service": {"ID": "y"}},
                 "Must provide service name (Service.Service) when service ID is provided"),
                ({"Node": "x", "Address": "192.0.2.1", "Service": {"Port": 1}},
                 "Must provide service name (Service.Service)"),
                ({"Node": "x", "Address": "192.0.2.1",
                  "Service": {"Service": "y", "Address": "0.0.0.0"}}, "Invalid service address"),
                ({"Node": "x", "Address": "192.0.2.1",
                  "Service": {"Service": "y", "Address": "::"}}, "Invalid service address"),
                ({"Node": "x", "Address": "192.0.2.1", "Locality": {"Zone": "z"}},
                 "zone cannot be set without region"),
                ({"Node": "x", "Address": "192.0.2.1", "PeerName": "p"},
                 "cannot register requests with PeerName in them"),
                ({"Node": "x", "Address": "192.0.2.1",
                  "Check": {"Node": "other", "CheckID": "c"}},
                 "Node 'other' for check 'c' doesn't match register request node 'x'"),
                ({"Node": "x", "Address": "192.0.2.1",
                  "Check": {"CheckID": "c", "ServiceID": "absent"}},
                 "Unknown service ID 'absent' for check ID 'c'"),
                ({"Node": "owner", "ID": "11111111-0000-4000-8000-000000000002",
                  "Address": "192.0.2.2"},
                 'failed inserting node: Error while renaming Node ID: '
                 '"11111111-0000-4000-8000-000000000002": Node name owner is reserved by node '
                 '11111111-0000-4000-8000-000000000001 with name owner (192.0.2.1)')):
            with self.subTest(text=text):
                self.refuses(500, text, "PUT", path, body)
        for body, part in (
                ({"Node": "x", "Address": "a", "ID": "nonsense"}, "Bad node ID: "),
                ({"Node": "x", "Address": "a", "Service": {"Service": "y", "Meta": {"a b": "c"}}},
                 "failed inserting service: Invalid Service Meta for node x and serviceID y: ")):
            reply = self.agent.put(path, body)
            self.assertEqual(reply.status, 500)
            self.assertTrue(reply.text.startswith(part), reply.text)
        self.refuses(500, "No path to datacenter", "PUT", path,
                     {"Datacenter": "nowhere", "Node": "x", "Address": "192.0.2.1"})
        self.assertEqual(self.agent.get("/v1/catalog/node/x").body, b"null")  # nothing was kept
        self.put_ok(path + "?dc=nowhere", {"Node": "x", "Address": "192.0.2.1"}, "true")
        self.forget("x")
        self.forget("owner")

    def test_deregister(self):
        path = "/v1/catalog/deregister"
        self.register(Node="d", Address="192.0.2.1", Service={"ID": "s1", "Service": "s"},
                      Checks=[{"CheckID": "c-node"}, {"CheckID": "c-s1", "ServiceID": "s1"}])
        self.refuses(500, "Must provide node", "PUT", path, {})
        self.refuses(400, "Request decode failed: EOF", "PUT", path)
        self.refuses(400, 'Request decode failed: json: unknown field "X"', "PUT", path, {"X": 1})
        self.refuses(500, "No path to datacenter", "PUT", path, {"Node": "d", "Datacenter": "zz"})
        for body in ({"Node": "absent"}, {"Node": "d", "ServiceID": "absent"},
                     {"Node": "d", "CheckID": "absent", "Address": "ignored"}):
            self.put_ok(path, body, "true")
        self.assertEqual(len(self.agent.get("/v1/health/node/d").json), 2)
        self.put_ok(path, {"Node": "D", "CheckID": "C-NODE"}, "true")
        self.assertEqual([c["CheckID"] for c in self.agent.get("/v1/health/node/d").json],
                         ["c-s1"])
        self.put_ok(path, {"Node": "d", "ServiceID": "s1", "CheckID": "c-node"}, "true")
        self.assertEqual(self.agent.get("/v1/health/node/d").json, [])
        self.assertEqual(self.agent.get("/v1/catalog/node/d").json["Services"], {})
        self.forget("d")
        self.assertEqual(self.agent.get("/v1/catalog/node/d").body, b"null")

    def test_equal_writes_move_no_index(self):
        body = {"Node": "same", "Address": "192.0.2.1", "Service": {"Service": "same"},
                "Check": {"CheckID": "c", "ServiceID": "same", "Status": "passing"}}
        self.register(**body)
        paths = ["/v1/catalog/nodes", "/v1/catalog/services", "/v1/health/service/same",
                 "/v1/health/state/any", "/v1/catalog/node/same"]
        before = [self.agent.get(p) for p in paths]
        self.register(**body)
        after = [self.agent.get(p) for p in paths]
        self.assertEqual([(r.index, r.body) for r in after], [(r.index, r.body) for r in before])
        body["Check"]["Output"] = "changed"
        self.register(**body)
        row, = self.agent.get("/v1/health/service/same").json
        self.assertGreater(row["Checks"][0]["ModifyIndex"], row["Service"]["ModifyIndex"])
        self.forget("same")

    def test_a_repeated_question_gets_a_fresh_answer(self):
        node_id = "33333333-0000-4000-8000-000000000001"
        node = {"Node": "fresh", "ID": node_id, "Address": "192.0.2.1"}
        body = dict(node, Service={"Service": "fresh"}, Check={"CheckID": "c"})
        paths = ["/v1/catalog/nodes?node-meta=a:b", "/v1/catalog/services?node-meta=a:b",
                 "/v1/catalog/service/fresh?node-meta=a:b", "/v1/catalog/node/fresh",
                 "/v1/catalog/node/" + node_id, "/v1/catalog/node-services/" + node_id[:20],
                 "/v1/health/service/fresh?node-meta=a:b", "/v1/health/state/any?node-meta=a:b"]
        self.register(**body)
        changes = [dict(node, NodeMeta={"a": "b"}),
                   dict(node, SkipNodeUpdate=True, Service={"Service": "fresh", "Port": 1}),
                   dict(node, Address="192.0.2.2", NodeMeta={"a": "c"})]
        with self.agent.client() as one, self.agent.client() as other:  # two threads answer
            for change in changes:
                before = {}
                for _ in range(3):
                    for path in paths:
                        before[path] = one.get(path).body
                        self.assertEqual(other.get(path).body, before[path])
                self.register(**change)
                for path in paths:
                    changed = before[path] != one.get(path).body
                    if "Service" not in change:
                        self.assertTrue(changed, (path, change))
                    elif "state" not in path and "/services?" not in path and "/nodes" not in path:
                        self.assertTrue(changed, (path, change))
                    self.assertEqual(one.get(path).body, other.get(path).body)
        self.forget("fresh")
        for path in paths[3:6]:
            self.assertIn(self.agent.get(path).body, (b"null", b'{"Node":null,"Services":null}'))

    def test_names_in_one_case(self):
        self.register(Node="Case", Address="192.0.2.1", Service={"ID": "Web", "Service": "Web"})
        self.register(Node="cASE", Address="192.0.2.1", Service={"ID": "wEB", "Service": "Web"})
        self.assertEqual(len(self.agent.get("/v1/catalog/service/wEb").json), 1)
        self.forget("CASE")

    def test_rename_by_id(self):
        node_id = "22222222-0000-4000-8000-000000000001"
        self.register(Node="old", ID=node_id, Address="192.0.2.1", Service={"Service": "moved"})
        self.register(Node="new", ID=node_id, Address="192.0.2.1")
        self.assertEqual(self.agent.get("/v1/catalog/node/old").body, b"null")
        self.assertEqual(self.agent.get("/v1/catalog/service/moved").json, [])
        self.forget("new")

    def test_skip_node_update(self):
        self.register(Node="skip", Address="192.0.2.1", NodeMeta={"a": "b"})
        self.register(Node="skip", SkipNodeUpdate=True, Service={"Service": "skipped"})
        node = self.agent.get("/v1/catalog/node/skip").json["Node"]
        self.assertEqual((node["Address"], node["Meta"]), ("192.0.2.1", {"a": "b"}))
        self.forget("skip")

    def test_proxies_are_carried(self):
        proxy = {"DestinationServiceName": "web", "Config": {"a": [1, {"b": None}]}}
        self.register(Node="mesh", Address="192.0.2.1",
                      Service={"ID": "p", "Service": "p", "Kind": "connect-proxy", "Proxy": proxy,
                               "Connect": {"Native": True}})
        service = self.agent.get("/v1/catalog/node/mesh").json["Services"]["p"]
        self.assertEqual((service["Kind"], service["Proxy"], service["Connect"]),
                         ("connect-proxy", proxy, {"Native": True}))
        self.forget("mesh")


class AgentWrites(EndpointTest):
    SERVICE = "/v1/agent/service/register"
    CHECK = "/v1/agent/check/register"

    def tearDown(self):
        for service_id in self.agent.get("/v1/agent/services").json:
            self.put_ok("/v1/agent/service/deregister/" + service_id)
        for check_id in self.agent.get("/v1/agent/checks").json:
            self.put_ok("/v1/agent/check/deregister/" + check_id)

    def test_service_shapes(self):
        self.assertEqual(self.agent.get("/v1/agent/services").body, b"{}")
        self.assertEqual(self.agent.get("/v1/agent/checks").body, b"{}")
        self.put_ok(self.SERVICE, {"Name": "plain"})
        got = self.agent.get("/v1/agent/services").json
        self.assertEqual(list(got["plain"]), AGENT_SERVICE)
        self.assertEqual(got["plain"], {
            "ID": "plain", "Service": "plain", "Tags": [], "Meta": {}, "Port": 0, "Address": "",
            "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": False,
            "Datacenter": "dc1"})
        row, = self.agent.get("/v1/catalog/service/plain").json  # synced before the reply
        self.assertEqual((row["Node"], row["Address"]), ("n1", self.agent.ip))
        self.put_ok(self.SERVICE, {
            "Name": "full", "ID": "f1", "Tags": ["a"], "Port": 80, "Address": "192.0.2.5",
            "Meta": {"k": "v"}, "tagged_addresses": {"wan": {"Address": "198.51.100.9",
                                                             "Port": 8080}},
            "Weights": {"Passing": 5, "Warning": 0}, "enable_tag_override": True,
            "Connect": {"Native": True}, "Token": "unused"})
        got = self.agent.get("/v1/agent/services").json["f1"]
        self.assertEqual(got["TaggedAddresses"], {
            "lan_ipv4": {"Address": "192.0.2.5", "Port": 80},
            "wan": {"Address": "198.51.100.9", "Port": 8080},
            "wan_ipv4": {"Address": "192.0.2.5", "Port": 80}})
        self.assertEqual((got["Weights"], got["EnableTagOverride"], got["Meta"], got["Connect"]),
                         ({"Passing": 5, "Warning": 0}, True, {"k": "v"}, {"Native": True}))

    def test_service_refuses(self):
        for body, status, text in (
                ({}, 400, "Missing service name"),
                ({"Name": "x", "Address": "0.0.0.0"}, 400, "Invalid service address"),
                ({"Name": "x", "Weights": {"Passing": 0}}, 400,
                 "Invalid Weights: Passing must be greater than 0"),
                ({"Name": "x", "Weights": {"Passing": 1, "Warning": -1}}, 400,
                 "Invalid Weights: Warning must be greater or equal than 0"),
                ({"Name": "x", "Weights": {"Passing": 70000}}, 400,
                 "Invalid Weights: DNS Weight must be between 0 and 65535"),
                ({"Name": "x", "Meta": {"consul-x": "y"}}, 400,
                 "Invalid Service Meta: Couldn't load metadata pair ('consul-x', 'y'): Key prefix "
                 "'consul-' is reserved for internal use"),
                ({"Name": "x", "Meta": {str(i): "" for i in range(65)}}, 400,
                 "Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs"),
                ({"Name": "x", "TaggedAddresses": {"lan_ipv4": {"Address": "::1", "Port": 1}}}, 500,
                 'Service tagged address "lan_ipv4" must be a valid ipv4 address'),
                ({"Name": "x", "Check": {"TTL": "10s", "Status": "fine"}}, 400,
                 "Status for checks must 'passing', 'warning', 'critical'"),
                ({"Name": "x", "Check": {"HTTP": "http://192.0.2.1"}}, 400,
                 "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or "
                 "OSService checks"),
                ({"Name": "x", "Check": {"Name": "c"}}, 400,
                 "Invalid check: TTL must be > 0 for TTL checks"),
                ({"Name": "x", "Check": {"TTL": "1s", "Interval": "1s"}}, 400,
                 "Invalid check: Interval and TTL cannot both be specified"),
                ({"Name": "x", "Check": {"Args": ["true"], "Interval": "1s"}}, 500,
                 "Scripts are disabled on this agent from remote calls; to enable, configure "
                 "'enable_script_checks' to true"),
                ({"Nope": 1}, 400, 'Request decode failed: json: unknown field "Nope"'),
                (b"", 400, "Request decode failed: EOF")):
            with self.subTest(text=text):
                self.refuses(status, text, "PUT", self.SERVICE, body)
        reply = self.agent.put(self.SERVICE, {"Name": "x", "Locality": {"Zone": "z"}})
        self.assertEqual(reply.status, 400)
        self.assertIn("zone cannot be set without region", reply.text)
        self.assertTrue(reply.text.startswith("Validation failed: "), reply.text)
        reply = self.agent.put(self.SERVICE, {"Name": "x", "Check": {"TTL": "10"}})
        self.assertEqual((reply.status, reply.text),
                         (400, 'Request decode failed: time: missing unit in duration "10"'))
        self.assertEqual(self.agent.get("/v1/agent/services").json, {})

    def test_names_have_a_bound(self):
        for body in ({"Name": "x" * 513}, {"Name": "x", "ID": "x" * 513}):
            self.assertEqual(self.agent.put(self.SERVICE, body).status, 400)
        self.assertEqual(self.agent.put(self.CHECK, {"Name": "x" * 513, "TTL": "1m"}).status, 400)
        self.put_ok(self.SERVICE, {"Name": "x" * 512})
        self.assertEqual(len(self.agent.get("/v1/catalog/service/" + "x" * 512).json), 1)

    def test_service_checks(self):
        def ids(query=""):
            return sorted(self.agent.get("/v1/agent/checks").json)
        body = {"Name": "w", "ID": "w1", "Tags": ["t"],
                "Check": {"TTL": "10m"},
                "Checks": [{"CheckID": "mine", "TTL": "10m", "Name": "Mine", "Status": "passing"},
                           {"TTL": "10m"}]}
        self.put_ok(self.SERVICE, body)
        self.assertEqual(ids(), ["mine", "service:w1:1", "service:w1:3"])
        check = self.agent.get("/v1/agent/checks").json["service:w1:1"]
        self.assertEqual(list(check), CHECK)
        self.assertEqual(check, {
            "Node": "n1", "CheckID": "service:w1:1", "Name": "Service 'w' check",
            "Status": "critical", "Notes": "", "Output": "", "ServiceID": "w1",
            "ServiceName": "w", "ServiceTags": ["t"], "Type": "ttl", "Interval": "", "Timeout": "",
            "ExposedPort": 0, "Definition": {}, "CreateIndex": 0, "ModifyIndex": 0})
        # A check that is not mentioned stays, and one that is keeps its status.
        self.put_ok("/v1/agent/check/pass/mine?note=ok")
        self.put_ok(self.SERVICE, {"Name": "w", "ID": "w1", "Tags": ["u"],
                                   "Checks": [{"CheckID": "mine", "TTL": "10m",
                                               "Status": "critical"}]})
        self.assertEqual(ids(), ["mine", "service:w1:1", "service:w1:3"])
        mine = self.agent.get("/v1/agent/checks").json["mine"]
        self.assertEqual((mine["Status"], mine["Output"], mine["ServiceTags"]),
                         ("passing", "ok", ["u"]))
        # Checks under an id of their own join the service, until they are replaced.
        self.put_ok(self.CHECK, {"ID": "later", "Name": "Later", "ServiceID": "w1", "TTL": "10m"})
        self.assertIn("later", ids())
        self.put_ok(self.SERVICE + "?replace-existing-checks",
                    {"Name": "w", "ID": "w1", "Check": {"TTL": "10m"}})
        self.assertEqual(ids(), ["service:w1"])
        self.assertEqual([c["CheckID"] for c in self.agent.get("/v1/health/checks/w").json],
                         ["service:w1"])
        self.put_ok("/v1/agent/service/deregister/w1")
        self.assertEqual(ids(), [])
        self.assertEqual(self.agent.get("/v1/catalog/service/w").json, [])

    def test_check_register(self):
        for body, status, text in (
                ({"TTL": "1s"}, 400, "Missing check name"),
                ({"Name": "c", "TTL": "1s", "Status": "fine"}, 400, "Bad check status"),
                ({"Name": "c"}, 400, "Invalid check: TTL must be > 0 for TTL checks"),
                ({"Name": "c", "TTL": "1s", "ServiceID": "absent"}, 404,
                 'ServiceID "absent" does not exist'),
                ({"Name": "c", "TTL": "nope"}, 400,
                 'Request decode failed: time: invalid duration "nope"'),
                ({"Name": "c", "HTTP": "http://192.0.2.1", "Interval": "1s", "OutputMaxSize": -1},
                 400, "Invalid check: MaxOutputMaxSize must be positive"),
                ({"Name": "c", "HTTP": "http://192.0.2.1", "Interval": "1s",
                  "FailuresBeforeWarning": 2}, 400, "Invalid check: FailuresBeforeWarning can't be "
                 "higher than FailuresBeforeCritical"),
                ({"Name": "c", "AliasService": "x", "Interval": "1s"}, 400,
                 "Invalid check: Interval cannot be set for Alias checks"),
                ({"Name": "c", "AliasService": "x", "TTL": "1s"}, 400,
                 "Invalid check: TTL must be not be set for Alias checks"),
                (b"", 400, "Request decode failed: EOF")):
            with self.subTest(text=text):
                self.refuses(status, text, "PUT", self.CHECK, body)
        self.put_ok(self.CHECK, {"Name": "node-level", "TTL": 600 * 10**9, "Status": "warning",
                                 "Notes": "why"})
        check = self.agent.get("/v1/agent/checks").json["node-level"]
        self.assertEqual((check["Name"], check["Status"], check["Notes"], check["ServiceID"],
                          check["Interval"], check["Timeout"]),
                         ("node-level", "warning", "why", "", "0s", "0s"))
        self.assertIn("node-level", [c["CheckID"] for c in
                                     self.agent.get("/v1/health/node/n1").json])
        self.put_ok("/v1/agent/check/deregister/node-level")
        self.refuses(404, 'Unknown check ID "node-level". Ensure that the check ID is passed, not '
                     'the check name.', "PUT", "/v1/agent/check/deregister/node-level")

    def test_unknown_ids(self):
        self.refuses(404, 'Unknown service ID "x/y". Ensure that the service ID is passed, not the '
                     'service name.', "PUT", "/v1/agent/service/deregister/x/y")
        for verb in ("pass", "warn", "fail"):
            for check_id in ("x/y", ""):
                self.refuses(404, 'Unknown check ID "%s". Ensure that the check ID is passed, not '
                             'the check name.' % check_id, "PUT",
                             "/v1/agent/check/%s/%s" % (verb, check_id))

    def test_a_check_of_the_agent_governs_its_services(self):
        self.put_ok(self.SERVICE, {"Name": "governed"})
        self.put_ok(self.CHECK, {"Name": "disk", "TTL": "10m", "Status": "passing"})
        self.assertEqual(self.agent.passing("governed"), ["governed"])
        self.put_ok("/v1/agent/check/fail/disk?note=full")
        self.assertEqual(self.agent.passing("governed"), [])
        self.assertEqual(self.agent.resolve("governed.service.consul").rcode, 3)
        self.put_ok("/v1/agent/check/warn/disk")
        self.assertEqual(self.agent.resolve("governed.service.consul").data("A"), [self.agent.ip])

    def test_tcp_check(self):
        ip, port = self.agent.http_address  # something that listens
        self.put_ok(self.SERVICE, {"Name": "tcp", "Check": {
            "TCP": "%s:%d" % (ip, port), "Interval": "1s"}})
        eventually(lambda: self.agent.passing("tcp"), "the TCP check passes")
        check, = self.agent.get("/v1/health/checks/tcp").json
        self.assertEqual((check["Type"], check["Output"]),
                         ("tcp", "TCP connect %s:%d: Success" % (ip, port)))
        self.put_ok(self.SERVICE, {"Name": "tcp", "Check": {
            "TCP": "%s:1" % ip, "Interval": "1s"}})
        eventually(lambda: not self.agent.passing("tcp"), "a refused connection is critical")
