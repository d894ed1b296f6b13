"""TTL checks: what a service says about itself, and what becomes of it when it falls silent."""

import json
import os
import time

from cairn import AgentTest, Agent, eventually


class Ttl(AgentTest):
    def register(self, name, ttl="10m", **fields):
        self.agent.must_put("/v1/agent/check/register", dict({"Name": name, "TTL": ttl}, **fields))

    def check(self, name):
        return self.agent.get("/v1/agent/checks").json[name]

    def in_catalog(self, name):
        return next(c for c in self.agent.get("/v1/health/node/n1").json if c["CheckID"] == name)

    def seen(self, name):
        """Status and output, the same at the agent and in the catalog."""
        local, remote = self.check(name), self.in_catalog(name)
        self.assertEqual((remote["Status"], remote["Output"]), (local["Status"], local["Output"]))
        return local["Status"], local["Output"]

    def test_updates(self):
        self.register("told")
        self.assertEqual(self.seen("told"), ("critical", ""))
        for path, body, status, output in (
                ("pass/told?note=fine", None, "passing", "fine"),
                ("warn/told?note=hm%20hm", None, "warning", "hm hm"),
                ("fail/told?note=broken", None, "critical", "broken"),
                ("pass/told", None, "passing", ""),
                ("update/told", {"Status": "warning", "Output": "x\ny"}, "warning", "x\ny"),
                ("update/told", {"Status": "passing"}, "passing", ""),
                ("update/told", {"Status": "critical", "Output": "z"}, "critical", "z")):
            reply = self.agent.put("/v1/agent/check/" + path, body)
            self.assertEqual((reply.status, reply.body), (200, b""))
            self.assertEqual(self.check("told")["Status"], status)
            self.assertEqual(self.check("told")["Output"], output)
            self.assertEqual(self.in_catalog("told")["Status"], status)
        self.assertEqual(self.seen("told"), ("critical", "z"))

    def within(self, name, ttl_s, path):
        """Says a word and looks, again if a busy machine let the TTL pass in between."""
        def heard():
            start = time.monotonic()
            self.agent.must_put("/v1/agent/check/" + path)
            status = self.check(name)["Status"]
            if time.monotonic() - start < ttl_s:
                self.assertEqual(status, "passing")
                return True
            return False
        eventually(heard, "a look within the TTL")

    def test_refusals(self):
        self.register("refused")
        self.agent.must_put("/v1/agent/check/register", {
            "Name": "active", "TCP": "127.0.0.1:1", "Interval": "10m"})
        unknown = ('Unknown check ID "nobody". Ensure that the check ID is passed, not the check '
                   'name.')
        no_ttl = 'CheckID "active" does not have associated TTL'
        for path, body, status, text in (
                ("pass/nobody", None, 404, unknown), ("warn/nobody", None, 404, unknown),
                ("fail/nobody", None, 404, unknown),
                ("update/nobody", {"Status": "passing"}, 404, unknown),
                ("pass/active", None, 500, no_ttl), ("warn/active", None, 500, no_ttl),
                ("fail/active", None, 500, no_ttl),
                ("update/active", {"Status": "passing"}, 500, no_ttl),
                ("update/refused", {"Status": "fine"}, 400, "Invalid check status: 'fine'"),
                ("update/nobody", {"Status": "fine"}, 400, "Invalid check status: 'fine'"),
                ("update/refused", {}, 400, "Invalid check status: ''"),
                ("update/refused", b"", 400, "Request decode failed: EOF"),
                ("update/refused", {"Status": 1}, 400, None),
                ("update/refused", {"Nope": 1}, 400,
                 'Request decode failed: json: unknown field "Nope"')):
            with self.subTest(path=path, body=body):
                reply = self.agent.put("/v1/agent/check/" + path, body)
                self.assertEqual(reply.status, status)
                if text is not None:
                    self.assertEqual(reply.text, text)
        self.assertEqual(self.seen("refused"), ("critical", ""))

    def test_expiry(self):
        self.register("silent", ttl="1s", Status="passing")
        self.register("spoke", ttl="1s")
        self.agent.must_put("/v1/agent/check/pass/spoke?note=last%20words")
        self.agent.must_put("/v1/agent/service/register", {
            "Name": "svc", "Check": {"TTL": "1s", "Status": "passing"}})
        eventually(lambda: self.in_catalog("spoke")["Status"] == "critical", "the TTL expires")
        self.assertEqual(self.seen("spoke"), (
            "critical", "TTL expired (last output before timeout follows): last words"))
        eventually(lambda: self.in_catalog("silent")["Status"] == "critical", "the TTL expires")
        self.assertEqual(self.seen("silent"), ("critical", "TTL expired"))
        eventually(lambda: self.agent.resolve("svc.service.consul").rcode == 3, "it left DNS")
        # One word brings it back.
        self.within("spoke", 1.0, "pass/spoke?note=again")
        eventually(lambda: self.check("spoke")["Status"] == "critical", "the TTL expires again")

    def test_updates_keep_it_alive(self):
        self.register("kept", ttl="1s", Status="passing")
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            self.within("kept", 1.0, "pass/kept")
            time.sleep(0.1)  # the pace of the service, not a wait for the agent

    def test_long_notes_are_cut(self):
        self.register("long")
        self.agent.must_put("/v1/agent/check/update/long", {"Status": "passing",
                                                            "Output": "x" * 5000})
        self.assertEqual(self.check("long")["Output"],
                         "x" * 4096 + " ... (captured 4096 of 5000 bytes)")
        self.agent.must_put("/v1/agent/check/update/long", {"Status": "passing",
                                                            "Output": "y" * 4096})
        self.assertEqual(self.check("long")["Output"], "y" * 4096)


