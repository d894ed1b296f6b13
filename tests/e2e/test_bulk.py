"""Agents without -server that have much to tell at once: after an outage, a reload, a registration anew.
All of it gets into the catalog, in order and without a flood of lines in the log."""
import json
import os
import signal
import unittest

from cairn import eventually
from servers import CALM, ClientAgent, Group

MANY = 9000  # with a check each: more than one connection takes at once


class Bulk(unittest.TestCase):
    def setUp(self):
        self.group = Group(1, CALM)
        self.addCleanup(self.group.discard)
        self.server = self.group.servers[0]

    def client(self, **config):
        agent = ClientAgent("agent1", self.group.servers, config=config)
        self.addCleanup(agent.discard)
        return agent

    def node(self):
        """(services, checks) of the agent in the catalog, by id, serfHealth left out."""
        services = self.server.get("/v1/catalog/node/agent1").json
        checks = self.server.get("/v1/health/node/agent1").json
        return (services["Services"] if services else {},
                {row["CheckID"]: row for row in checks if row["CheckID"] != "serfHealth"})

    def has(self, services, checks):
        found = self.node()
        return (len(found[0]), len(found[1])) == (services, checks)

    def lose_server(self, agent):
        self.server.kill()
        eventually(lambda: agent.get("/v1/catalog/nodes").status == 500, "it has no server")

    def end(self, agent):
        self.assertLess(agent.output().count("Syncing failed"), 50)
        agent.stop(code=0)

    def test_thousands_come_and_go(self):
        agent = self.client()
        path = os.path.join(agent.folder, "many.json")
        agent.args = ["-config-file=" + path]

        def define(count):
            with open(path, "w", encoding="utf-8") as file:
                json.dump({"services": [
                    {"id": "i%d" % i, "name": "many", "port": 1000 + i,
                     "check": {"ttl": "600s", "status": "passing"}} for i in range(count)]}, file)

        define(MANY)
        agent.spawn()
        eventually(lambda: "agent running" in agent.output(), "it runs")
        self.group.start()
        eventually(lambda: self.has(MANY, MANY), "all are there")
        self.lose_server(agent)
        define(0)
        agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: agent.get("/v1/agent/services").json == {}, "they are gone here")
        self.server.start()
        eventually(lambda: self.has(0, 0), "and there")
        self.end(agent)

    def test_thousands_that_the_catalog_has_beyond_it(self):
        self.group.start()
        agent = self.client().start()
        agent.kill()
        for i in range(0, MANY, 60):
            self.server.must_put("/v1/txn", [
                {"Service": {"Verb": "set", "Node": "agent1", "Service": {
                    "ID": "i%d" % j, "Service": "many", "Port": 1}}} for j in range(i, i + 60)])
        self.assertTrue(self.has(MANY, 0))
        agent.start()
        eventually(lambda: self.has(0, 0), "they are gone")
        self.end(agent)

    def test_checks_that_do_not_fit_one_entry_of_the_log(self):
        self.group.start()
        agent = self.client().start()
        self.lose_server(agent)
        for name in ("a", "b"):
            agent.must_put("/v1/agent/service/register", {"Name": name})
            for i in range(18):
                agent.must_put("/v1/agent/check/register", {
                    "Name": "c", "CheckID": name + str(i), "TTL": "600s", "Status": "passing",
                    "ServiceID": name, "Notes": "x" * 1000000})
        self.server.start()
        eventually(lambda: self.has(2, 36), "all are there")
        self.end(agent)

    def test_checks_follow_a_service_that_is_registered_anew(self):
        self.group.start()
        agent = self.client().start()
        agent.must_put("/v1/agent/service/register", {
            "ID": "i", "Name": "old", "Tags": ["x"], "Check": {"CheckID": "c", "TTL": "600s"}})
        agent.must_put("/v1/agent/service/register", {"ID": "i", "Name": "new", "Tags": ["y"]})

        def told(check):
            return check["ServiceName"], check["ServiceTags"]
        self.assertEqual(told(agent.get("/v1/agent/checks").json["c"]), ("new", ["y"]))
        eventually(lambda: told(self.node()[1]["c"]) == ("new", ["y"]), "the catalog has it")
        agent.stop(code=0)


if __name__ == "__main__":
    unittest.main()
