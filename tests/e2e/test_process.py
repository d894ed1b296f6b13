"""The agent as a process: what it prints at its start and end, signals, and outputs that stall."""

import hashlib
import os
import re
import signal
import subprocess
import unittest
import uuid

import cairn
from cairn import eventually


class ProcessTest(unittest.TestCase):
    def new_agent(self, *args, **how):
        agent = cairn.Agent(*args, **how)
        self.addCleanup(agent.discard)
        return agent


class Output(ProcessTest):
    def test_banner(self):
        agent = self.new_agent().start()
        agent.stop()
        banner, mark, log = agent.printed("stdout").decode().partition(
            "\n==> Log data will now stream in as it occurs:\n\n")
        self.assertTrue(mark)
        first, *facts = banner.splitlines()
        self.assertEqual(first, "==> Starting cairn agent...")
        labels = [line[:22].strip() for line in facts]
        self.assertTrue(all(line[22:24] == ": " for line in facts), facts)
        self.assertEqual(labels, [
            "Version", "Build Date", "Node ID", "Node name", "Datacenter", "Server", "Client Addr",
            "Cluster Addr", "Gossip Encryption", "Auto-Encrypt-TLS", "ACL Enabled",
            "ACL Default Policy", "HTTPS TLS", "gRPC TLS", "Internal RPC TLS"])
        self.assertIn("            Datacenter: 'dc1' (Segment: '<all>')\n", banner)
        self.assertIn("           Client Addr: [%s] (HTTP: %d, HTTPS: -1, gRPC: -1, gRPC-TLS: -1, "
                      "DNS: %d)\n" % (agent.ip, agent.http_address[1], agent.dns_address[1]), banner)
        for network in ("udp", "tcp"):
            self.assertIn("[INFO]  agent: Started DNS server: address=%s:%d network=%s\n"
                          % (*agent.dns_address, network), log)
        # Nothing is logged before it, and these are its last words.
        self.assertRegex(log.splitlines()[0], r"^\d{4}-\d\d-\d\dT")
        ends = [line.split("] ", 1)[1].strip() for line in log.splitlines()]
        order = ["agent: Requesting shutdown", "agent.server: consul server down",
                 "agent: shutdown complete", "agent: Exit code: code=1"]
        self.assertEqual([line for line in ends if line in order], order)
        self.assertEqual(ends[-1], order[-1])

    def test_no_banner_before_json(self):
        agent = self.new_agent({"log_json": True}).start()
        agent.stop()
        for line in agent.printed("stdout").decode().splitlines():
            self.assertTrue(line.startswith('{"@level":"'), line)

    def test_a_wrong_flag(self):
        for args, first in ((["-nonsense"], "flag provided but not defined: -nonsense"),
                            (["-bind"], "flag needs an argument: -bind")):
            done = subprocess.run([cairn.BINARY, "agent"] + args, text=True, capture_output=True,
                                  check=False)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertTrue(done.stderr.startswith(
                first + "\n\nUsage: cairn agent [options]\n"), done.stderr)
        for args in (["-dev", "a", "b"], ["-dev", "--", "a", "b"]):
            done = subprocess.run([cairn.BINARY, "agent"] + args, text=True, capture_output=True,
                                  check=False)
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (1, "", "==> Unexpected extra arguments: [a b]\n"))
        done = subprocess.run([cairn.BINARY, "agent", "-dev", "-help"], text=True,
                              capture_output=True, check=True)
        self.assertIn("  -config-file=<value>\n", done.stdout)


class Stalled(ProcessTest):
    def test_a_pipe_that_nobody_reads(self):
        agent = self.new_agent({"log_level": "TRACE",
                                "log_file": "log.txt"})
        agent.config["log_file"] = os.path.join(agent.folder, "copy.log")
        command = agent.command()
        agent.runs = 1
        reading, writing = os.pipe()
        with open(agent.path("stdout"), "wb"), open(agent.path("stderr"), "wb") as err:
            agent.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writing,
                                             stderr=err)
        os.close(writing)
        eventually(agent.leads, "it leads")
        agent.config["telemetry"] = {}
        gauge = 0
        count = 0
        long = "x" * 500
        while gauge == 0:
            self.assertLess(count, 20000)
            for _ in range(100):
                agent.must_put("/v1/agent/check/register",
                               {"ID": long + str(count % 7), "Name": "n", "TTL": "1h",
                                "Notes": str(count)})
                count += 1
            rows = agent.get("/v1/agent/metrics").json["Gauges"]
            gauge = [row["Value"] for row in rows if row["Name"].endswith(".log.lost_lines")][0]
        self.assertEqual(agent.get("/v1/status/leader").status, 200)
        # The copy has all of it.
        agent.must_put("/v1/agent/check/register", {"ID": "last", "Name": "n", "TTL": "1h"})

        def copy():
            with open(agent.config["log_file"], encoding="ascii") as file:
                return file.read()
        eventually(lambda: "Synced check: check=last\n" in copy(), "the copy is whole")
        agent.process.send_signal(signal.SIGTERM)
        self.assertEqual(agent.wait(), 1)
        os.close(reading)
        agent.check_output()


