"""Sessions: their answers, what ends them, their time, and the locks that go with them."""

import json
import time
import unittest

from cairn import AgentTest, eventually
from test_kv import KvTest


class SessionTest(KvTest):
    config = {"session_ttl_min": "1s"}

    def create(self, **fields):
        reply = self.agent.must_put("/v1/session/create", fields or None)
        return reply.json["ID"]

    def info(self, session):
        return self.agent.get("/v1/session/info/" + session).json

    def destroy(self, session):
        self.assertEqual(self.agent.must_put("/v1/session/destroy/" + session).text, "true")


class Answers(SessionTest):
    def test_life(self):
        session = self.create()
        reply = self.agent.get("/v1/session/info/" + session.upper())
        index = reply.json[0]["CreateIndex"]
        self.assertEqual(reply.text, (
            '[{"ID":"%s","Name":"","Node":"n1","LockDelay":15000000000,"Behavior":"release",'
            '"TTL":"","NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":%d,'
            '"ModifyIndex":%d}]' % (session, index, index)))
        self.assertEqual(reply.index, index)
        self.assertEqual(self.agent.get("/v1/session/node/N1").json,
                         self.agent.get("/v1/session/list").json)
        renewed = self.agent.put("/v1/session/renew/" + session)
        self.assertEqual(renewed.text, reply.text)
        self.assertNotIn("X-Consul-Index", renewed.headers)
        self.destroy(session)
        self.destroy(session)
        self.assertEqual(self.info(session), [])
        reply = self.agent.put("/v1/session/renew/" + session)
        self.assertEqual((reply.status, reply.text),
                         (404, "Session id '%s' not found" % session))
        self.assertEqual(self.agent.get("/v1/session/node/none").json, [])

    def test_fields(self):
        cases = [
            ({"LockDelay": "10ms"}, {"LockDelay": 10000000}),
            ({"LockDelay": 5}, {"LockDelay": 5000000000}),
            ({"LockDelay": "0s"}, {"LockDelay": 0}),
            ({"LockDelay": 1500000000}, {"LockDelay": 1500000000}),
            ({"TTL": "90s"}, {"TTL": "90s"}),
            ({"Behavior": ""}, {"Behavior": "release"}),
            ({"NodeChecks": []}, {"NodeChecks": []}),
            ({"Checks": []}, {"NodeChecks": []}),
            ({"Checks": None}, {"NodeChecks": []}),
            ({"NodeChecks": None}, {"NodeChecks": None}),
            ({"ServiceChecks": []}, {"ServiceChecks": []}),
            ({"Unknown": 1}, {"Name": ""}),
        ]
        for given, expected in cases:
            session = self.create(**given)
            shown = self.info(session)[0]
            self.assertEqual({key: shown[key] for key in expected}, expected, given)
            self.destroy(session)

    def test_refusals(self):
        cases = [
            ({"Behavior": "x"}, 500, "Invalid Behavior setting 'x'"),
            ({"Node": ""}, 500, "Must provide Node"),
            ({"Node": "none"}, 500, "apply failed: Missing node registration"),
            ({"TTL": "10z"}, 500, 'Session TTL \'10z\' invalid: time: unknown unit "z" in duration '
                                  '"10z"'),
            ({"TTL": "10"}, 500, 'Session TTL \'10\' invalid: time: missing unit in duration "10"'),
            ({"TTL": "500ms"}, 500,
             "Invalid Session TTL '500000000', must be between [1s=24h0m0s]"),
            ({"Checks": ["none"]}, 500, "apply failed: Missing check 'none' registration"),
        ]
        for body, status, text in cases:
            reply = self.agent.put("/v1/session/create", body)
            self.assertEqual((reply.status, reply.text), (status, text), body)
        reply = self.agent.put("/v1/session/create", "{nonsense")
        self.assertEqual(reply.status, 400)
        self.assertTrue(reply.text.startswith("Request decode failed: "), reply)
        for path in ("info", "destroy", "renew"):
            method = "GET" if path == "info" else "PUT"
            reply = self.agent.request(method, "/v1/session/%s/" % path)
            self.assertEqual((reply.status, reply.text), (400, "Missing session"))
        reply = self.agent.get("/v1/session/node/")
        self.assertEqual((reply.status, reply.text), (400, "Missing node name"))

    def test_blocking(self):
        session = self.create()
        from test_blocking import Parked
        index = self.agent.get("/v1/session/info/" + session).index
        parked = Parked(self.agent, "/v1/session/info/" + session, index)
        self.addCleanup(parked.close)
        other = self.create()
        self.assertFalse(parked.told())
        self.destroy(session)
        reply = parked.reply()
        self.assertEqual((reply.status, reply.json), (200, []))
        self.assertGreater(reply.index, index)
        self.destroy(other)


