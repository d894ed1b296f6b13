"""Mirrors of other datacenters: lookups that go on when all servers there are gone, and say how old
they are."""
import json
import threading
import unittest

from cairn import eventually
from servers import CALM, ClientAgent, Group
from test_client import web

AGE = "X-Cairn-Mirror-Age"


def gauge(agent, name, datacenter):
    """Of a mirror; None: it is not there."""
    for row in agent.get("/v1/agent/metrics").json["Gauges"]:
        if row["Name"].endswith("mirror." + name) and row["Labels"] == {"datacenter": datacenter}:
            return row["Value"]
    return None


class MirrorTest(unittest.TestCase):
    def group(self, count, datacenter, **config):
        group = Group(count, dict(CALM, datacenter=datacenter, **config))
        self.addCleanup(group.discard)
        return group.start()

    def federate(self, one, other):
        one.servers[0].must_put("/v1/agent/join/%s?wan=1" % other.servers[0].ip)
        for group in (one, other):
            for server in group.servers:
                eventually(lambda: len(server.get("/v1/catalog/datacenters").json) == 2,
                           "all datacenters are known")

    def two(self, near=3, far=1, **config):
        one, other = self.group(near, "dc1", **config), self.group(far, "dc2", **config)
        self.federate(one, other)
        return one, other

    def fill(self, server, count=5, name="web"):
        for i in range(count):
            server.must_put("/v1/catalog/register", {
                "Node": "n%d" % i, "Address": "10.1.0.%d" % (i + 1), "NodeMeta": {"rack": "7"},
                "Service": {"ID": "%s%d" % (name, i), "Service": name, "Port": 8000 + i,
                            "Tags": ["v1"]},
                "Checks": [{"Node": "n%d" % i, "CheckID": "c", "Name": "c", "Status": "passing",
                            "ServiceID": "%s%d" % (name, i)}]})

    def mirrored(self, server, datacenter, count):
        eventually(lambda: gauge(server, "service_instances", datacenter) == count and
                   0 <= gauge(server, "age_ms", datacenter) < 2000, "the mirror is whole and young")

    PATHS = ("/v1/health/service/web?dc=dc2", "/v1/catalog/service/web?dc=dc2&tag=v1",
             "/v1/catalog/nodes?dc=dc2", "/v1/catalog/services?dc=dc2", "/v1/catalog/node/n1?dc=dc2",
             "/v1/health/state/any?dc=dc2", "/v1/health/node/n2?dc=dc2&stale",
             '/v1/health/service/web?dc=dc2&filter=Service.Port==8003',
             "/v1/health/checks/web?dc=dc2")

    def answers(self, server):
        """What every lookup says; the indexes too, which are the source's."""
        told = {}
        for path in self.PATHS:
            reply = server.get(path)
            self.assertEqual(reply.status, 200, path)
            told[path] = (reply.json, reply.index)
        return told


