"""The service discovery of Prometheus (consul_sd_configs)."""

import json
import os

from clients import INSTALLED, AgentOfGroupTest, ClientTest, new_ip, program

CONFIG = """
server: "%s:%d"
services: [%s]
refresh_interval: 1s
"""


class Discovery:
    def serve(self, *services):
        binary = program("prometheus-discovery", INSTALLED)
        path = os.path.join(self.folder(), "sd.yml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIG % (*self.recorder.address[:2], ", ".join(services)))
        return self.start_daemon(binary, path)

    def targets(self, process):
        """{ID of the instance: its labels}, as last printed."""
        printed = self.all_targets(process)
        return printed[-1] if printed else {}

    def all_targets(self, process):
        """The same of all that was printed."""
        lines = [line for line in self.said(process, None).split("\n")[:-1]
                 if line.startswith("[")]
        return [{labels["__meta_consul_service_id"]: labels for labels in json.loads(line)}
                for line in lines]


class Prometheus(Discovery, ClientTest):
    def test_targets_follow_the_catalog(self):
        process = self.serve()  # all services
        self.agent.must_put("/v1/agent/service/register", {
            "Name": "app", "ID": "a1", "Address": "192.0.2.7", "Port": 9100,
            "Tags": ["v1", "green"], "Meta": {"zone": "a"},
            "Check": {"TTL": "600s", "Status": "passing"}})
        self.until(process, lambda: "a1" in self.targets(process), "the target a1")
        labels = self.targets(process)["a1"]
        for name, value in {"__address__": "192.0.2.7:9100",
                            "__meta_consul_address": self.agent.ip,
                            "__meta_consul_dc": "dc1",
                            "__meta_consul_health": "passing",
                            "__meta_consul_node": "n1",
                            "__meta_consul_service": "app",
                            "__meta_consul_service_address": "192.0.2.7",
                            "__meta_consul_service_metadata_zone": "a",
                            "__meta_consul_service_port": "9100",
                            "__meta_consul_tags": ",v1,green,"}.items():
            self.assertEqual(labels[name], value, name)

        # An instance without an address of its own is at its node's.
        node_ip = new_ip()
        self.agent.register("app", ID="a2", Port=9, node="ext-2", address=node_ip)
        self.until(process, lambda: "a2" in self.targets(process), "the target a2")
        self.assertEqual(self.targets(process)["a2"]["__address__"], node_ip + ":9")
        # Its waits are blocking queries: nothing else tells it of the change.
        self.recorder.wait(r"GET /v1/catalog/services\?.*index=[1-9]")
        self.recorder.wait(r"GET /v1/health/service/app\?.*index=[1-9]")

        self.agent.put("/v1/agent/check/fail/service:a1")
        self.until(process, lambda: self.targets(process)["a1"]["__meta_consul_health"]
                   == "critical", "a1 is critical")
        self.agent.must_put("/v1/agent/service/deregister/a1")
        self.until(process, lambda: "a1" not in self.targets(process), "a1 is gone")
        self.assertIn("a2", self.targets(process))
        self.agent.deregister("a2", node="ext-2")
        self.until(process, lambda: "a2" not in self.targets(process), "a2 is gone")
        self.assertIn("consul", self.targets(process))

    def test_named_services_only(self):
        process = self.serve("chosen")
        self.agent.register("other", ID="o1", Port=1, node="ext-3")
        self.agent.register("chosen", ID="c1", Port=2, node="ext-3")
        self.until(process, lambda: "c1" in self.targets(process), "the target c1")
        self.assertEqual(list(self.targets(process)), ["c1"])
        self.agent.must_put("/v1/catalog/deregister", {"Node": "ext-3"})
        self.until(process, lambda: self.targets(process) == {}, "no target")


class PrometheusThroughDeaths(Discovery, AgentOfGroupTest):
    def test_no_target_is_lost_and_changes_come(self):
        process = self.serve("app")
        self.agent.must_put("/v1/agent/service/register", {
            "Name": "app", "ID": "stays", "Port": 9100, "Check": {"TTL": "600s", "Status": "passing"}})
        self.until(process, lambda: "stays" in self.targets(process), "the target")
        before = len(self.all_targets(process))
        for number, moment in enumerate(self.deaths()):
            name = "comes-%d" % number
            self.agent.must_put("/v1/agent/service/register", {"Name": "app", "ID": name, "Port": 1})
            self.until(process, lambda n=name: n in self.targets(process), name + ": " + moment)
            self.agent.must_put("/v1/agent/service/deregister/" + name)
            self.until(process, lambda n=name: n not in self.targets(process), name + ": " + moment)
        for targets in self.all_targets(process)[before:]:
            self.assertEqual(targets["stays"]["__meta_consul_health"], "passing")


del AgentOfGroupTest, ClientTest
