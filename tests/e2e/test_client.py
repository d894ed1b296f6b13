"""Agents without -server: what they register, what they pass on to servers, and what they do when
those go."""
import base64
import json
import os
import re
import signal
import unittest

from cairn import NXDOMAIN, SERVFAIL, eventually, new_ip
from servers import CALM, ClientAgent, Group


def web(name="web", status="passing"):
    return {"Name": name, "Port": 80, "Check": {"TTL": "600s", "Status": status}}


class ClientTest(unittest.TestCase):
    def servers(self, count=3, **config):
        group = Group(count, config)
        self.addCleanup(group.discard)
        return group.start()

    def client(self, group, name="agent1", **how):
        agent = ClientAgent(name, group.servers, **how)
        self.addCleanup(agent.discard)
        return agent.start()


class Calm(ClientTest):
    """One group and one agent for all: nothing here harms them."""

    @classmethod
    def setUpClass(cls):
        cls.group = Group(3, CALM)
        cls.addClassCleanup(cls.group.discard)
        cls.group.start()
        cls.agent = ClientAgent("agent1", cls.group.servers)
        cls.addClassCleanup(cls.agent.discard)
        cls.agent.start()

    @classmethod
    def tearDownClass(cls):
        cls.agent.stop(code=0)  # it leaves
        try:
            eventually(lambda: cls.group.servers[0].get("/v1/catalog/node/agent1").json is None,
                       "the node is gone")
        except AssertionError as failure:
            raise AssertionError("%s\n---- agent1\n%s\n%s" % (
                failure, cls.agent.output()[-6000:], cls.group.outputs())) from failure
        cls.group.stop()

    def test_what_it_registers_is_found_at_servers_and_through_itself(self):
        self.agent.must_put("/v1/agent/service/register", web())
        for agent in self.group.servers + [self.agent]:
            eventually(lambda: agent.passing("web") == ["web"], "found over HTTP")
            eventually(lambda: agent.resolve("web.service.consul").data("A") == [self.agent.ip],
                       "found over DNS")
        self.assertEqual(len(self.agent.resolve("web.service.consul", "SRV").data("SRV")), 1)
        tcp = self.agent.resolve("web.service.consul", tcp=True)
        self.assertEqual(tcp.data("A"), [self.agent.ip])
        self.agent.must_put("/v1/agent/check/fail/service:web")
        eventually(lambda: self.group.servers[0].passing("web") == [], "its check fails")
        self.agent.must_put("/v1/agent/service/deregister/web")
        for agent in self.group.servers + [self.agent]:
            eventually(lambda: agent.get("/v1/catalog/service/web").json == [], "gone")
        eventually(lambda: self.agent.resolve("web.service.consul").rcode == NXDOMAIN,
                   "gone from its own rows, too")

    def test_prepared_queries(self):
        """They are executed by a server, which is told who asked."""
        server, own = self.group.servers[0], new_ip()
        for number in range(4):
            server.register("api", ID="q%d" % number, node="q%d" % number,
                            address="10.3.0.%d" % number if number else own)
        reply = self.agent.request("POST", "/v1/query", {"Name": "api", "Service": {
            "Service": "api", "Near": "_ip"}})
        self.assertEqual(reply.status, 200, reply)

        def first(headers=None):
            reply = self.agent.get("/v1/query/api/execute", headers)
            self.assertEqual(reply.status, 200, reply)
            self.assertEqual(len(reply.json["Nodes"]), 4)
            return reply.json["Nodes"][0]["Node"]["Node"]
        eventually(lambda: self.agent.get("/v1/query/api/execute").status == 200, "the query")
        with self.agent.client(source=own) as client:
            firsts = {client.get("/v1/query/api/execute").json["Nodes"][0]["Node"]["Node"]
                      for _ in range(20)}
            self.assertEqual(firsts, {"q0"})  # of the client's own address
        self.assertEqual({first({"X-Forwarded-For": "10.3.0.2"}) for _ in range(20)}, {"q2"})
        self.assertEqual(self.agent.get("/v1/query/api/explain").status, 200)
        reply = self.agent.get("/v1/query/api/execute?dc=dc9")
        self.assertEqual((reply.status, reply.text), (500, "No path to datacenter"))

    def test_its_node_is_alive(self):
        def status():
            return [c["Status"] for c in self.agent.get("/v1/health/node/agent1").json
                    if c["CheckID"] == "serfHealth"]
        eventually(lambda: status() == ["passing"], "serfHealth")

    def test_an_alias_follows_another_node(self):
        server = self.group.servers[0]

        def status(of):
            server.must_put("/v1/catalog/register", {
                "Node": "followed", "Address": "192.0.2.7", "Service": {"Service": "db"},
                "Check": {"Name": "c", "CheckID": "c", "ServiceID": "db", "Status": of}})

        def is_now(wanted):
            rows = server.get("/v1/health/node/agent1").json
            return [r["Status"] for r in rows if r["CheckID"] == "alias"] == [wanted]

        status("passing")
        self.agent.must_put("/v1/agent/check/register", {
            "Name": "alias", "AliasNode": "followed", "AliasService": "db"})
        eventually(lambda: is_now("passing"), "it follows")
        status("critical")
        eventually(lambda: is_now("critical"), "it follows again")
        self.agent.must_put("/v1/agent/check/deregister/alias")

    def test_keys_sessions_and_transactions(self):
        self.agent.must_put("/v1/kv/client/a", "1")
        self.assertEqual(self.agent.get("/v1/kv/client/a?raw").text, "1")
        session = self.agent.put("/v1/session/create", {"Name": "s", "TTL": "60s"}).json["ID"]
        self.assertEqual(self.agent.get("/v1/session/info/" + session).json[0]["Name"], "s")
        self.assertEqual(self.agent.put("/v1/session/renew/" + session).status, 200)
        self.assertEqual(self.agent.put("/v1/kv/client/lock?acquire=" + session).text.strip(), "true")
        self.assertEqual(self.agent.put("/v1/txn", [{"KV": {"Verb": "get", "Key": "client/a"}}]).status,
                         200)
        self.agent.must_put("/v1/session/destroy/" + session)
        self.assertEqual(self.agent.request("DELETE", "/v1/kv/client?recurse").text.strip(), "true")

    def test_errors_pass_unchanged(self):
        for path in ("/v1/kv/none", "/v1/health/state/odd", "/v1/catalog/nodes?index=x",
                     "/v1/catalog/nodes?stale&consistent", "/v1/health/service/",
                     "/v1/catalog/nodes?filter=)", "/v1/catalog/nodes?dc=none"):
            here, there = self.agent.get(path), self.group.servers[0].get(path)
            self.assertEqual((here.status, here.body), (there.status, there.body), path)
        self.assertEqual(self.agent.get("/v1/catalog/nodes?dc=none").text, "No path to datacenter")

    def test_a_blocking_query_wakes(self):
        self.agent.must_put("/v1/kv/watched", "1")
        index = self.agent.get("/v1/kv/watched").index
        with self.agent.client() as client:
            client.send("GET", "/v1/kv/watched?raw&wait=600s&index=%d" % index)
            self.group.servers[1].must_put("/v1/kv/watched", "2")
            reply = client.receive()
            self.assertEqual(reply.text, "2")
            self.assertGreater(reply.index, index)
        timed_out = self.agent.get("/v1/kv/watched?raw&wait=10ms&index=%d" % reply.index)
        self.assertEqual((timed_out.status, timed_out.text), (200, "2"))

    def waiting(self):
        """Blocking queries that wait at servers."""
        def count(server):
            for gauge in server.get("/v1/agent/metrics").json["Gauges"]:
                if gauge["Name"].endswith("rpc.queries_blocking"):
                    return gauge["Value"]
            return 0
        return sum(count(server) for server in self.group.servers)

    def test_who_hangs_up_ends_the_query_at_the_server(self):
        self.agent.must_put("/v1/kv/left", "1")
        index = self.agent.get("/v1/kv/left").index
        clients = [self.agent.client() for _ in range(5)]
        for client in clients:
            client.send("GET", "/v1/kv/left?wait=600s&index=%d" % index)
        eventually(lambda: self.waiting() == 5, "they wait at the server")
        for client in clients:
            client.close()
        eventually(lambda: self.waiting() == 0, "they have ended")

    def test_a_session_is_of_the_agents_node(self):
        session = self.agent.put("/v1/session/create", {"TTL": "60s"}).json["ID"]
        self.assertEqual(self.agent.get("/v1/session/info/" + session).json[0]["Node"], "agent1")
        self.agent.must_put("/v1/session/destroy/" + session)

    def test_large_bodies_and_answers(self):
        value = "x" * 500000
        for i in range(8):
            eventually(lambda: self.agent.put("/v1/kv/large/%d" % i, value).status == 200, "a write")
        reply = self.agent.get("/v1/kv/large/?recurse")
        self.assertEqual(len(reply.json), 8)
        self.assertEqual(reply.body, self.group.servers[0].get("/v1/kv/large/?recurse").body)
        self.assertEqual(self.agent.get("/v1/snapshot").status, 200)

    def test_what_only_servers_know(self):
        leader, _ = self.group.roles()
        self.assertEqual(self.agent.get("/v1/status/leader").json, leader.server_address)
        self.assertEqual(len(self.agent.get("/v1/status/peers").json), 3)
        self.assertEqual(self.agent.get("/v1/catalog/datacenters").json, ["dc1"])
        raft = self.agent.get("/v1/operator/raft/configuration").json
        self.assertEqual(len(raft["Servers"]), 3)

    def test_an_answer_that_is_kept_obeys_cache_control(self):
        path = "/v1/health/service/obedient?cached"

        def ask(control):
            return self.agent.get(path, {"Cache-Control": control})
        self.agent.must_put("/v1/agent/service/register", web("obedient"))
        eventually(lambda: ask("max-age=60").headers["X-Cairn-Mirror-Age"], "rows are kept")
        self.assertEqual(ask("max-age=60").headers["X-Cache"], "HIT")
        for control in ("must-revalidate", "max-age=0"):
            reply = ask(control)
            self.assertEqual((reply.headers["X-Cache"], reply.headers["X-Cairn-Mirror-Age"]),
                             ("MISS", None))
        self.assertEqual((ask("max-age=soon").status, ask("max-age=soon").text),
                         (400, "Invalid Cache-Control header."))
        self.agent.must_put("/v1/agent/service/deregister/obedient")

    def test_metrics_of_servers_are_not_told(self):
        """Who sums them up over all agents, or waits for a 0, would be misled."""
        of_servers = re.compile(r"\.(autopilot|raft|state|members|server|session_ttl)\.")

        def seen(agent):
            rows = agent.get("/v1/agent/metrics").json["Gauges"]
            return [row["Name"] for row in rows if of_servers.search(row["Name"])]
        self.assertGreaterEqual(len(seen(self.group.servers[0])), 11)
        self.assertEqual(seen(self.agent), [])

    def test_what_is_its_own(self):
        this = self.agent.get("/v1/agent/self").json
        self.assertEqual((this["Config"]["NodeName"], this["Config"]["Server"]), ("agent1", False))
        self.assertEqual(this["Stats"]["consul"]["server"], "false")
        self.assertEqual(this["Stats"]["consul"]["known_servers"], "3")
        tags = {m["Name"]: m["Tags"]["role"] for m in self.agent.get("/v1/agent/members").json}
        self.assertEqual(tags, {"s1": "consul", "s2": "consul", "s3": "consul", "agent1": "node"})