class Lost(MirrorTest):
    def test_lookups_go_on_when_all_servers_there_are_gone(self):
        one, other = self.two(near=3, far=2)
        far = eventually(other.leader, "a leader there")
        self.fill(far)
        count = 5 + 2  # with the servers of their own
        for server in one.servers:
            self.mirrored(server, "dc2", count)
        # A change after the first state.
        far.must_put("/v1/catalog/register", {"Node": "n9", "Address": "10.1.0.9", "Service": {
            "ID": "web9", "Service": "web", "Port": 8009, "Tags": ["v1"]}})
        far.must_put("/v1/catalog/deregister", {"Node": "n0"})
        for server in one.servers:
            self.mirrored(server, "dc2", count)
        before = self.answers(one.servers[0])
        self.assertIsNone(one.servers[0].get(self.PATHS[0]).headers[AGE])
        self.assertEqual(len(before[self.PATHS[0]][0]), 5)
        # serfHealth of servers that die is what the mirror may still see change.
        for server in other.servers:
            server.kill()
        for server in one.servers:
            with self.subTest(server.name):
                self.assertEqual(self.answers(server), before)
                reply = server.get(self.PATHS[0])
                self.assertEqual(reply.headers["X-Consul-KnownLeader"], "false")
                self.assertEqual(reply.headers["X-Consul-LastContact"], reply.headers[AGE])
                self.assertEqual(reply.headers["X-Consul-Effective-Consistency"], "stale")
                self.assertGreater(int(reply.headers[AGE]), 0)
                self.assertEqual(reply.json[0]["Node"]["Datacenter"], "dc2")
                self.look_up_by_dns(server)
                self.refused(server)
        # They come back: live answers, and the mirror is equal again.
        for server in other.servers:
            server.spawn()
        other.whole()
        self.federate(one, other)
        back = other.servers[0]
        eventually(lambda: one.servers[0].get(self.PATHS[0]).headers[AGE] is None, "live answers")
        back.must_put("/v1/catalog/deregister", {"Node": "n1"})
        for server in one.servers:
            self.mirrored(server, "dc2", count - 1)
        one.stop()
        other.stop()

    def look_up_by_dns(self, server):
        answer = server.resolve("web.service.dc2.consul", "SRV", tcp=True)
        self.assertEqual(sorted(port for _, _, port, _ in answer.data("SRV")),
                         [8001, 8002, 8003, 8004, 8009])
        self.assertTrue(all(".dc2.consul" in target for _, _, _, target in answer.data("SRV")))
        eventually(lambda: any("cairn-mirror-age-ms=" in str(record.data)
                               for record in server.resolve("web.service.dc2.consul",
                                                            tcp=True).additional
                               if record.kind == "TXT"), "the age is told")
        self.assertEqual(server.resolve("n1.node.dc2.consul").data("A"), ["10.1.0.2"])
        self.assertEqual(server.resolve("none.service.dc2.consul").rcode, 3)

    def refused(self, server):
        """What a mirror cannot say."""
        for path in ("/v1/health/service/web?dc=dc2&consistent", "/v1/kv/a?dc=dc2",
                     "/v1/session/list?dc=dc2", "/v1/health/service/web?dc=dc2&max_stale=1ms",
                     "/v1/health/service/web?dc=dc2&index=100000"):
            self.assertEqual(server.get(path).status, 500, path)

    def test_none_fails_while_they_die(self):
        one, other = self.two(near=1, far=1)
        self.fill(other.servers[0])
        self.mirrored(one.servers[0], "dc2", 6)
        failed, asked, ages, stop = [], [0], [], threading.Event()

        def look_up():
            with one.servers[0].client() as client:
                while not stop.is_set():
                    reply = client.get(self.PATHS[0])
                    asked[0] += 1
                    ages.append(reply.headers[AGE])
                    if reply.status != 200 or len(reply.json) != 5:
                        failed.append(reply)

        thread = threading.Thread(target=look_up)
        thread.start()
        eventually(lambda: asked[0] > 20, "lookups run")
        other.servers[0].kill()
        eventually(lambda: sum(age is not None for age in ages) > 20, "the mirror answers")
        stop.set()
        thread.join()
        self.assertEqual(failed, [])
        one.stop()

    def test_blocking_queries_go_on_while_servers_there_restart(self):
        one, other = self.two(near=1, far=3)
        self.fill(other.servers[0])
        near = one.servers[0]
        told, stop = [], threading.Event()

        def wait():
            index = 1
            with near.client(timeout=60) as client:
                while not stop.is_set():
                    reply = client.get("/v1/health/service/web?dc=dc2&index=%d&wait=2s" % index)
                    told.append(reply)
                    index = reply.index if reply.status == 200 else 1

        threads = [threading.Thread(target=wait) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            for server in other.servers:
                before = len(told)
                eventually(lambda b=before: len(told) > b + 8, "queries park")
                server.stop()
                server.spawn()
                other.whole()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        # Between leaders an error is right, but it says what it is.
        self.assertEqual([r for r in told if r.status != 200 and not r.body], [])
        self.assertGreater(sum(r.status == 200 for r in told), 8)
        one.stop()
        other.stop()

    def test_an_old_mirror_does_not_answer(self):
        one, other = self.two(near=1, far=1, mirror={"max_age": "1s"})
        self.fill(other.servers[0])
        self.mirrored(one.servers[0], "dc2", 6)
        other.servers[0].kill()
        eventually(lambda: one.servers[0].get(self.PATHS[0]).status == 500, "it is too old")
        one.stop()

    def test_a_new_leader_goes_on_where_the_old_one_stood(self):
        one, other = self.two(near=3, far=1)
        self.fill(other.servers[0])
        for server in one.servers:
            self.mirrored(server, "dc2", 6)
        leader, rest = one.roles()
        leader.kill()
        self.fill(other.servers[0], name="db")
        for server in rest:
            self.mirrored(server, "dc2", 11)
            self.assertEqual(gauge(server, "begun", "dc2"), 1, "not from scratch")
        one.stop()
        other.stop()


class Unled(MirrorTest):
    def test_a_datacenter_without_quorum_answers_from_its_views(self):
        one, other = self.two(near=3, far=1)
        self.fill(other.servers[0])
        self.fill(eventually(one.leader, "a leader"), name="own")
        for server in one.servers:
            self.mirrored(server, "dc2", 6)
            eventually(lambda: len(server.get("/v1/health/service/own").json) == 5, "there")
        left = one.servers[0]
        for server in one.servers[1:]:
            server.kill()
        eventually(lambda: left.get("/v1/health/service/own").status == 500, "the quorum is lost")
        self.assertEqual(left.get("/v1/health/service/own").text, "No cluster leader")
        reply = left.get("/v1/health/service/own?stale")
        self.assertEqual((reply.status, len(reply.json)), (200, 5))
        self.assertEqual(reply.headers["X-Consul-KnownLeader"], "false")
        eventually(lambda: int(left.get("/v1/health/service/own?stale")
                               .headers["X-Consul-LastContact"]) > 0, "with its age")
        self.assertEqual(len(left.resolve("own.service.consul", tcp=True).data("A")), 5)
        # The other datacenter is still reached, and its mirror goes on without a leader here.
        self.assertEqual(len(left.get("/v1/health/service/web?dc=dc2").json), 5)
        self.fill(other.servers[0], name="db")
        self.mirrored(left, "dc2", 11)
        other.servers[0].kill()
        eventually(lambda: left.get("/v1/health/service/db?dc=dc2").headers[AGE] is not None,
                   "from the mirror")
        self.assertEqual(len(left.resolve("db.service.dc2.consul", tcp=True).data("A")), 5)


class Subscribed(MirrorTest):
    """Agents without -server."""

    def client(self, group, name="agent1", **how):
        agent = ClientAgent(name, group.servers, **how)
        self.addCleanup(agent.discard)
        return agent.start()

    def test_mirrors_of_its_servers_answer_for_it(self):
        one, other = self.two(near=1, far=1)
        self.fill(other.servers[0])
        self.mirrored(one.servers[0], "dc2", 6)
        agent = self.client(one)
        self.assertEqual(len(agent.get(self.PATHS[0]).json), 5)
        other.servers[0].kill()
        eventually(lambda: agent.get(self.PATHS[0]).headers[AGE] is not None, "with its age")
        self.assertEqual(len(agent.get(self.PATHS[0]).json), 5)
        self.assertEqual(len(agent.resolve("web.service.dc2.consul", tcp=True).data("A")), 5)

    def subscribed(self, agent, name, count):
        agent.get("/v1/health/service/" + name)

        def look():
            reply = agent.get("/v1/health/service/%s?stale" % name)
            return reply.headers[AGE] is not None and len(reply.json) == count
        eventually(look, "answered from rows of its own")

    def test_what_was_looked_up_is_answered_without_servers(self):
        group = self.group(1, "dc1")
        self.fill(group.servers[0])
        agent = self.client(group)
        agent.must_put("/v1/agent/service/register", web("own"))
        self.subscribed(agent, "web", 5)
        self.assertEqual(len(agent.resolve("web.service.consul", tcp=True).data("A")), 5)
        # Changes are pushed.
        group.servers[0].must_put("/v1/catalog/deregister", {"Node": "n0"})
        self.subscribed(agent, "web", 4)
        cached = agent.get("/v1/health/service/web?cached")
        self.assertEqual(cached.headers["X-Cache"], "HIT")
        # Default reads go to a server while there is one.
        self.assertIsNone(agent.get("/v1/health/service/web").headers[AGE])
        group.servers[0].kill()
        eventually(lambda: agent.get("/v1/health/service/web").headers[AGE] is not None,
                   "default reads, too")
        reply = agent.get("/v1/health/service/web")
        self.assertEqual((reply.status, len(reply.json)), (200, 4))
        self.assertEqual(reply.headers["X-Consul-KnownLeader"], "false")
        self.assertEqual(len(agent.resolve("web.service.consul", tcp=True).data("A")), 4)
        self.assertEqual(agent.resolve("own.service.consul").data("A"), [agent.ip])
        self.assertEqual(agent.get("/v1/health/service/never").status, 500)
        # Its own ones always, whether they were looked up or not.
        for path in ("/v1/health/service/own?passing", "/v1/catalog/service/own"):
            reply = agent.get(path)
            self.assertEqual((reply.status, len(reply.json), reply.index), (200, 1, 1))
            self.assertEqual(reply.headers["X-Consul-KnownLeader"], "false")
        self.assertEqual(agent.get("/v1/health/service/own?index=1").status, 500)
        self.assertEqual(agent.get("/v1/health/service/own?consistent").status, 500)
        target = agent.resolve("web.service.consul", "SRV", tcp=True).data("SRV")[0][3]
        self.assertEqual(len(agent.resolve(target).data("A")), 1)  # what SRV names is found
        # Back again: the stream goes on.
        group.servers[0].spawn()
        group.whole()
        self.fill(group.servers[0])
        self.subscribed(agent, "web", 5)

    def test_without_servers_it_goes_by_what_it_knows_itself(self):
        """Its own services, and which hosts of its pool are there."""
        group = self.group(1, "dc1")
        agents = [self.client(group, name="agent%d" % i) for i in range(1, 5)]
        asked, dies, leaves, _ = agents
        for agent in agents:
            agent.must_put("/v1/agent/service/register", dict(web("web"), ID="web-" + agent.name))
            agent.must_put("/v1/agent/service/register", web("only-" + agent.name))
        self.subscribed(asked, "web", 4)
        self.subscribed(asked, "only-" + dies.name, 1)
        group.servers[0].kill()

        def shown(ids):
            reply = asked.get("/v1/health/service/web?passing")
            found = sorted(row["Service"]["ID"] for row in reply.json or [])
            answer = asked.resolve("web.service.consul", tcp=True)
            return reply.headers[AGE] is not None and found == sorted(ids) and \
                sorted(set(answer.data("A"))) == sorted(
                    {agent.ip for agent in agents if any(agent.name in i for i in ids)})

        eventually(lambda: shown(["web-" + agent.name for agent in agents]), "all are there")
        asked.must_put("/v1/agent/service/register", dict(web("web"), ID="more-agent1"))
        eventually(lambda: shown(["more-agent1"] + ["web-" + a.name for a in agents]), "its new one")
        asked.must_put("/v1/agent/service/deregister/web-agent1")
        eventually(lambda: shown(["more-agent1"] + ["web-" + a.name for a in agents[1:]]), "gone")
        asked.must_put("/v1/agent/check/fail/service:more-agent1")
        eventually(lambda: shown(["web-" + a.name for a in agents[1:]]), "its check fails")
        asked.must_put("/v1/agent/check/pass/service:more-agent1")
        dies.kill()
        eventually(lambda: shown(["more-agent1", "web-agent3", "web-agent4"]), "who died is not")
        # A name that nobody else has stays: it may be this agent that is cut off.
        self.assertEqual(asked.resolve("only-agent2.service.consul").data("A"), [dies.ip])
        leaves.must_put("/v1/agent/leave")
        eventually(lambda: shown(["more-agent1", "web-agent4"]), "nor is who left")
        dies.config["retry_join"] = [asked.ip]
        dies.spawn()
        eventually(lambda: shown(["more-agent1", "web-agent2", "web-agent4"]), "it is back")
        group.servers[0].spawn()
        group.whole()
        eventually(lambda: asked.get("/v1/health/service/web").headers[AGE] is None, "a server is")
        for agent in (group.servers[0], asked):
            eventually(lambda: agent.passing("web") == ["more-agent1", "web-agent2", "web-agent4"],
                       "the same")
        self.subscribed(asked, "web", 3)

    def test_who_waits_behind_a_corrected_answer_hears_of_the_servers(self):
        """Whose rows have not changed at all."""
        group = self.group(1, "dc1")
        asked, dies, _ = [self.client(group, name="agent%d" % i) for i in (1, 2, 3)]
        for agent in (asked, dies):
            agent.must_put("/v1/agent/service/register", web("web"))
        self.subscribed(asked, "web", 2)
        path = "/v1/health/service/web?passing"
        group.servers[0].kill()
        dies.kill()
        eventually(lambda: len(asked.get(path).json or []) == 1, "who died is left out")
        index = asked.get(path).index
        self.assertEqual(asked.get(path + "&index=%d&wait=60s" % index).status, 500)
        dies.spawn()
        group.servers[0].spawn()
        group.whole()
        eventually(lambda: asked.get("/v1/health/service/web").headers[AGE] is None, "a server is")
        with asked.client(timeout=20) as waiting:  # and not once its time is over
            reply = waiting.request("GET", path + "&index=%d&wait=60s" % index)
        self.assertEqual((len(reply.json), reply.index > index), (2, True))

    def test_what_nobody_asks_for_is_forgotten(self):
        group = self.group(1, "dc1")
        self.fill(group.servers[0])
        agent = self.client(group, config={"mirror": {"idle_time": "1s"}})
        self.subscribed(agent, "web", 5)
        eventually(lambda: gauge(agent, "service_instances", "dc1") == 0, "it is forgotten")
        self.subscribed(agent, "web", 5)

    def test_without_servers_nothing_is_forgotten(self):
        group = self.group(1, "dc1")
        self.fill(group.servers[0])
        self.fill(group.servers[0], name="other")
        agent = self.client(group, config={"mirror": {"idle_time": "4s"}})
        self.subscribed(agent, "web", 5)
        self.subscribed(agent, "other", 5)
        group.servers[0].kill()

        def age_ms():
            return int(agent.get("/v1/health/service/other").headers[AGE] or 0)
        eventually(lambda: age_ms() > 12000, "there was time to forget the one that nobody asks for")
        self.assertEqual(len(agent.get("/v1/health/service/web").json), 5)


if __name__ == "__main__":
    unittest.main()