class Signals(ProcessTest):
    def test_a_second_signal(self):
        agent = self.new_agent().start()
        with agent.client() as client:  # a request that holds up the stop
            index = client.get("/v1/catalog/services").index
            client.send("GET", "/v1/catalog/services?index=%d&wait=600s" % index)
            agent.process.send_signal(signal.SIGSTOP)  # so that both come before it looks
            agent.process.send_signal(signal.SIGTERM)
            agent.process.send_signal(signal.SIGINT)
            agent.process.send_signal(signal.SIGCONT)
            agent.ended(1)
        self.assertIn("a second signal", agent.output())
        agent.start()  # nothing is lost
        agent.stop()

    def test_a_reload_while_it_starts(self):
        agent = self.new_agent()
        agent.spawn()

        def listens():
            with open("/proc/%d/status" % agent.process.pid, encoding="ascii") as file:
                return int(re.search(r"SigBlk:\s+(\w+)", file.read()).group(1), 16) & 1
        eventually(listens, "it takes signals")
        agent.process.send_signal(signal.SIGHUP)
        eventually(agent.leads, "it leads")
        eventually(lambda: "Configuration reloaded" in agent.output(), "one is done after the start")
        agent.stop()


class AutoReload(ProcessTest):
    def test_files_and_folders(self):
        agent = self.new_agent({"auto_reload_config": True})
        folder = os.path.join(agent.folder, "conf.d")
        os.mkdir(folder)
        agent.args = ["-config-dir=" + folder]
        agent.start()

        def services():
            return set(agent.get("/v1/agent/services").json)
        with open(os.path.join(folder, "a.hcl"), "w", encoding="ascii") as file:
            file.write('service { name = "made" }')
        eventually(lambda: services() == {"made"}, "a new file is read")
        with open(os.path.join(folder, "b.tmp"), "w", encoding="ascii") as file:
            file.write('service { name = "moved" }')
        os.rename(os.path.join(folder, "b.tmp"), os.path.join(folder, "b.hcl"))
        eventually(lambda: services() == {"made", "moved"}, "a moved one too")
        os.unlink(os.path.join(folder, "a.hcl"))
        eventually(lambda: services() == {"moved"}, "one that is gone takes its service along")
        agent.config["service"] = {"name": "of-file"}
        agent.command()
        eventually(lambda: services() == {"moved", "of-file"}, "the file is read anew")
        with open(os.path.join(folder, "b.hcl"), "w", encoding="ascii") as file:
            file.write("nonsense")
        eventually(lambda: "Reload config failed" in agent.output(), "a bad one is told")
        self.assertEqual(services(), {"moved", "of-file"})
        agent.stop()


class HostId(ProcessTest):
    def expected(self):
        try:
            with open("/sys/class/dmi/id/product_uuid", encoding="ascii") as file:
                machine = str(uuid.UUID(file.read().strip()))
        except (OSError, ValueError):
            with open("/etc/machine-id", encoding="ascii") as file:
                machine = str(uuid.UUID(file.read().strip()))
        return str(uuid.UUID(bytes=hashlib.sha512(machine.encode()).digest()[:16]))

    @unittest.skipUnless(os.path.exists("/sys/class/dmi/id/product_uuid") or
                         os.path.exists("/etc/machine-id"), "this machine has no id")
    def test_id_of_the_host(self):
        agent = self.new_agent({"disable_host_node_id": False}).start()
        self.assertEqual(agent.get("/v1/agent/self").json["Config"]["NodeID"], self.expected())
        agent.stop()
        with open(os.path.join(agent.data_dir, "node-id"), encoding="ascii") as file:
            self.assertEqual(file.read(), self.expected())
        plain = self.new_agent().start()
        self.assertNotEqual(plain.get("/v1/agent/self").json["Config"]["NodeID"], self.expected())
        plain.stop()


if __name__ == "__main__":
    unittest.main()