class Failures(ClientTest):
    def test_the_agents_server_is_killed(self):
        group = self.servers()
        agent = self.client(group)
        agent.must_put("/v1/agent/service/register", web())
        agent.must_put("/v1/kv/a", "1")
        index = agent.get("/v1/kv/a").index
        path = "/v1/kv/a?raw&wait=600s&index=%d" % index
        with agent.client() as client:
            client.send("GET", path)
            agent.server(group.servers).kill()
            # Reads go on at once; writes as soon as there is a leader.
            eventually(lambda: agent.get("/v1/kv/a?raw").text == "1", "a read")
            eventually(lambda: agent.put("/v1/kv/a", "2").text.strip() == "true", "a write")
            while (reply := client.receive()).unled:  # the election took longer than it was held
                client.send("GET", path)
            self.assertEqual(reply.text, "2")
        agent.must_put("/v1/agent/check/fail/service:web")
        eventually(lambda: agent.get("/v1/health/service/web?passing").json == [],
                   "the check's result arrives")
        eventually(lambda: agent.resolve("web.service.consul").rcode == NXDOMAIN, "over DNS, too")

    def test_the_leader_is_killed(self):
        group = self.servers()
        agent = self.client(group)
        agent.must_put("/v1/kv/a", "1")
        group.roles()[0].kill()
        eventually(lambda: agent.put("/v1/kv/a", "2").text.strip() == "true", "a write")
        self.assertEqual(agent.must_get("/v1/kv/a?raw").text, "2")

    def test_a_server_that_is_stopped_is_left(self):
        group = self.servers()
        agent = self.client(group)
        agent.must_put("/v1/kv/a", "1")
        frozen = agent.server(group.servers)
        frozen.process.send_signal(signal.SIGSTOP)
        try:
            eventually(lambda: agent.get("/v1/kv/a?raw&stale").text == "1", "a read")
            eventually(lambda: agent.server(group.servers) is not frozen, "through another one")
            eventually(lambda: agent.put("/v1/kv/a", "2").text.strip() == "true", "a write")
        finally:
            frozen.process.send_signal(signal.SIGCONT)

    def test_without_any_server(self):
        group = self.servers(1)
        agent = self.client(group)
        agent.must_put("/v1/agent/service/register", web())
        # Asked there: what is looked up through the agent it may keep rows of.
        eventually(lambda: group.servers[0].passing("web") == ["web"], "registered")
        group.servers[0].kill()
        for path in ("/v1/catalog/nodes", "/v1/kv/a", "/v1/status/leader"):
            reply = agent.get(path)
            self.assertEqual(reply.status, 500)
        eventually(lambda: agent.get("/v1/catalog/nodes").text == "No known Consul servers",
                   "the pool knows")
        self.assertEqual(list(agent.get("/v1/agent/services").json), ["web"])
        self.assertEqual(agent.resolve("web.service.consul").data("A"), [agent.ip])
        self.assertEqual(agent.resolve("agent1.node.consul").data("A"), [agent.ip])
        self.assertEqual(agent.resolve("other.service.consul").rcode, SERVFAIL)
        # What happens meanwhile is told later.
        self.assertEqual(agent.put("/v1/agent/service/register", web("late")).status, 200)
        self.assertEqual(agent.put("/v1/agent/service/deregister/web").status, 200)
        self.assertEqual(agent.resolve("web.service.consul").rcode, SERVFAIL)
        group.servers[0].start()
        eventually(lambda: group.servers[0].passing("late") == ["late"], "the late one")
        eventually(lambda: group.servers[0].get("/v1/catalog/service/web").json == [], "no ghost")
        self.assertEqual(agent.passing("late"), ["late"])

    def test_a_restart_keeps_what_was_registered(self):
        group = self.servers(1)
        agent = self.client(group)
        agent.must_put("/v1/agent/service/register", web())
        eventually(lambda: agent.passing("web") == ["web"], "registered")
        index = group.servers[0].get("/v1/health/service/web").index
        agent.kill()
        agent.start()
        eventually(lambda: agent.passing("web") == ["web"], "it is back")
        agent.must_put("/v1/agent/service/deregister/web")
        eventually(lambda: group.servers[0].get("/v1/catalog/service/web").json == [], "gone")
        self.assertGreater(group.servers[0].get("/v1/health/service/web").index, index)
        agent.stop(code=0)

    def test_what_the_catalog_has_beyond_it_goes_after_a_restart(self):
        group = self.servers(1)
        agent = self.client(group)
        agent.must_put("/v1/agent/service/register", web())
        group.servers[0].register("ghost", node="agent1", address=agent.ip)
        agent.kill()
        agent.start()
        eventually(lambda: group.servers[0].get("/v1/catalog/service/ghost").json == [], "it goes")
        eventually(lambda: group.servers[0].passing("web") == ["web"], "its own one is back")

    def test_two_agents_of_one_name(self):
        """Whoever came first keeps the node, and what it has registered."""
        group = self.servers(1)
        agent = self.client(group)
        agent.must_put("/v1/agent/service/register", web())
        index = group.servers[0].get("/v1/health/service/web").index
        second = ClientAgent("agent1", group.servers)
        self.addCleanup(second.discard)
        second.start()
        eventually(lambda: "Node name agent1 is reserved by node" in second.output(), "it is refused")
        second.must_put("/v1/agent/service/register", web("other"))
        second.must_put("/v1/agent/service/register", web())
        second.must_put("/v1/agent/service/deregister/web")
        self.assertEqual(list(second.get("/v1/agent/services").json), ["other"])
        second.must_put("/v1/kv/after", "1")  # what it has told of the node came before
        self.assertEqual(group.servers[0].passing("web"), ["web"])
        self.assertEqual(group.servers[0].get("/v1/health/service/web").index, index)
        # Once the first is dead the node is the second's.
        agent.kill()
        eventually(lambda: group.servers[0].passing("other") == ["other"], "its own one")
        eventually(lambda: group.servers[0].get("/v1/health/service/web").json == [], "no ghost")

    def test_keys_are_changed_in_all_pools_through_it(self):
        keys = [base64.b64encode(bytes([i]) * 32).decode() for i in range(2)]
        group = self.servers(1, encrypt=keys[0])
        agent = self.client(group, config={"encrypt": keys[0]})

        def told(method="GET", key=None, query=""):
            with agent.client() as client:
                reply = client.request(method, "/v1/operator/keyring" + query,
                                       None if key is None else {"Key": key})
            self.assertEqual(reply.status, 200, reply.text)
            return [(row["WAN"], row["Keys"], row["PrimaryKeys"]) for row in
                    (reply.json if method == "GET" else [])]
        self.assertEqual(told(), [(True, {keys[0]: 1}, {keys[0]: 1}),
                                  (False, {keys[0]: 2}, {keys[0]: 2})])
        self.assertEqual(told(query="?local-only=true"), [(False, {keys[0]: 2}, {keys[0]: 2})])
        told("POST", keys[1])
        told("PUT", keys[1], "?dc=nowhere")  # all datacenters hear of it anyway
        told("DELETE", keys[0])
        self.assertEqual(told(), [(True, {keys[1]: 1}, {keys[1]: 1}),
                                  (False, {keys[1]: 2}, {keys[1]: 2})])

    def test_its_own_configuration_counts(self):
        """Of what is answered by a server that is configured otherwise."""
        group = self.servers(1)
        agent = self.client(group, config={
            "discovery_max_stale": "1h", "disable_coordinates": True,
            "http_config": {"use_cache": False}})
        agent.must_put("/v1/agent/service/register", web())

        def mode(path):
            return agent.get(path).headers["X-Consul-Effective-Consistency"]
        for path in ("/v1/catalog/nodes", "/v1/health/state/any?pretty", "/v1/catalog/service/web",
                     "/v1/health/service/web?index=1"):
            self.assertEqual(mode(path), "stale", path)
        self.assertEqual(mode("/v1/catalog/nodes?leader"), "leader")
        self.assertEqual(mode("/v1/catalog/nodes?consistent"), "consistent")
        self.assertEqual(mode("/v1/kv/?keys"), "leader")
        eventually(lambda: agent.get("/v1/health/service/web").headers["X-Cairn-Mirror-Age"],
                   "rows that are kept are young enough")
        for path in ("/v1/health/service/web?cached", "/v1/catalog/services?cached"):
            self.assertNotIn("X-Cache", agent.get(path).headers)
        for path in ("nodes", "node/s1", "datacenters"):
            reply = agent.get("/v1/coordinate/" + path)
            self.assertEqual((reply.status, reply.text), (401, "Coordinate support disabled"))
        self.assertEqual(agent.put("/v1/coordinate/update", {}).status, 401)

    def test_what_it_passes_on_is_counted_at_the_server(self):
        group = self.servers(1, telemetry={"prometheus_retention_time": "1m",
                                           "disable_hostname": True})
        agent = self.client(group)

        def counts():
            text = group.servers[0].get("/v1/agent/metrics?format=prometheus").text
            return [int(re.search(r"^consul_rpc_%s (\d+)$" % name, text, re.M).group(1))
                    for name in ("request", "request_error", "accept_conn")]
        eventually(lambda: counts()[2] > 0, "its connection is counted")
        before = counts()
        for _ in range(3):
            self.assertEqual(agent.get("/v1/kv/none").status, 404)
        self.assertEqual(agent.get("/v1/catalog/nodes?dc=nowhere").status, 500)
        after = counts()
        self.assertGreaterEqual(after[0], before[0] + 4)
        self.assertGreater(after[1], before[1])

    def test_before_it_has_joined(self):
        agent = ClientAgent("agent1", [])
        self.addCleanup(agent.discard)
        agent.spawn()
        eventually(lambda: "agent running" in agent.output(), "it runs")
        reply = eventually(lambda: agent.get("/v1/catalog/nodes"), "an answer")
        self.assertEqual((reply.status, reply.text), (500, "No known Consul servers"))
        agent.must_put("/v1/agent/service/register", web())
        self.assertEqual(agent.resolve("web.service.consul").data("A"), [agent.ip])
        agent.stop(code=0)