class TtlOverRestart(AgentTest):
    @classmethod
    def tearDownClass(cls):
        pass  # every test has an agent of its own

    @classmethod
    def setUpClass(cls):
        pass

    def states(self, agent):
        """What is kept on disk about the checks, by check."""
        found = {}
        folder = os.path.join(agent.data_dir, "checks", "state")
        for name in os.listdir(folder):
            try:
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    file.readline()  # the checksum
                    state = json.load(file)
            except (OSError, ValueError):
                continue  # it is being written
            found[state["CheckID"]] = (state["Status"], state["Output"])
        return found

    def test_state_survives_kill(self):
        agent = Agent()
        self.addCleanup(agent.discard)
        agent.start()
        for name, ttl in (("lasts", "10m"), ("short", "2s"), ("failed", "10m"), ("fresh", "10m")):
            agent.must_put("/v1/agent/service/register", {
                "Name": name, "Check": {"CheckID": name, "TTL": ttl, "Status": "warning"}})
        agent.must_put("/v1/agent/check/pass/lasts?note=so%20far")
        agent.must_put("/v1/agent/check/fail/failed?note=no")
        expected = {"lasts": ("passing", "so far"), "failed": ("critical", "no")}
        eventually(lambda: expected.items() <= self.states(agent).items(), "the states are kept")
        start = time.monotonic()

        def brief():
            nonlocal start
            if time.monotonic() - start > 1.5 or self.states(agent).get("short") is None:
                start = time.monotonic()
                agent.must_put("/v1/agent/check/pass/short?note=brief")
            return self.states(agent).get("short") == ("passing", "brief")
        eventually(brief, "what is said is kept before it expires")
        agent.kill()
        while time.monotonic() < start + 2.5:  # the clock that the TTL is about
            time.sleep(0.05)
        agent.start()
        checks = agent.get("/v1/agent/checks").json
        self.assertEqual({name: (c["Status"], c["Output"]) for name, c in checks.items()
                          if name in ("lasts", "failed")},
                         {"lasts": ("passing", "so far"), "failed": ("critical", "no")})
        eventually(lambda: agent.get("/v1/agent/checks").json["short"]["Status"] == "critical",
                   "what expired meanwhile is critical")
        eventually(lambda: agent.passing("lasts") == ["lasts"], "the catalog agrees")
        eventually(lambda: agent.passing("short") == [], "the catalog agrees")
        # The time that was left goes on: the agent's end gives no fresh one.

        def again():
            agent.must_put("/v1/agent/check/pass/short?note=again")
            return agent.passing("short") == ["short"]
        eventually(again, "one word brings it back")
        eventually(lambda: agent.passing("short") == [], "the TTL is counted after the restart")
        agent.stop()
