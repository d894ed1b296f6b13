"""The tour that both forks of python-consul take: their modules have one name and one interface."""

import base64
import json

from clients import AgentOfGroupTest, ClientTest, GroupTest, WAIT_S, eventually

SEMAPHORE_FLAGS = 0xe0f69a2baa414de0


class Connected:
    consul = None  # the module
    bad_request = None  # its exception for a 400

    @property
    def node(self):
        return getattr(self.agent, "name", "n1")

    def connect(self):
        host, port = self.recorder.address
        return self.consul.Consul(host=host, port=port)


class KeysTour(Connected):
    """Keys, sessions, locks, semaphores and transactions."""

    def test_keys(self):
        client = self.connect()
        self.assertTrue(client.kv.put("py/a", "one", flags=1 << 62))
        index, entry = client.kv.get("py/a")
        self.assertEqual((entry["Value"], entry["Flags"]), (b"one", 1 << 62))
        self.assertEqual(entry["ModifyIndex"], int(index))
        self.assertIsNone(client.kv.get("py/none")[1])
        self.assertFalse(client.kv.put("py/a", "two", cas=1))
        self.assertTrue(client.kv.put("py/a", "two", cas=entry["ModifyIndex"]))
        client.kv.put("py/b/c", "")
        self.assertEqual(client.kv.get("py/", keys=True, separator="/")[1], ["py/a", "py/b/"])
        index, entries = client.kv.get("py/", recurse=True)
        self.assertEqual([entry["Key"] for entry in entries], ["py/a", "py/b/c"])
        self.change_when_asked("/v1/kv/py/.*index=",
                               lambda: self.agent.must_put("/v1/kv/py/d", "x"))
        later, entries = client.kv.get("py/", recurse=True, index=index, wait="60s")
        self.assertEqual(len(entries), 3)
        self.assertGreater(int(later), int(index))
        self.assertTrue(client.kv.delete("py/", recurse=True))
        self.assertIsNone(client.kv.get("py/", recurse=True)[1])

    def test_sessions_and_locks(self):
        client = self.connect()
        session = client.session.create(name="tour", lock_delay=0, ttl=10)
        other = client.session.create(node=self.node, behavior="delete", checks=[], lock_delay=1)
        self.assertEqual(client.session.info(session)[1]["Name"], "tour")
        self.assertEqual(len(client.session.node(self.node)[1]), len(client.session.list()[1]))
        self.assertEqual(client.session.renew(session)["ID"], session)
        self.assertTrue(client.kv.put("py/lock", "", acquire=session))
        self.assertFalse(client.kv.put("py/lock", "", acquire=other))
        self.assertEqual(client.kv.get("py/lock")[1]["Session"], session)
        self.assertTrue(client.session.destroy(session))
        self.assertIsNone(client.session.info(session)[1])
        self.assertTrue(client.kv.put("py/lock", "", acquire=other))
        self.assertTrue(client.kv.put("py/lock", "", release=other))
        self.assertTrue(client.session.destroy(other))

    def test_transactions(self):
        client = self.connect()
        value = base64.b64encode(b"x").decode()
        answer = client.txn.put([{"KV": {"Verb": "set", "Key": "py/txn", "Value": value}},
                                 {"KV": {"Verb": "get", "Key": "py/txn"}}])
        self.assertEqual(answer["Results"][1]["KV"]["Value"], value)

    def semaphore_holders(self, client, change):
        """Changes the holders by check-and-set until it succeeds, as the recipe of clients does."""
        while True:
            _, entries = client.kv.get("py/sem/", recurse=True)
            places = next((e for e in entries or [] if e["Key"] == "py/sem/.lock"), None)
            holders = json.loads(places["Value"])["Holders"] if places else {}
            alive = {e["Session"] for e in entries or [] if "Session" in e}
            holders = {sid: True for sid in holders if sid in alive}
            if not change(holders):
                return False
            if client.kv.put("py/sem/.lock", json.dumps({"Limit": 2, "Holders": holders}),
                             cas=places["ModifyIndex"] if places else 0, flags=SEMAPHORE_FLAGS):
                return True

    def test_semaphore(self):
        client = self.connect()
        sessions = [client.session.create(name="sem", behavior="delete", ttl=10)
                    for _ in range(3)]

        def enter(session):
            return lambda holders: len(holders) < 2 and not holders.update({session: True})

        for session in sessions:
            self.assertTrue(client.kv.put("py/sem/" + session, "", acquire=session,
                                          flags=SEMAPHORE_FLAGS))
        for session, expected in zip(sessions, (True, True, False)):
            self.assertEqual(self.semaphore_holders(client, enter(session)), expected)
        index, entries = client.kv.get("py/sem/", recurse=True)
        self.assertEqual(sorted(e["Session"] for e in entries if "Session" in e),
                         sorted(sessions))
        self.change_when_asked("/v1/kv/py/sem/.*index=", lambda: self.agent.must_put(
            "/v1/session/destroy/" + sessions[0]))
        later, entries = client.kv.get("py/sem/", recurse=True, index=index, wait="60s")
        self.assertGreater(int(later), int(index))
        self.assertEqual(len(entries), 3)  # the contender went with its session
        self.assertTrue(self.semaphore_holders(client, enter(sessions[2])))
        self.assertTrue(self.semaphore_holders(client, lambda holders: holders.pop(sessions[1])))
        for session in sessions[1:]:
            self.assertTrue(client.session.destroy(session))
        _, entries = client.kv.get("py/sem/", recurse=True)
        self.assertEqual([e["Key"] for e in entries], ["py/sem/.lock"])
        self.assertTrue(client.kv.delete("py/sem/.lock", cas=entries[0]["ModifyIndex"]))


