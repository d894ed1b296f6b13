"""Prepared queries through the agent: HTTP and DNS, what a restart keeps, what ends with a session."""

import unittest

from cairn import AgentTest, eventually
from test_blocking import Parked

DEFINITION = {"Name": "web", "Service": {"Service": "web"}, "DNS": {"TTL": "5s"}}


class Query(AgentTest):
    def make(self, **definition):
        reply = self.agent.request("POST", "/v1/query", definition)
        self.assertEqual(reply.status, 200, reply)
        query = reply.json["ID"]
        self.addCleanup(self.agent.request, "DELETE", "/v1/query/" + query)
        return query

    def nodes(self, path):
        reply = self.agent.get(path)
        self.assertEqual(reply.status, 200, reply)
        return [row["Node"]["Node"] for row in reply.json["Nodes"]]

    def instance(self, node, status="passing", service="web", **fields):
        self.agent.register(service, ID=node, node=node, **fields)
        self.agent.must_put("/v1/catalog/register", {
            "Node": node, "SkipNodeUpdate": True,
            "Check": {"CheckID": node, "Name": node, "Status": status, "ServiceID": node}})
        self.addCleanup(self.agent.deregister, node, node)

    def test_http(self):
        for number in range(3):
            self.instance("q%d" % number, address="10.1.0.%d" % (number + 1))
        self.instance("bad", "critical", address="10.1.0.9")
        query = self.make(**DEFINITION)
        self.assertEqual(sorted(self.nodes("/v1/query/web/execute")), ["q0", "q1", "q2"])
        orders = {tuple(self.nodes("/v1/query/%s/execute" % query)) for _ in range(200)}
        self.assertEqual(len(orders), 6)  # in random order, never from what is kept
        self.assertEqual(len(self.nodes("/v1/query/web/execute?limit=2")), 2)
        self.assertEqual(self.nodes("/v1/query/web/execute?near=q2&limit=1"), ["q2"])
        for number in range(3):
            reply = self.agent.get("/v1/query/web/execute?near=_ip",
                                   {"X-Forwarded-For": "10.1.0.%d, 10.9.9.9" % (number + 1)})
            self.assertEqual(reply.json["Nodes"][0]["Node"]["Node"], "q%d" % number)
        # The nearest first: they are 1, 2 and 3 ms from q2.
        for node, far in (("q0", 0.003), ("q1", 0.002), ("q2", 0.0)):
            self.agent.must_put("/v1/coordinate/update", {
                "Node": node, "Coord": {"Vec": [far, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5,
                                        "Adjustment": 0, "Height": 1e-5}})
        near = "/v1/query/web/execute?near=q2"
        eventually(lambda: all(self.nodes(near) == ["q2", "q1", "q0"] for _ in range(20)),
                   "in the order of distance")
        # The same question again is answered from the catalog as it is then.
        self.agent.deregister("q1", "q1")
        self.assertEqual(sorted(self.nodes("/v1/query/web/execute")), ["q0", "q2"])
        reply = self.agent.get("/v1/query/web/execute?cached")
        self.assertEqual(reply.headers["X-Cache"], "HIT")
        # An execution is not waited for.
        self.assertEqual(len(self.nodes("/v1/query/web/execute?index=999999&wait=600s")), 2)

    def test_dns(self):
        self.instance("d1", address="10.2.0.1", service="db", Port=5432, Tags=["main"])
        self.instance("d2", "warning", address="10.2.0.2", service="db")
        query = self.make(Name="db.query", Service={"Service": "db"}, DNS={"TTL": "5s"})
        self.make(Name="t-", Template={"Type": "name_prefix_match", "Regexp": r"^t-(\w+)-(\w+)$"},
                  Service={"Service": "${match(1)}", "Tags": ["${match(2)}"]})
        for name in ("db.query.query.consul", query + ".query.dc1.consul", "DB.Query.query.cairn"):
            for tcp in (False, True):
                answer = self.agent.resolve(name, tcp=tcp)
                self.assertEqual(answer.data("A"), ["10.2.0.1", "10.2.0.2"])
                self.assertEqual({record.ttl for record in answer.answers}, {5})
        self.assertEqual(self.agent.resolve("t-db-main.query.consul").data("A"), ["10.2.0.1"])
        self.assertEqual(self.agent.resolve("t-db-none.query.consul").rcode, 3)
        self.assertEqual(self.agent.resolve("nothing.query.consul").rcode, 3)
        answer = self.agent.resolve("_db.query._tcp.query.consul", "SRV", edns=1232)
        self.assertEqual(len(answer.answers), 2)
        self.assertEqual(len(answer.additional), 2)
        first = {self.agent.resolve("db.query.query.consul").answers[0].data for _ in range(100)}
        self.assertEqual(len(first), 2)

    def test_session(self):
        session = self.agent.must_put("/v1/session/create", {"NodeChecks": []}).json["ID"]
        bound = self.make(Session=session, Service={"Service": "web"})
        stays = self.make(**dict(DEFINITION, Name="stays"))
        reply = self.agent.get("/v1/query/" + bound)
        parked = Parked(self.agent, "/v1/query", reply.index)
        self.addCleanup(parked.close)
        self.agent.must_put("/v1/session/destroy/" + session)
        told = parked.reply()
        self.assertGreater(told.index, reply.index)
        self.assertEqual([query["ID"] for query in told.json], [stays])
        self.assertEqual(self.agent.get("/v1/query/" + bound).status, 404)

    def test_a_waiter_hears_of_its_own_query_alone(self):
        mine, other = (self.make(**dict(DEFINITION, Name=name)) for name in ("mine", "other"))
        parked = Parked(self.agent, "/v1/query/" + mine, self.agent.get("/v1/query/" + mine).index)
        self.addCleanup(parked.close)
        self.agent.must_put("/v1/query/" + other, dict(DEFINITION, Name="other2"))
        self.assertFalse(parked.told())
        self.agent.must_put("/v1/query/" + mine, dict(DEFINITION, Name="mine2"))
        self.assertEqual(parked.reply().json[0]["Name"], "mine2")


class Restart(AgentTest):
    def test_what_is_kept(self):
        agent = self.new_agent()
        agent.start()
        agent.register("web")
        for number in range(50):
            definition = dict(DEFINITION, Name="q%d" % number)
            self.assertEqual(agent.request("POST", "/v1/query", definition).status, 200)
        before = agent.get("/v1/query")
        agent.kill()
        agent.start()
        after = agent.get("/v1/query")
        self.assertEqual((after.json, after.index), (before.json, before.index))
        self.assertEqual(agent.resolve("q7.query.consul").data("A"), ["192.0.2.1"])
        # A snapshot brings them to another group.
        archive = agent.get("/v1/snapshot").body
        other = self.new_agent()
        other.start()
        self.assertEqual(other.put("/v1/snapshot", archive).status, 200)
        plain = [dict(query, CreateIndex=0, ModifyIndex=0) for query in before.json]
        self.assertEqual([dict(query, CreateIndex=0, ModifyIndex=0)
                          for query in other.get("/v1/query").json], plain)
        other.stop()
        agent.stop()


if __name__ == "__main__":
    unittest.main()
