"""What an operator watches an agent by: metrics in both forms, its log as it is written, its host,
its members."""

import json
import re
import threading
import time
import unittest

import cairn
from cairn import AgentTest, eventually

ENABLED = {"telemetry": {"prometheus_retention_time": "60s", "disable_hostname": True},
           "disable_coordinates": True}  # they would be counted now and then
LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[(TRACE|DEBUG|INFO|WARN|ERROR)\] ? "
                  r"[\w.]+: .+\n$")


def read_prometheus(text):
    """Name with labels -> value."""
    values, declared = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            if name in declared:
                raise AssertionError("declared twice: " + line)
            declared.add(name)
        elif not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            if name in values:
                raise AssertionError("given twice: " + line)
            values[name] = float(value)
    return values


class Metrics(AgentTest):
    config = ENABLED

    def prometheus(self):
        reply = self.agent.get("/v1/agent/metrics?format=prometheus")
        self.assertEqual((reply.status, reply.headers["Content-Type"]),
                         (200, "text/plain; version=0.0.4; charset=utf-8"))
        return read_prometheus(reply.text)

    def test_json(self):
        reply = self.agent.get("/v1/agent/metrics")
        self.assertEqual(reply.status, 200)
        self.assertEqual(list(reply.json), ["Timestamp", "Gauges", "Points", "Counters", "Samples"])
        self.assertRegex(reply.json["Timestamp"], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d0 \+0000 UTC$")
        self.assertEqual(reply.json["Points"], [])
        for kind in ("Gauges", "Counters", "Samples"):
            names = [row["Name"] for row in reply.json[kind]]
            self.assertEqual(names, sorted(names))
            self.assertTrue(all(name.startswith("consul.") for name in names), names)
        gauges = {row["Name"]: row for row in reply.json["Gauges"]}
        self.assertEqual(gauges["consul.server.isLeader"],
                         {"Name": "consul.server.isLeader", "Value": 1, "Labels": {}})
        self.assertEqual(gauges["consul.members.servers"]["Labels"], {"datacenter": "dc1"})

    def test_samples_of_requests(self):
        def register_sample():
            # An interval may end between the request and the look.
            self.agent.register("sampled")
            rows = self.agent.get("/v1/agent/metrics").json["Samples"]
            return [row for row in rows if row["Labels"] ==
                    {"method": "PUT", "path": "v1_catalog_register"}]
        row = eventually(register_sample, "a registration is sampled")[0]
        self.assertEqual(list(row), ["Name", "Count", "Rate", "Sum", "Min", "Max", "Mean", "Stddev",
                                     "Labels"])
        self.assertEqual(row["Name"], "consul.api.http")
        self.assertGreaterEqual(row["Count"], 1)
        self.assertLessEqual(row["Min"], row["Mean"])
        self.assertLessEqual(row["Mean"], row["Max"])
        self.assertAlmostEqual(row["Rate"] * 10, row["Sum"])

    def test_totals_count_what_was_done(self):
        before = self.prometheus()
        for i in range(3):
            self.agent.register("counted", Tags=[str(i)])
            self.agent.get("/v1/catalog/service/counted")  # the second from the cache
            self.agent.get("/v1/catalog/service/counted")
            self.agent.resolve("counted.service.consul", "SRV")
            self.agent.resolve("1.2.0.192.in-addr.arpa", "PTR", tcp=True)
        self.agent.deregister("counted")
        after = self.prometheus()

        def grown(name):
            return after[name] - before.get(name, 0)
        self.assertEqual(grown("consul_raft_apply"), 4)
        self.assertEqual(grown("consul_raft_commitTime_count"), 4)
        self.assertEqual(grown("consul_raft_fsm_apply_count"), 4)
        self.assertEqual(grown("consul_catalog_register_count"), 3)
        self.assertEqual(grown("consul_catalog_deregister_count"), 1)
        self.assertEqual(
            grown('consul_api_http_count{method="GET",path="v1_catalog_service_"}'), 6)
        self.assertEqual(grown('consul_client_api_catalog_service_nodes{node="n1"}'), 6)
        self.assertEqual(grown('consul_client_api_success_catalog_register{node="n1"}'), 3)
        self.assertEqual(grown('consul_dns_query_count{node="n1",type="SRV"}'), 3)
        self.assertEqual(grown('consul_dns_domain_query_count{node="n1"}'), 3)
        self.assertEqual(grown('consul_dns_ptr_query_count{node="n1"}'), 3)
        self.assertEqual(grown("consul_raft_applied_index"), 4)

    def test_prepared_queries_are_timed(self):
        before = self.prometheus()
        made = self.agent.request("POST", "/v1/query", {"Name": "q", "Service": {"Service": "web"}})
        query = made.json["ID"]
        self.assertEqual(self.agent.get("/v1/query/%s/execute" % query).status, 200)
        self.assertEqual(self.agent.get("/v1/query/q/explain").status, 200)
        self.assertEqual(self.agent.request("DELETE", "/v1/query/" + query).status, 200)
        after = self.prometheus()
        for name, times in (("prepared_query_apply", 2), ("prepared_query_execute", 1),
                            ("prepared_query_explain", 1), ("fsm_prepared_query", 2)):
            name = "consul_%s_count" % name
            self.assertEqual(after[name] - before.get(name, 0), times, name)

    def test_a_failed_request_is_counted(self):
        before = self.prometheus()
        self.assertEqual(self.agent.put("/v1/catalog/register", {"Node": ""}).status, 500)
        name = 'consul_client_rpc_error_catalog_register{node="n1"}'
        self.assertEqual(self.prometheus()[name] - before.get(name, 0), 1)

    def test_gauges_of_the_catalog(self):
        base = self.prometheus()
        name = 'consul_state_%s{datacenter="dc1"}'
        self.agent.register("gauge-a", ID="1", node="gauge-1")
        self.agent.register("gauge-a", ID="2", node="gauge-1")
        self.agent.register("gauge-b", node="gauge-2")
        now = self.prometheus()
        grown = [now[name % what] - base[name % what] for what in
                 ("nodes", "services", "service_instances", "billable_service_instances")]
        self.assertEqual(grown, [2, 2, 3, 3])

    def test_blocking_queries(self):
        def blocking():
            return self.prometheus()["consul_rpc_queries_blocking"]
        index = self.agent.get("/v1/catalog/service/blocked").index
        with self.agent.client() as client:
            client.send("GET", "/v1/catalog/service/blocked?index=%d" % index)
            eventually(lambda: blocking() == 1, "the query is counted")
            self.agent.register("blocked")
            client.receive()
        eventually(lambda: blocking() == 0, "it is counted no longer")

    def test_names_that_dashboards_rely_on_exist_from_the_start(self):
        values = self.prometheus()
        for name in ("consul_runtime_num_goroutines", "consul_runtime_alloc_bytes",
                     "consul_runtime_sys_bytes", "consul_runtime_total_gc_pause_ns",
                     "consul_autopilot_healthy", "consul_autopilot_failure_tolerance",
                     "consul_raft_last_index", "consul_raft_leader_dispatchLog_sum",
                     "consul_raft_state_leader", "consul_raft_commitNumLogs",
                     'consul_dns_query{quantile="0.99"}', "consul_api_http_count",
                     'consul_version{version="1.21.4",pre_release=""}',
                     "process_open_fds", "process_resident_memory_bytes",
                     "process_start_time_seconds", "process_cpu_seconds_total"):
            self.assertIn(name, values)
        self.assertGreaterEqual(values["consul_raft_state_leader"], 1)
        self.assertLess(abs(values["process_start_time_seconds"] - time.time()), 600)

    def test_who_gets_which_form(self):
        for accept, prometheus in (("application/openmetrics-text", True),
                                   ("text/plain;version=0.0.4", True),
                                   ("text/plain;version=0.4.0;q=0.5", True),
                                   ("application/json, text/plain; version=0.0.4", True),
                                   ("text/plain", False), ("text/plain;version=1", False),
                                   ("*/*", False)):
            reply = self.agent.get("/v1/agent/metrics", {"Accept": accept})
            got = reply.headers["Content-Type"].startswith("text/plain")
            self.assertEqual((accept, got), (accept, prometheus))


class MetricsOff(AgentTest):
    config = {"telemetry": {"prefix_filter": ["-consul.raft", "+consul.raft.apply", "", "bad"],
                            "metrics_prefix": "mine"}}

    def test_prometheus_is_off_by_default(self):
        text = "Prometheus is not enabled since its retention time is not positive"
        for reply in (self.agent.get("/v1/agent/metrics?format=prometheus"),
                      self.agent.get("/v1/agent/metrics",
                                     {"Accept": "application/openmetrics-text"})):
            self.assertEqual((reply.status, reply.text, reply.headers["X-Consul-Reason"]),
                             (415, text, text))

    def test_gauges_carry_the_host(self):
        names = [row["Name"] for row in self.agent.get("/v1/agent/metrics").json["Gauges"]]
        leader = [name for name in names if name.endswith(".server.isLeader")]
        self.assertRegex(leader[0], r"^mine\..+\.server\.isLeader$")

    def test_bad_filter_rules_are_told(self):
        self.agent.says("[WARN]  agent: Cannot have empty filter rule in prefix_filter")
        self.agent.says("Filter rule must begin with either '+' or '-': \"bad\"")


class Monitor:
    """Lines of a running monitor request, as they come."""

    def __init__(self, agent, query=""):
        self.raw = agent.raw()
        self.raw.send(b"GET /v1/agent/monitor%s HTTP/1.1\r\nHost: agent\r\n\r\n" % query.encode())
        self.status = self.raw.file.readline()
        while self.raw.file.readline() not in (b"\r\n", b""):
            pass
        self.text = b""
        self.ended = False
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while True:
                size = int(self.raw.file.readline() or b"0", 16)
                self.text += self.raw.file.read(size)
                self.raw.file.readline()
                if size == 0:
                    break
        except (OSError, ValueError):
            pass
        self.ended = True

    def wait(self, part):
        return eventually(lambda: part in self.text.decode() and self.text.decode(),
                          "the monitor shows " + part)

    def close(self):
        self.raw.socket.shutdown(2)
        self.raw.close()


class MonitorTest(AgentTest):
    config = {"log_level": "ERR"}

    def monitor(self, query=""):
        monitor = Monitor(self.agent, query)  # returns with the headers: they come at once
        self.addCleanup(monitor.close)
        self.assertIn(b" 200 ", monitor.status)
        return monitor

    def register(self, name):
        self.agent.must_put("/v1/agent/service/register", {"Name": name})

    def test_lines_as_they_are_written(self):
        monitor = self.monitor()
        self.register("seen")
        self.register("seen-too")
        text = monitor.wait("Synced service: service=seen-too\n")
        self.assertIn("Synced service: service=seen\n", text)
        for line in text.splitlines(keepends=True):
            self.assertRegex(line, LINE)
        self.assertNotIn("Synced service", self.agent.output())  # the agent's own level is ERR

    def test_json_lines(self):
        monitor = self.monitor("?logjson&loglevel=debug")
        self.register("as-json")
        text = monitor.wait('"service":"as-json"}\n')
        lines = [json.loads(line) for line in text.splitlines()]
        line = next(line for line in lines if line.get("service") == "as-json")
        self.assertEqual((line["@level"], line["@message"], line["@module"]),
                         ("info", "Synced service", "agent"))
        self.assertRegex(line["@timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")

    def test_levels(self):
        for level in ("trace", "DEBUG", "Err", "ERROR"):
            self.monitor("?loglevel=" + level)
        quiet, loud = self.monitor("?loglevel=WARN"), self.monitor("?loglevel=INFO")
        self.register("levels")
        loud.wait("service=levels\n")
        self.assertEqual(quiet.text, b"")
        reply = self.agent.get("/v1/agent/monitor?loglevel=loud")
        self.assertEqual((reply.status, reply.text), (400, "Unknown log level: loud"))

    def test_many_come_and_go(self):
        for _ in range(5):
            monitors = [Monitor(self.agent) for _ in range(20)]
            self.register("many")
            for monitor in monitors[::2]:
                monitor.close()
            for monitor in monitors[1::2]:
                monitor.close()

        def one_more():
            monitor = Monitor(self.agent)
            monitor.close()
            return b" 200 " in monitor.status
        eventually(one_more, "closed monitors make room")

    def test_too_many(self):
        monitors = []

        def refused():
            monitors.append(Monitor(self.agent))
            return b" 429 " in monitors[-1].status
        try:
            for _ in range(33):
                if refused():
                    break
            self.assertIn(b" 429 ", monitors[-1].status)
        finally:
            for monitor in monitors:
                monitor.close()


class MonitorEnds(unittest.TestCase):
    def test_the_agents_end_is_the_streams_end(self):
        for stop in (lambda a: a.stop(), lambda a: (a.must_put("/v1/agent/leave"), a.ended(0))):
            agent = cairn.Agent()
            self.addCleanup(agent.discard)
            agent.start()
            monitors = [Monitor(agent) for _ in range(3)]
            stop(agent)
            for monitor in monitors:
                eventually(lambda m=monitor: m.ended, "the stream ends")
                monitor.close()

    def test_a_reader_that_does_not_read_loses_lines(self):
        # In memory: thousands of small files are not what is tested here.
        agent = cairn.Agent({"data_dir": None, "bootstrap": None}, args=["-dev"])
        self.addCleanup(agent.discard)
        agent.start()
        raw = agent.raw()
        raw.socket.setsockopt(cairn.socket.SOL_SOCKET, cairn.socket.SO_RCVBUF, 4096)
        raw.send(b"GET /v1/agent/monitor HTTP/1.1\r\nHost: agent\r\n\r\n")
        self.assertIn(b" 200 ", raw.file.readline())
        with agent.client() as client:
            # Far more than the sockets' buffers and the 512 lines hold: a line for each check.
            for i in range(200):
                checks = [{"CheckID": "%03d" % k + "x" * 480, "TTL": "1h", "Notes": str(i)}
                          for k in range(60)]
                client.put("/v1/agent/service/register", {"Name": "loud", "Checks": checks})
        raw.close()
        eventually(lambda: "Dropped logs during monitor request: dropped_count=" in agent.output(),
                   "the loss is told")
        agent.stop()


class MetricsStream(AgentTest):
    config = ENABLED

    def objects(self, raw, count):
        """So many JSON objects of the stream, and that each ends where the next begins."""
        decoder, text, found = json.JSONDecoder(), "", []
        while len(found) < count:
            size = int(raw.file.readline(), 16)
            self.assertGreater(size, 0)
            text += raw.file.read(size).decode()
            raw.file.readline()
            try:
                value, end = decoder.raw_decode(text)
            except ValueError:
                continue
            found.append(value)
            text = text[end:].lstrip()
        return found

    def test_an_object_for_each_interval(self):
        with self.agent.raw() as raw, self.agent.raw() as other:
            for one in (raw, other):
                one.send(b"GET /v1/agent/metrics/stream HTTP/1.1\r\nHost: agent\r\n\r\n")
                self.assertEqual(one.head().status, 200)  # at once
            first, second = self.objects(raw, 2)
            self.assertEqual(list(first), ["Timestamp", "Gauges", "Points", "Counters", "Samples"])
            self.assertLess(first["Timestamp"], second["Timestamp"])
            self.assertIn("consul.raft.applied_index", [row["Name"] for row in first["Gauges"]])
            # Either began before the interval ended in which the other did, or behind it.
            self.assertIn(self.objects(other, 1)[0]["Timestamp"],
                          (first["Timestamp"], second["Timestamp"]))

    def test_the_agents_end_is_the_streams_end(self):
        agent = self.new_agent()
        agent.start()
        raws = [agent.raw() for _ in range(3)]
        for raw in raws:
            raw.send(b"GET /v1/agent/metrics/stream HTTP/1.1\r\nHost: agent\r\n\r\n")
            self.assertEqual(raw.head().status, 200)
        raws.pop().close()  # a hang-up
        agent.stop()
        for raw in raws:
            self.assertTrue(raw.closed())
            raw.close()


class Facts(AgentTest):
    def test_host(self):
        reply = self.agent.get("/v1/agent/host").json
        self.assertEqual(list(reply), ["Memory", "CPU", "Host", "Disk", "CollectionTime", "Errors"])
        self.assertGreater(reply["Memory"]["total"], reply["Memory"]["used"])
        self.assertGreater(len(reply["CPU"]), 0)
        self.assertEqual(reply["Host"]["os"], "linux")
        self.assertEqual(reply["Disk"]["path"], self.agent.data_dir)
        self.assertLess(abs(reply["CollectionTime"] / 1e9 - time.time()), 600)
        self.assertIsNone(reply["Errors"])

    def test_members(self):
        (member,) = self.agent.get("/v1/agent/members").json
        self.assertEqual((member["Name"], member["Addr"], member["Status"]),
                         ("n1", self.agent.ip, 1))
        self.assertEqual(member["Tags"]["role"], "consul")
        self.assertEqual(member, self.agent.get("/v1/agent/self").json["Member"])
        (wide,) = self.agent.get("/v1/agent/members?wan=1").json
        self.assertEqual((wide["Name"], wide["Port"]), ("n1.dc1", 8302))
        self.assertEqual(len(self.agent.get("/v1/agent/members?segment=_all").json), 1)
        reply = self.agent.get("/v1/agent/members?segment=x&wan=1")
        self.assertEqual((reply.status, reply.text),
                         (400, "Cannot provide a segment with wan=true"))
        self.assertEqual(self.agent.get("/v1/agent/members?segment=x").status, 500)

    def test_raft_configuration(self):
        reply = self.agent.get("/v1/operator/raft/configuration").json
        me = self.agent.get("/v1/agent/self").json["Config"]
        (server,) = reply["Servers"]
        self.assertEqual(server["ID"], me["NodeID"])
        self.assertEqual((server["Node"], server["Leader"], server["Voter"]), ("n1", True, True))
        self.assertEqual(server["Address"], "%s:%d" % (self.agent.ip, self.agent.server_port))
        self.assertEqual(server["ProtocolVersion"], "3")
        self.assertGreater(server["LastIndex"], 0)
        self.assertGreater(reply["Index"], 0)
        reply = self.agent.get("/v1/operator/raft/configuration?dc=elsewhere")
        self.assertEqual((reply.status, reply.text), (500, "No path to datacenter"))


if __name__ == "__main__":
    unittest.main()