class KeysThroughDeaths(KeysTour, GroupTest):
    """The same against three servers whose leader is killed in the middle."""

    def test_keys(self):
        self.through_deaths(["PUT /v1/kv/py/a", r"PUT .*cas=\d\d", "GET .*keys", "GET .*index=",
                             "DELETE "], super().test_keys)

    def test_sessions_and_locks(self):
        self.through_deaths(["PUT /v1/session/create", "GET /v1/session/info", "PUT .*/renew/",
                             "PUT .*acquire=", "GET /v1/kv/py/lock", "PUT .*/destroy/",
                             "PUT .*release="], super().test_sessions_and_locks)

    def test_semaphore(self):
        self.through_deaths(["PUT .*acquire=", "PUT .*cas=0", "GET .*index=", "PUT .*/destroy/",
                             "DELETE .*cas="], super().test_semaphore)

    def test_transactions(self):
        self.through_deaths(["PUT /v1/txn"], super().test_transactions)


class KeysThroughDeathsAtAnAgent(KeysThroughDeaths, AgentOfGroupTest):
    """The same, through an agent without -server."""


class PythonTour(KeysTour, ClientTest):
    def service_status(self, client, check_id):
        """The status of a check in the catalog."""
        _, rows = client.health.node("n1")
        return [row["Status"] for row in rows if row["CheckID"] == check_id]

    def test_status_and_self(self):
        client = self.connect()
        server = "%s:%d" % (self.agent.ip, self.agent.server_port)
        self.assertEqual(client.status.leader(), server)
        self.assertEqual(client.status.peers(), [server])
        config = client.agent.self()["Config"]
        self.assertEqual((config["NodeName"], config["Datacenter"], config["Server"]),
                         ("n1", "dc1", True))
        self.assertEqual(client.catalog.datacenters(), ["dc1"])

    def test_ttl_service(self):
        client = self.connect()
        self.assertTrue(client.agent.service.register(
            "db", service_id="db-1", address="192.0.2.9", port=5432, tags=["v1", "primary"],
            meta={"zone": "a"}, check=self.consul.Check.ttl("60s")))
        self.assertEqual(client.agent.services()["db-1"]["Tags"], ["v1", "primary"])
        self.assertEqual(client.agent.checks()["service:db-1"]["Status"], "critical")
        for call, status in (("ttl_pass", "passing"), ("ttl_fail", "critical"),
                             ("ttl_warn", "warning"), ("ttl_pass", "passing")):
            self.assertTrue(getattr(client.agent.check, call)("service:db-1", "note " + status))
            self.assertEqual(self.service_status(client, "service:db-1"), [status])
            _, rows = client.health.service("db", passing=True)
            self.assertEqual([row["Service"]["ID"] for row in rows],
                             ["db-1"] if status == "passing" else [])
            _, rows = client.health.state(status)
            self.assertIn(("service:db-1", "note " + status),
                          [(row["CheckID"], row["Output"]) for row in rows])

        _, services = client.catalog.services()
        self.assertEqual(sorted(services["db"]), ["primary", "v1"])
        _, rows = client.catalog.service("db", tag="primary")
        self.assertEqual([(row["ServiceAddress"], row["ServicePort"], row["ServiceMeta"])
                          for row in rows], [("192.0.2.9", 5432, {"zone": "a"})])
        self.assertEqual(client.catalog.service("db", tag="v2")[1], [])
        _, rows = client.catalog.nodes()
        self.assertEqual([row["Node"] for row in rows if row["Node"] == "n1"], ["n1"])
        _, node = client.catalog.node("n1")
        self.assertEqual(node["Services"]["db-1"]["Port"], 5432)
        self.assertIsNone(client.catalog.node("nobody")[1])
        _, rows = client.health.checks("db")
        self.assertEqual([row["CheckID"] for row in rows], ["service:db-1"])
        _, rows = client.health.node("n1")
        self.assertIn("serfHealth", [row["CheckID"] for row in rows])

        self.assertTrue(client.agent.service.deregister("db-1"))
        self.assertNotIn("db-1", client.agent.services())
        self.assertNotIn("db", client.catalog.services()[1])

    def test_http_check_and_a_check_of_the_node(self):
        client = self.connect()
        service = self.checked_service()
        ip, port = service.address
        self.assertTrue(client.agent.service.register(
            "web", address=ip, port=port,
            check=self.consul.Check.http(service.url, "1s", timeout="2s", deregister="10m")))
        eventually(lambda: self.service_status(client, "service:web") == ["passing"],
                   "web passes")
        service.stop()
        eventually(lambda: self.service_status(client, "service:web") == ["critical"],
                   "web is critical")
        self.assertTrue(client.agent.check.register("disk", check_id="disk-1", notes="of n1",
                                                    check=self.consul.Check.ttl("60s")))
        client.agent.check.ttl_pass("disk-1")
        self.assertEqual(self.service_status(client, "disk-1"), ["passing"])
        self.assertTrue(client.agent.check.deregister("disk-1"))
        self.assertEqual(self.service_status(client, "disk-1"), [])
        self.assertTrue(client.agent.service.deregister("web"))

    def test_blocking_queries(self):
        client = self.connect()
        index, rows = client.catalog.service("woken")
        self.assertEqual(rows, [])
        self.change_when_asked("/v1/catalog/service/woken.*index=",
                               lambda: self.agent.register("woken", ID="w1", Port=1))
        new_index, rows = client.catalog.service("woken", index=index, wait="%ds" % WAIT_S)
        self.assertEqual([row["ServiceID"] for row in rows], ["w1"])
        self.assertGreater(int(new_index), int(index))

        index, rows = client.health.service("woken", passing=True)
        self.assertEqual(len(rows), 1)
        self.change_when_asked("/v1/health/service/woken.*index=",
                               lambda: self.agent.register("woken", ID="w2", Port=2))
        new_index, rows = client.health.service("woken", passing=True, index=index,
                                                wait="%ds" % WAIT_S)
        self.assertEqual([row["Service"]["ID"] for row in rows], ["w1", "w2"])
        self.assertGreater(int(new_index), int(index))

        index, services = client.catalog.services()
        self.change_when_asked("/v1/catalog/services.*index=", lambda: [
            self.agent.deregister(name) for name in ("w1", "w2")])
        while "woken" in services:
            index, services = client.catalog.services(index=index, wait="%ds" % WAIT_S)

    def test_catalog_registration_and_options(self):
        client = self.connect()
        self.assertTrue(client.catalog.register(
            "ext-1", "192.0.2.50", service={"Service": "mail", "ID": "m1", "Port": 25},
            check={"Name": "by hand", "CheckID": "by-hand", "ServiceID": "m1",
                   "Status": "passing"}))
        for consistency in ("default", "consistent", "stale"):
            _, rows = client.catalog.service("mail", consistency=consistency)
            self.assertEqual([row["Address"] for row in rows], ["192.0.2.50"])
        _, rows = client.health.service("mail", passing=True, dc="dc1", near="_agent")
        self.assertEqual([row["Node"]["Node"] for row in rows], ["ext-1"])
        with self.assertRaisesRegex(self.consul.ConsulException, "500 No path to datacenter"):
            client.catalog.nodes(dc="elsewhere")
        self.assertTrue(client.catalog.deregister("ext-1"))
        self.assertEqual(client.catalog.service("mail")[1], [])

    def test_a_service_of_many_instances(self):
        """A long answer, which comes compressed: the client offers that it may."""
        client = self.connect()
        count = 200
        for number in range(count):
            self.agent.register("many", ID="i%d" % number, Port=1 + number)
        _, rows = client.health.service("many", passing=True)
        self.assertEqual(sorted(row["Service"]["Port"] for row in rows),
                         list(range(1, count + 1)))
        self.agent.must_put("/v1/catalog/deregister", {"Node": "ext"})

    def test_errors(self):
        client = self.connect()
        self.assertFalse(client.agent.check.ttl_pass("nothing", "x"))  # a 404
        with self.assertRaisesRegex(self.bad_request, "Missing service name"):
            client.agent.service.register("")
