"""What a restart keeps, and how an agent ends."""

import http.client
import os
import re
import signal
import threading
import time
import unittest

from cairn import Agent, Client, Raw, eventually


class AgentCase(unittest.TestCase):
    def new_agent(self, *args, **how):
        agent = Agent(*args, **how)
        self.addCleanup(agent.discard)
        return agent.start()


class Restart(AgentCase):
    PATHS = ("/v1/catalog/nodes", "/v1/catalog/services", "/v1/catalog/service/ext",
             "/v1/health/service/ext", "/v1/health/state/any", "/v1/catalog/node/ext",
             "/v1/health/service/gone", "/v1/health/service/never")

    def written(self):
        agent = self.new_agent({"node_meta": {"rack": "1"}})
        agent.must_put("/v1/agent/service/register", {
            "Name": "web", "ID": "w1", "Port": 80, "Tags": ["a", "b"], "Meta": {"k": "v"},
            "Weights": {"Passing": 3, "Warning": 2}, "EnableTagOverride": True,
            "TaggedAddresses": {"wan": {"Address": "198.51.100.1", "Port": 81}},
            "Checks": [{"TTL": "10m", "Status": "passing", "Notes": "n"},
                       {"HTTP": "http://%s:%d/v1/status/leader" % agent.http_address,
                        "Interval": "1s", "CheckID": "h", "Header": {"X-A": ["1", "2"]}}]})
        agent.must_put("/v1/agent/check/register", {
            "Name": "disk", "TTL": "10m", "Status": "warning"})
        agent.must_put("/v1/catalog/register", {
            "Node": "ext", "Address": "192.0.2.1", "NodeMeta": {"a": "b"},
            "Service": {"Service": "ext", "Port": 1},
            "Check": {"CheckID": "c", "ServiceID": "ext", "Status": "passing"}})
        agent.register("gone")
        agent.deregister("gone")
        eventually(lambda: next(c for c in agent.get("/v1/health/checks/web").json
                                if c["CheckID"] == "h")["Status"] == "passing", "web is checked")
        return agent

    def test_a_registration_that_grows_when_it_is_written(self):
        """Each of these bytes is six on the disk, so the file is larger than any body."""
        agent = self.new_agent()
        address = "<" * (2 << 20)
        agent.must_put("/v1/agent/service/register", {"Name": "grown", "Address": address})
        agent.stop()
        agent.start()
        self.assertEqual(agent.get("/v1/agent/service/grown").json["Address"], address)
        agent.stop()

    def test_tags_of_the_catalog(self):
        """With EnableTagOverride a full comparison, as after a start, takes the catalog's tags."""
        agent = self.new_agent({"log_level": "DEBUG"})
        body = {"Name": "web", "EnableTagOverride": True, "Tags": ["own"], "Check": {"TTL": "10m"}}
        agent.must_put("/v1/agent/service/register", body)
        agent.must_put("/v1/catalog/register", {
            "Node": "n1", "Address": agent.ip, "SkipNodeUpdate": True,
            "Service": {"Service": "web", "EnableTagOverride": True, "Tags": ["theirs"],
                        "TaggedAddresses": {"consul-virtual": {"Address": "240.0.0.1", "Port": 1},
                                            "lan": {"Address": "192.0.2.7", "Port": 1}}}})
        agent.stop()
        agent.start()
        eventually(lambda: agent.get("/v1/agent/services").json["web"]["Tags"] == ["theirs"],
                   "the tags are taken over")
        self.assertEqual(list(agent.get("/v1/agent/services").json["web"]["TaggedAddresses"]),
                         ["consul-virtual"])
        eventually(lambda: agent.get("/v1/health/checks/web").json[0]["ServiceTags"] == ["theirs"],
                   "the check carries them")
        (row,) = agent.get("/v1/catalog/service/web").json
        self.assertEqual((row["ServiceTags"], list(row["ServiceTaggedAddresses"])),
                         (["theirs"], ["consul-virtual"]))
        agent.must_put("/v1/agent/service/register", dict(body, Tags=["mine again"]))
        (row,) = agent.get("/v1/catalog/service/web").json
        self.assertEqual(row["ServiceTags"], ["mine again"])
        eventually(lambda: "Node info in sync" in agent.output(), "what is in sync is told")
        agent.stop()

    def test_everything_is_there_again(self):
        agent = self.written()
        local = ["/v1/agent/services", "/v1/agent/checks", "/v1/health/checks/ext"]
        before = {path: agent.get(path) for path in self.PATHS}
        own = {path: agent.get(path).json for path in local}
        node_id = agent.get("/v1/agent/self").json["Config"]["NodeID"]
        for end in (agent.stop, agent.kill, agent.stop):
            end()
            agent.start()
            self.assertEqual(agent.get("/v1/agent/self").json["Config"]["NodeID"], node_id)
            for path, was in before.items():
                now = agent.get(path)
                self.assertGreaterEqual(now.index, was.index, path)
                if "state" not in path:
                    self.assertEqual(now.json, was.json, path)
            eventually(lambda: agent.get("/v1/agent/checks").json["h"]["Status"] == "passing",
                       "checks run again")
            for path, was in own.items():
                self.assertEqual(agent.get(path).json, was, path)
            # The next write has an index that none had before.
            agent.register("ext", ID="later")
            rows = agent.get("/v1/catalog/service/ext").json
            highest = max(reply.index for reply in before.values())
            later = next(r for r in rows if r["ServiceID"] == "later")
            self.assertGreater(later["CreateIndex"], highest)
            agent.deregister("later")
            self.assertGreater(agent.get("/v1/health/service/ext").index, later["CreateIndex"])
            before = {path: agent.get(path) for path in self.PATHS}
        agent.stop()

    def test_a_status_does_not_flap_through_a_restart(self):
        agent = self.written()
        agent.stop()
        agent.start()
        self.assertEqual(agent.get("/v1/health/service/ext?passing").json[0]["Service"]["Port"], 1)
        agent.stop()

    def test_a_query_of_the_life_before_goes_on(self):
        agent = self.written()
        index = agent.get("/v1/health/service/ext").index
        agent.kill()
        agent.start()
        with agent.raw() as raw:
            raw.send(b"GET /v1/health/service/ext?index=%d&wait=600s HTTP/1.1\r\nHost: x\r\n\r\n"
                     % index)
            agent.register("ext", Port=2)
            reply = raw.reply()
            self.assertEqual(reply.json[0]["Service"]["Port"], 2)
            self.assertGreater(reply.index, index)
        agent.stop()

    def test_what_was_deregistered_stays_away(self):
        agent = self.written()
        agent.must_put("/v1/agent/service/deregister/w1")
        agent.must_put("/v1/agent/check/deregister/disk")
        agent.kill()
        agent.start()
        self.assertEqual(agent.get("/v1/agent/services").json, {})
        self.assertEqual(agent.get("/v1/agent/checks").json, {})
        self.assertNotIn("web", agent.get("/v1/catalog/services").json)
        agent.stop()

    def test_a_check_without_its_service_is_dropped(self):
        """As an agent leaves it that is killed between two files of a deregistration."""
        agent = self.written()
        agent.stop()
        folder = os.path.join(agent.data_dir, "services")
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        for _ in range(2):
            agent.start()
            self.assertEqual(list(agent.get("/v1/agent/checks").json), ["disk"])
            agent.must_put("/v1/agent/service/register", {"Name": "web", "ID": "w1"})
            agent.stop()

    def test_killed_amid_registrations(self):
        """What was acknowledged is there, and no service without its check: it would pass."""
        agent, acknowledged, count = self.new_agent(), {}, 8

        def register(number, life, enough):
            for port in range(1, 60000):
                name = "%d-%d-%d" % (life, number, port - port % 2)
                acknowledged.pop(name, None)
                try:
                    with agent.client() as client:
                        if port % 4 == 3:
                            reply = client.put("/v1/agent/service/deregister/" + name)
                        else:
                            reply = client.put("/v1/agent/service/register", {
                                "Name": "s", "ID": name, "Port": port,
                                "Check": {"CheckID": "c" + name, "TTL": "600s"}})
                except (OSError, http.client.HTTPException):
                    return
                if reply.status in (200, 404):
                    acknowledged[name] = port if port % 4 != 3 else None
                if port > 20:
                    enough.set()

        for life in range(12):
            enough = threading.Event()
            threads = [threading.Thread(target=register, args=(number, life, enough))
                       for number in range(count)]
            for thread in threads:
                thread.start()
            self.assertTrue(enough.wait(120))
            agent.kill()
            for thread in threads:
                thread.join()
            agent.start()
            services = agent.get("/v1/agent/services").json
            checks = agent.get("/v1/agent/checks").json
            for name, port in acknowledged.items():
                self.assertEqual(services.get(name, {}).get("Port"), port, name)
            self.assertEqual([n for n in services if "c" + n not in checks], [])
            self.assertEqual(sorted(c["ServiceID"] for c in checks.values()), sorted(services))
        agent.stop()

    def test_the_node_id_outlives_its_file(self):
        """A group of one would have no leader ever again if its server came back as another."""
        agent = self.new_agent()
        node_id = agent.get("/v1/agent/self").json["Config"]["NodeID"]
        path = os.path.join(agent.data_dir, "node-id")
        agent.stop()
        with open(path, "w", encoding="ascii"):
            pass  # empty, as a kill at a bad moment might leave it
        agent.start()
        self.assertEqual(agent.get("/v1/agent/self").json["Config"]["NodeID"], node_id)
        agent.stop()
        os.unlink(path)
        agent.start()
        self.assertEqual(agent.get("/v1/agent/self").json["Config"]["NodeID"], node_id)
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read().strip(), node_id)
        agent.stop()

    def test_anti_entropy(self):
        """The catalog follows the agent: what it lost comes back, what the agent lost goes."""
        agent = self.written()
        agent.must_put("/v1/catalog/register", {
            "Node": "n1", "SkipNodeUpdate": True, "Service": {"Service": "intruder"}})
        agent.must_put("/v1/catalog/deregister", {"Node": "n1", "ServiceID": "w1"})
        agent.stop()
        agent.start()
        eventually(lambda: set(agent.get("/v1/catalog/node/n1").json["Services"])
                   == {"consul", "w1"}, "the catalog holds what the agent does")
        eventually(lambda: len(agent.get("/v1/health/checks/web").json) == 2, "checks as well")
        agent.stop()


    def test_a_damaged_registration(self):
        """A flipped bit in a kept file is told, never served; what the catalog has stays."""
        agent = self.new_agent()
        agent.must_put("/v1/agent/service/register", {"Name": "whole", "Port": 8080})
        agent.kill()
        folder = os.path.join(agent.data_dir, "services")
        path, = (os.path.join(folder, name) for name in os.listdir(folder))
        with open(path, "r+b") as file:
            data = file.read()
            file.seek(data.index(b"8080") + 3)
            file.write(b"1")
        agent.start()
        self.assertEqual(agent.get("/v1/agent/services").json, {})
        eventually(lambda: "its checksum is wrong" in agent.output(), "the damage is told")
        row, = agent.get("/v1/catalog/service/whole").json
        self.assertEqual(row["ServicePort"], 8080)

    def test_its_own_rows_come_back(self):
        agent = self.new_agent()
        agent.must_put("/v1/catalog/deregister", {"Node": "n1"})
        agent.must_put("/v1/catalog/register", {"Node": "n1", "Address": "192.0.2.1"})
        agent.kill()
        agent.start()
        eventually(lambda: len(agent.get("/v1/catalog/service/consul").json) == 1, "consul is back")
        node = agent.get("/v1/catalog/node/n1").json
        self.assertNotEqual(node["Node"]["Address"], "192.0.2.1")
        self.assertIn("serfHealth",
                      [c["CheckID"] for c in agent.get("/v1/health/node/n1").json])

    def test_ids_that_differ_in_case(self):
        """They share a row of the catalog: when one goes, the other shows again."""
        agent = self.new_agent()
        agent.must_put("/v1/agent/service/register", {"Name": "twin", "ID": "Twin", "Port": 1})
        agent.must_put("/v1/agent/service/register", {"Name": "twin", "ID": "twin", "Port": 2})
        agent.must_put("/v1/agent/service/deregister/Twin")
        eventually(lambda: [s["ServicePort"] for s in agent.get("/v1/catalog/service/twin").json]
                   == [2], "the other is in the catalog")