class Locks(SessionTest):
    def test_lock(self):
        a, b = self.create(LockDelay="0s"), self.create()
        self.assertIs(self.put("lock", "1", "?acquire=" + a), True)
        self.assertIs(self.put("lock", "1", "?acquire=" + b), False)
        entry = self.get("lock").json[0]
        self.assertEqual((entry["Session"], entry["LockIndex"]), (a, 1))
        # Each grant tells an index that grows, whatever was done to the key in between.
        again = self.agent.put("/v1/kv/lock?acquire=" + a, "2")
        fence = int(again.headers["X-Cairn-Fencing-Index"])
        self.assertEqual(fence, self.get("lock").json[0]["ModifyIndex"])
        self.assertNotIn("X-Cairn-Fencing-Index", self.agent.put("/v1/kv/lock?acquire=" + b).headers)
        parked = self.park("lock")
        self.destroy(a)
        entry = parked.reply().json[0]
        self.assertNotIn("Session", entry)
        granted = self.agent.put("/v1/kv/lock?acquire=" + b, "1")
        self.assertEqual(granted.json, True)
        self.assertGreater(int(granted.headers["X-Cairn-Fencing-Index"]), fence)
        self.assertIs(self.put("lock", "1", "?release=" + a), False)
        self.assertIs(self.put("lock", "1", "?release=" + b), True)
        self.assertEqual(self.get("lock").json[0]["LockIndex"], 2)
        self.destroy(b)

    def test_delay(self):
        a, b = self.create(LockDelay="3s"), self.create()
        self.assertIs(self.put("delayed", "1", "?acquire=" + a), True)
        ended = time.monotonic()
        self.destroy(a)
        self.assertIs(self.put("delayed", "2", "?acquire=" + b), False)
        self.assertIs(self.put("delayed", "plain"), True)
        eventually(lambda: self.put("delayed", "2", "?acquire=" + b), "the delay is over")
        self.assertGreaterEqual(time.monotonic() - ended, 3)
        self.destroy(b)

    def test_delay_survives_a_restart(self):
        agent = self.new_agent({"session_ttl_min": "1s"})
        agent.start()
        a = agent.must_put("/v1/session/create", {"LockDelay": "2s"}).json["ID"]
        agent.must_put("/v1/kv/k?acquire=" + a, "x")
        agent.must_put("/v1/session/destroy/" + a)
        agent.kill()
        agent.start()
        started = time.monotonic()
        b = agent.must_put("/v1/session/create", None).json["ID"]
        held = agent.put("/v1/kv/k?acquire=" + b, "x").json
        if time.monotonic() - started < 0.5:
            self.assertEqual(held, False)
        eventually(lambda: agent.put("/v1/kv/k?acquire=" + b, "x").json, "the delay is over")
        agent.stop()

    def test_behavior_delete(self):
        a = self.create(Behavior="delete", LockDelay="0s")
        self.put("gone/a", "1", "?acquire=" + a)
        parked = self.park("gone/", "?recurse")
        self.destroy(a)
        reply = parked.reply()
        self.assertEqual((reply.status, reply.body), (404, b""))
        self.assertGreater(reply.index, parked.index)