class Datacenters(ClientTest):
    """Two datacenters that have met over the WAN pool, and an agent in the first."""

    @classmethod
    def setUpClass(cls):
        cls.one = Group(1)
        cls.two = Group(2, dict(CALM, datacenter="dc2"))
        for number, server in enumerate(cls.two.servers):
            server.name = server.config["node_name"] = "t%d" % (number + 1)
            server.config["retry_join_wan"] = [cls.one.servers[0].ip]
        for group in (cls.one, cls.two):
            cls.addClassCleanup(group.discard)
        for server in cls.one.servers + cls.two.servers:
            server.spawn()
        cls.here, cls.there = cls.one.servers[0], cls.two.servers[0]
        for server in cls.one.servers + cls.two.servers:
            eventually(lambda: (server.try_request("GET", "/v1/catalog/datacenters") and
                                len(server.get("/v1/catalog/datacenters").json) == 2), "they meet")
        eventually(cls.two.leader, "a leader there")
        cls.agent = ClientAgent("agent1", cls.one.servers)
        cls.addClassCleanup(cls.agent.discard)
        cls.agent.start()
        eventually(lambda: cls.there.get("/v1/kv/ready?keys").status == 404, "reads there")

    def test_the_list_begins_with_the_own_one(self):
        self.assertEqual(self.here.get("/v1/catalog/datacenters").json, ["dc1", "dc2"])
        self.assertEqual(self.there.get("/v1/catalog/datacenters").json, ["dc2", "dc1"])
        self.assertEqual(self.agent.get("/v1/catalog/datacenters").json, ["dc1", "dc2"])
        self.assertEqual(self.here.get("/v1/agent/self").json["Stats"]["consul"]["known_datacenters"],
                         "2")

    def test_keys_are_written_and_read_there(self):
        for agent in (self.here, self.agent):
            agent.must_put("/v1/kv/far?dc=dc2", agent.ip)
            self.assertEqual(agent.get("/v1/kv/far?raw&dc=dc2").text, agent.ip)
            self.assertEqual(self.there.get("/v1/kv/far?raw").text, agent.ip)
            self.assertEqual(agent.get("/v1/kv/far").status, 404)
        self.assertEqual(self.there.get("/v1/kv/far?raw&dc=dc2").text, self.agent.ip)

    def test_a_service_is_found_by_its_datacenter(self):
        self.there.must_put("/v1/agent/service/register", web("far"))
        for agent in (self.here, self.agent):
            rows = eventually(lambda: agent.get("/v1/health/service/far?passing&dc=dc2").json, "HTTP")
            self.assertEqual(rows[0]["Node"]["Datacenter"], "dc2")
            self.assertEqual(agent.get("/v1/catalog/service/far").json, [])
            for name, tcp in (("far.service", False), ("far.service", True), ("t1.node", False)):
                eventually(lambda: agent.resolve(name + ".dc2.consul", tcp=tcp).data("A") ==
                           [self.there.ip], "DNS, from whichever server there answers")
            self.assertEqual(agent.resolve("far.service.dc3.consul").rcode, NXDOMAIN)

    def test_a_registration_there(self):
        row = {"Datacenter": "dc2", "Node": "ext2", "Address": "192.0.2.9",
               "Service": {"Service": "ext"}}
        for agent in (self.here, self.agent):
            agent.must_put("/v1/catalog/register", row)
            self.assertEqual(len(self.there.get("/v1/catalog/service/ext").json), 1)
            agent.must_put("/v1/catalog/deregister", {"Datacenter": "dc2", "Node": "ext2"})
            self.assertEqual(self.there.get("/v1/catalog/service/ext").json, [])
            refused = agent.put("/v1/catalog/register", dict(row, Datacenter="dc3"))
            self.assertEqual((refused.status, refused.text), (500, "No path to datacenter"))

    def test_a_blocking_query_wakes_from_there(self):
        self.there.must_put("/v1/kv/woken", "1")
        index = self.agent.get("/v1/kv/woken?dc=dc2").index
        with self.agent.client() as client:
            client.send("GET", "/v1/kv/woken?raw&dc=dc2&wait=600s&index=%d" % index)
            self.there.must_put("/v1/kv/woken", "2")
            self.assertEqual(client.receive().text, "2")

    def test_an_unknown_one(self):
        for agent in (self.here, self.there, self.agent):
            for path in ("/v1/catalog/nodes?dc=dc3", "/v1/kv/a?dc=dc3", "/v1/status/leader?dc=dc3"):
                reply = agent.get(path)
                self.assertEqual((reply.status, reply.text), (500, "No path to datacenter"))

    def test_a_prepared_query_there(self):
        """The client's address goes along: ?near=_ip means who asked first."""
        for node in ("near1", "near2", "near3"):
            self.there.must_put("/v1/catalog/register", {
                "Node": node, "Address": "192.0.2.%s" % node[-1], "Service": {"Service": "many"}})
        made = self.there.request("POST", "/v1/query",
                                  {"Name": "many", "Service": {"Service": "many"}})
        self.addCleanup(self.there.request, "DELETE", "/v1/query/" + made.json["ID"])
        for agent in (self.here, self.agent):
            self.assertEqual(agent.get("/v1/query/many/execute").text, "Query not found")
            explained = agent.get("/v1/query/many/explain?dc=dc2").json
            self.assertEqual(explained["Query"]["Name"], "many")
            reply = agent.get("/v1/query/many/execute?dc=dc2&near=_ip").json
            self.assertEqual((reply["Datacenter"], len(reply["Nodes"])), ("dc2", 3))
            self.assertEqual(agent.get("/v1/query/none/execute?dc=dc2").status, 404)
        self.assertEqual(self.there.get("/v1/query/many/execute").status, 200)

    def test_its_leader(self):
        self.assertIn(self.agent.get("/v1/status/leader?dc=dc2").json,
                      [s.server_address for s in self.two.servers])

    def test_wan_addresses(self):
        self.there.must_put("/v1/catalog/register", {
            "Node": "wide", "Address": "10.0.0.1", "TaggedAddresses": {"wan": "198.51.100.1"},
            "Service": {"Service": "wide", "Port": 1, "Address": "10.0.0.2", "TaggedAddresses": {
                "wan": {"Address": "198.51.100.2", "Port": 15432}}}})
        plain = self.agent
        agent = ClientAgent("agent3", self.one.servers, config={"translate_wan_addrs": True})
        self.addCleanup(agent.discard)
        agent.start()
        for asked, node, service, port in ((plain, "10.0.0.1", "10.0.0.2", 1),
                                           (agent, "198.51.100.1", "198.51.100.2", 15432)):
            row = asked.get("/v1/health/service/wide?dc=dc2").json[0]
            self.assertEqual((row["Node"]["Address"], row["Service"]["Address"],
                              row["Service"]["Port"]), (node, service, port))
            row = asked.get("/v1/catalog/service/wide?dc=dc2").json[0]
            self.assertEqual((row["Address"], row["ServiceAddress"], row["ServicePort"]),
                             (node, service, port))
            self.assertEqual(asked.get("/v1/catalog/node/wide?dc=dc2").json["Node"]["Address"], node)
            eventually(lambda: asked.resolve("wide.service.dc2.consul").data("A") and
                       asked.resolve("wide.node.dc2.consul").data("A"), "all servers there know")
            self.assertEqual(asked.resolve("wide.service.dc2.consul").data("A"), [service])
            self.assertEqual(asked.resolve("wide.node.dc2.consul").data("A"), [node])
            self.assertEqual(asked.resolve("wide.service.dc2.consul", "SRV").data("SRV")[0][2], port)
        self.there.must_put("/v1/catalog/deregister", {"Node": "wide"})

    def test_keys_of_the_pools_differ(self):
        """The WAN pool's key opens the way between datacenters, whatever the LAN pools' keys are."""
        keys = [base64.b64encode(bytes([i]) * 32).decode() for i in range(3)]
        groups = [Group(1), Group(1, {"datacenter": "dc2"})]
        servers = [group.servers[0] for group in groups]
        servers[1].config["node_name"] = servers[1].name = "t1"
        servers[1].config["retry_join_wan"] = [servers[0].ip]
        for server, key in zip(servers, keys):
            self.addCleanup(server.discard)
            server.config["encrypt"] = keys[2]
            server.start()
            server.stop()
            for name, kept in (("local", key), ("remote", keys[2])):
                with open(os.path.join(server.data_dir, "serf", name + ".keyring"), "w",
                          encoding="ascii") as file:
                    json.dump([kept], file)
            server.spawn()
        eventually(lambda: servers[0].leads() and servers[1].leads(), "both lead")
        eventually(lambda: len(servers[0].get("/v1/catalog/datacenters").json) == 2, "they meet")
        eventually(lambda: servers[0].put("/v1/kv/a?dc=dc2", "1").status == 200, "a write there")
        self.assertEqual(servers[1].get("/v1/kv/a?raw").text, "1")
        eventually(lambda: servers[1].get("/v1/kv/a?dc=dc1").status == 404, "the way back")
        agent = ClientAgent("agent2", servers[:1], config={"encrypt": keys[0]})
        self.addCleanup(agent.discard)
        agent.start()
        self.assertEqual(agent.get("/v1/kv/a?raw&dc=dc2").text, "1")