class End(AgentCase):
    def busy(self, agent):
        """Every kind of connection that a server may have when it is told to stop."""
        self.assertEqual(agent.get("/v1/status/leader").status, 200)
        idle = [Raw(agent.http_address) for _ in range(10)]
        begun = [Raw(agent.http_address) for _ in range(10)]
        parked = [Raw(agent.http_address) for _ in range(50)]
        tcp = [Raw(agent.dns_address) for _ in range(10)]
        index = agent.get("/v1/catalog/services").index
        for raw in begun:
            raw.send(b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        for raw in parked:
            raw.send(b"GET /v1/catalog/services?index=%d HTTP/1.1\r\nHost: x\r\n\r\n" % index)
        for raw in tcp[:5]:
            raw.send(b"\0")
        for raw in idle + begun + parked + tcp:
            self.addCleanup(raw.close)
        # A thread answers in the order of arrival: those above have been read.
        self.assertEqual(agent.get("/v1/status/leader").status, 200)
        return idle + begun + parked + tcp

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number):
                agent = self.new_agent()
                agent.register("kept")
                raws = self.busy(agent)
                agent.stop(number, code=1)
                self.assertTrue(all(raw.closed() for raw in raws))
                out = agent.printed("stdout").decode()
                for text in ("Graceful shutdown disabled. Exiting", "Requesting shutdown",
                             "shutdown complete", "Exit code: code=1"):
                    self.assertIn(text, out)
                self.assertNotIn("hang", out)
                self.assertEqual(agent.printed("stderr"), b"")
                agent.start()
                self.assertEqual(len(agent.get("/v1/catalog/service/kept").json), 1)
                agent.stop()

    def test_leave(self):
        agent = self.new_agent()
        self.busy(agent)
        reply = agent.put("/v1/agent/leave")
        self.assertEqual((reply.status, reply.body), (200, b""))
        agent.ended(0)
        self.assertNotIn("hang", agent.printed("stdout").decode())
        agent.start()  # its place is kept
        agent.stop()

    def test_writes_at_the_end(self):
        """Every write in flight is either answered or known to be unanswered, and none hangs."""
        agent = self.new_agent()
        done, failures = [], []

        def write(number):
            try:
                with Client(agent.http_address) as client:
                    for i in range(10 ** 6):
                        reply = client.put("/v1/catalog/register", {
                            "Node": "ext-%d" % number, "Address": "192.0.2.1",
                            "Service": {"Service": "s", "ID": "s-%d" % i}})
                        if reply.status == 200:
                            done.append((number, i))
                        elif reply.status != 500:
                            failures.append(reply)
            except OSError:
                pass
            except Exception as error:  # pylint: disable=broad-except
                if "Disconnected" not in type(error).__name__ and "Incomplete" not in \
                        type(error).__name__:
                    failures.append(error)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(done) > 50, "writes are answered")
        agent.stop()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        agent.start()
        found = {(r["Node"], r["ServiceID"]) for r in agent.get("/v1/catalog/service/s").json}
        lost = [d for d in done if ("ext-%d" % d[0], "s-%d" % d[1]) not in found]
        self.assertEqual(lost, [])
        agent.stop()

    def test_reads_at_the_end(self):
        """Connections that are open go on asking until the very end."""
        agent = self.new_agent()
        answered = []

        def read(path):
            try:
                with Client(agent.http_address) as client:
                    while True:
                        answered.append(client.get(path).status)
            except (OSError, http.client.HTTPException):
                pass

        paths = ("/v1/agent/self", "/v1/health/service/consul", "/v1/status/leader",
                 "/v1/catalog/nodes?consistent")
        for _ in range(3):
            threads = [threading.Thread(target=read, args=(path,)) for path in paths * 2]
            for thread in threads:
                thread.start()
            count = len(answered)
            eventually(lambda: len(answered) > count + 50, "reads are answered")
            agent.stop()
            for thread in threads:
                thread.join()
            agent.start()
        agent.stop()
        self.assertEqual(set(answered) - {200, 500}, set())

    def test_signals_that_do_not_end_it(self):
        agent = self.new_agent()
        pid = agent.get("/v1/agent/self").json["Config"]["NodeID"]
        for number in (signal.SIGPIPE, signal.SIGHUP):
            agent.process.send_signal(number)
        eventually(lambda: b"Configuration reloaded" in agent.printed("stdout"),
                   "SIGHUP is answered in the log")
        self.assertEqual(agent.get("/v1/agent/self").json["Config"]["NodeID"], pid)
        agent.stop()

    def test_a_signal_while_it_starts(self):
        for _ in range(10):
            agent = Agent()
            self.addCleanup(agent.discard)
            agent.spawn()
            eventually(lambda: agent.printed("stdout") or agent.process.poll() is not None,
                       "the first line is out")
            time.sleep(0.002)
            agent.process.send_signal(signal.SIGTERM)
            self.assertIn(agent.wait(), (1, -signal.SIGTERM))
            agent.check_output()

    def test_log_lines(self):
        agent = self.new_agent()
        agent.must_put("/v1/agent/service/register", {"Name": "logged"})
        agent.stop()
        lines = agent.printed("stdout").decode().split("Log data will now stream in")[1]
        lines = lines.strip(" as it occurs:\n").splitlines()
        for line in lines:
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
                             r"\[(TRACE|DEBUG|INFO|WARN|ERROR)\] +agent(\.[a-z_.]+)?: \S")
        self.assertTrue(any(re.search("Synced service: service=logged$", l) for l in lines), lines)
