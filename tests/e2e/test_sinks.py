"""Where metrics go by themselves: to statsd, to statsite, to stderr on SIGUSR1; and those of the
machine."""

import re
import signal
import socket
import threading
import unittest

import cairn
from cairn import eventually

LINE = re.compile(r"^consul\.[^\s:|@]+:-?[\d.]+\|(c|g|ms(\|@[\d.e-]+)?)$")


class Sinks(unittest.TestCase):
    def new_agent(self, telemetry, **config):
        agent = cairn.Agent(dict(config, telemetry=dict({"disable_hostname": True}, **telemetry)))
        self.addCleanup(agent.discard)
        return agent

    def registrations(self, lines):
        """How many registrations the lines tell of."""
        count = 0
        for line in lines:
            if line.startswith("consul.api.http.PUT.v1_catalog_register:"):
                _, _, rate = line.partition("@")
                count += round(1 / float(rate)) if rate else 1
        return count

    def judge(self, agent, lines, wanted):
        for i in range(5):
            agent.register("sent-%d" % i)
        eventually(lambda: self.registrations(lines) == 5, "five registrations arrive")
        eventually(lambda: any(line.startswith(wanted) for line in list(lines)), wanted)
        for line in list(lines):
            self.assertRegex(line, LINE)
        agent.stop()

    def test_statsd(self):
        with socket.socket(type=socket.SOCK_DGRAM) as receiver:
            receiver.bind((cairn.new_ip(), 0))
            receiver.settimeout(0.1)
            lines, sizes, done = [], [], threading.Event()

            def receive():
                while not done.is_set():
                    try:
                        data = receiver.recv(65536)
                    except socket.timeout:
                        continue
                    sizes.append(len(data))
                    lines.extend(data.decode().split("\n"))
            thread = threading.Thread(target=receive)
            thread.start()
            self.addCleanup(thread.join)
            self.addCleanup(done.set)
            agent = self.new_agent({"statsd_address": "%s:%d" % receiver.getsockname()}).start()
            self.judge(agent, lines, "consul.server.isLeader:1.000000|g")
            self.assertLessEqual(max(sizes), 1400)
            done.set()
            thread.join()

    def test_statsite_that_comes_late_and_goes(self):
        ip = cairn.new_ip()
        address = (ip, cairn.new_port(ip))
        agent = self.new_agent({"statsite_address": "%s:%d" % address, "metrics_prefix": "consul"})
        agent.start()
        eventually(lambda: "cannot send metrics" in agent.output(), "the failure is logged")
        self.assertEqual(agent.output().count("cannot send metrics"), 1)
        with socket.create_server(address) as server:
            server.settimeout(cairn.DEADLINE_S)
            connection = server.accept()[0]
        with connection, connection.makefile() as file:
            self.assertRegex(file.readline().rstrip("\n"), LINE)
        eventually(lambda: "metrics are sent again" in agent.output(), "the success is logged")
        agent.stop()

    def test_stop_while_nobody_reads(self):
        ip = cairn.new_ip()
        with socket.create_server((ip, 0), backlog=1) as server:
            agent = self.new_agent({"statsite_address": "%s:%d" % server.getsockname()}).start()
            agent.stop()

    def test_dump(self):
        agent = self.new_agent({}).start()
        agent.register("dumped")
        agent.process.send_signal(signal.SIGUSR1)
        eventually(lambda: b"][G] 'consul.server.isLeader': 1.000\n" in agent.printed("stderr"),
                   "gauges are dumped")
        eventually(lambda: b"][S] 'consul.catalog.register': Count: " in agent.printed("stderr"),
                   "samples are dumped")
        agent.stop()

    def test_host(self):
        agent = self.new_agent({"enable_host_metrics": True, "prometheus_retention_time": "1m"})
        agent.start()
        text = agent.get("/v1/agent/metrics?format=prometheus").text
        for name in ("memory_total", "memory_available", "disk_size{path=\"%s\"}" % agent.data_dir,
                     "disk_inodes_percent{path=\"%s\"}" % agent.data_dir, "uptime",
                     "cpu_idle{cpu=\"cpu0\"}"):
            value = re.search("^consul_host_" + re.escape(name) + " (.*)$", text, re.M)
            self.assertIsNotNone(value, name)
            self.assertGreaterEqual(float(value.group(1)), 0)
        self.assertGreater(float(re.search("^consul_host_memory_total (.*)$", text,
                                           re.M).group(1)), 1e6)
        agent.stop()
        plain = self.new_agent({"prometheus_retention_time": "1m"}).start()
        self.assertNotIn("consul_host_", plain.get("/v1/agent/metrics?format=prometheus").text)
        plain.stop()

    def test_reload_of_rules(self):
        agent = self.new_agent({"prometheus_retention_time": "1m",
                                "prefix_filter": ["-consul.raft"]}).start()

        def names():
            return agent.get("/v1/agent/metrics?format=prometheus").text
        self.assertNotIn("consul_raft_", names())
        agent.config["telemetry"]["prefix_filter"] = ["-consul.raft", "+consul.raft.apply", "", "x"]
        agent.command()  # writes the file
        agent.must_put("/v1/agent/reload")
        self.assertIn("\nconsul_raft_apply ", names())
        self.assertNotIn("consul_raft_commitTime", names())
        agent.says("Cannot have empty filter rule in prefix_filter")
        agent.says("Filter rule must begin with either '+' or '-': \"x\"")
        agent.stop()


if __name__ == "__main__":
    unittest.main()