class Ends(SessionTest):
    def test_checks(self):
        self.agent.must_put("/v1/agent/check/register", {
            "Name": "alive", "TTL": "1h", "Status": "passing"})
        def session():
            reply = self.agent.put("/v1/session/create",
                                   {"Checks": ["alive"], "LockDelay": "0s"})
            return reply.json["ID"] if reply.status == 200 else None
        first = eventually(session, "the check is in the catalog")
        self.put("checked", "1", "?acquire=" + first)
        self.agent.must_put("/v1/agent/check/fail/alive")
        eventually(lambda: self.info(first) == [], "a critical check ends it")
        self.assertNotIn("Session", self.get("checked").json[0])
        reply = self.agent.put("/v1/session/create", {"Checks": ["alive"]})
        self.assertEqual((reply.status, reply.text),
                         (500, "apply failed: Check 'alive' is in critical state"))
        self.agent.must_put("/v1/agent/check/pass/alive")
        second = eventually(session, "it passes again")
        self.agent.must_put("/v1/agent/check/deregister/alive")
        eventually(lambda: self.info(second) == [], "a removed check ends it")

    def test_node_and_service(self):
        self.agent.must_put("/v1/catalog/register", {
            "Node": "m", "Address": "192.0.2.7", "Service": {"Service": "web"},
            "Check": {"CheckID": "w", "Name": "w", "Status": "passing", "ServiceID": "web"}})
        a = self.create(Node="m", NodeChecks=[], ServiceChecks=[{"ID": "w"}])
        b = self.create(Node="m", NodeChecks=[])
        self.assertEqual(len(self.agent.get("/v1/session/node/m").json), 2)
        self.agent.must_put("/v1/catalog/deregister", {"Node": "m", "ServiceID": "web"})
        self.assertEqual(self.info(a), [])
        self.assertEqual(len(self.info(b)), 1)
        self.agent.must_put("/v1/catalog/deregister", {"Node": "m"})
        self.assertEqual(self.info(b), [])


class Ttl(SessionTest):
    def test_expiry(self):
        begun = time.monotonic()
        session = self.create(TTL="3s", LockDelay="0s")
        self.put("ttl", "1", "?acquire=" + session)
        parked = self.park("ttl")
        reply = parked.reply()
        self.assertGreaterEqual(time.monotonic() - begun, 3)
        self.assertNotIn("Session", reply.json[0])
        self.assertEqual(self.info(session), [])

    def test_renewal(self):
        session = self.create(TTL="3s")
        for _ in range(10):
            begun = time.monotonic()
            self.agent.must_put("/v1/session/renew/" + session)
            eventually(lambda: time.monotonic() - begun > 0.4, "time goes by")
        eventually(lambda: self.info(session) == [], "it ends when nobody renews it")
        self.assertGreaterEqual(time.monotonic() - begun, 3)

    def test_restart_gives_the_whole_time(self):
        agent = self.new_agent({"session_ttl_min": "1s"})
        agent.start()
        session = agent.must_put("/v1/session/create", {"TTL": "6s"}).json["ID"]
        agent.kill()
        agent.start()
        self.assertEqual(len(agent.get("/v1/session/info/" + session).json), 1)
        eventually(lambda: agent.get("/v1/session/info/" + session).json == [], "it ends")
        agent.stop()

    def test_many_at_once(self):
        """1,000 end in a second; what writes meanwhile is answered, and every lock is free."""
        with self.agent.client() as client:
            sessions = []
            for i in range(1000):
                session = client.put("/v1/session/create", {"TTL": "3s", "LockDelay": "0s",
                                                            "NodeChecks": []}).json["ID"]
                client.put("/v1/kv/many/%d?acquire=%s" % (i, session), "x")
                sessions.append(session)
            for session in sessions:
                client.put("/v1/session/renew/" + session)
            longest = 0

            def over():
                nonlocal longest
                begun = time.monotonic()
                client.put("/v1/kv/meanwhile", str(begun))
                longest = max(longest, time.monotonic() - begun)
                return client.get("/v1/session/list").json == []
            eventually(over, "all have ended")
            print("longest write while 1,000 sessions ended: %.1f ms" % (longest * 1000))
            rows = client.get("/v1/kv/many/?recurse").json
        self.assertEqual(len(rows), 1000)
        self.assertFalse([row for row in rows if "Session" in row])


if __name__ == "__main__":
    unittest.main()
