"""Three real servers as operators see and change them: status, the Raft configuration, autopilot,
transfer of leadership, removal of a dead server, snapshots and the commands for them."""

import os
import subprocess
import unittest

import cairn
from servers import CALM


def run(server, *words, file=None):
    return subprocess.run([cairn.BINARY, *words, "-http-addr=%s:%d" % server.http_address,
                           *([file] if file else [])],
                          capture_output=True, text=True, timeout=cairn.DEADLINE_S, check=False)


class Operator(unittest.TestCase):
    def setUp(self):
        ips = [cairn.new_ip() for _ in range(3)]
        self.servers = []
        for i, ip in enumerate(ips):
            server = cairn.Agent(ip=ip, config={
                **CALM, "bootstrap": False, "bootstrap_expect": 3, "node_name": "s%d" % (i + 1),
                "retry_join": [ips[0]]})
            self.servers.append(server)
            self.addCleanup(self.end, server)
            server.spawn()
            cairn.eventually(lambda s=server: self.answers(s), "an agent that can be joined")
        cairn.eventually(lambda: all(self.sees_group(s) for s in self.servers),
                         "three servers and a leader")

    def answers(self, server):
        try:
            return self.get(server, "/v1/status/leader").status == 200
        except OSError:
            return False

    def sees_group(self, server):
        try:
            return (len(self.get(server, "/v1/status/peers").json) == 3 and
                    self.get(server, "/v1/status/leader").json)
        except OSError:
            return False

    @staticmethod
    def end(server):
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait()

    @staticmethod
    def ask(server, method, path, body=None):
        with cairn.Client(server.http_address) as client:
            return client.request(method, path, body)

    def get(self, server, path):
        return self.ask(server, "GET", path)

    def leader(self):
        """The server that leads, and one that does not."""
        address = self.get(self.servers[0], "/v1/status/leader").json
        lead = [s for s in self.servers if address.startswith(s.ip + ":")]
        return (lead[0], [s for s in self.servers if s is not lead[0]]) if lead else None

    def test_all_see_the_group(self):
        leader, others = cairn.eventually(self.leader, "a leader")
        for server in self.servers:
            shown = self.get(server, "/v1/operator/raft/configuration").json["Servers"]
            self.assertEqual({s["Node"] for s in shown}, {"s1", "s2", "s3"})
            self.assertEqual([s["Node"] for s in shown if s["Leader"]],
                             [leader.config["node_name"]])
        cairn.eventually(lambda: self.get(others[0], "/v1/operator/autopilot/health").status == 200,
                         "a healthy group")
        health = self.get(others[0], "/v1/operator/autopilot/health").json
        self.assertEqual(health["FailureTolerance"], 1)
        raft = self.get(others[0], "/v1/agent/self").json["Stats"]["raft"]
        self.assertEqual((raft["num_peers"], raft["state"]), ("2", "Follower"))
        listed = run(others[1], "operator", "raft", "list-peers")
        self.assertEqual((listed.returncode, len(listed.stdout.splitlines())), (0, 4))

        def usage():
            done = run(others[1], "operator", "usage", "instances", "-billable")
            return (done.returncode, done.stdout.splitlines()[-3:])
        cairn.eventually(lambda: usage() == (0, ["Datacenter  Count", "dc1         3",
                                                 "Total       3"]), "three instances")

    def test_leadership_moves(self):
        leader, others = cairn.eventually(self.leader, "a leader")
        moved = self.ask(others[0], "POST", "/v1/operator/raft/transfer-leader")
        self.assertEqual((moved.status, moved.json), (200, {"Success": True}))
        cairn.eventually(lambda: self.leader() and self.leader()[0] is not leader, "another leader")
        leader, others = cairn.eventually(self.leader, "a leader")
        node = self.get(others[0], "/v1/agent/self").json["Config"]["NodeID"]
        moved = run(leader, "operator", "raft", "transfer-leader", "-id=" + node)
        self.assertEqual((moved.returncode, moved.stdout), (0, "Success\n"), moved.stderr)
        cairn.eventually(lambda: self.leader() and self.leader()[0] is others[0], "that one leads")
        rows = run(others[0], "operator", "raft", "list-peers").stdout.splitlines()[1:]
        self.assertEqual(sorted((row.split()[0], row.split()[3]) for row in rows), sorted(
            (s.config["node_name"], "leader" if s is others[0] else "follower")
            for s in self.servers))
        refused = self.ask(others[0], "POST", "/v1/operator/raft/transfer-leader?id=nobody")
        self.assertEqual(refused.text, "Could not find address for server id nobody")

    def gauges_of_autopilot(self, server):
        rows = self.get(server, "/v1/agent/metrics").json["Gauges"]
        return [row["Value"] for row in rows if ".autopilot." in row["Name"]]

    def test_a_dead_server_is_removed_by_hand(self):
        leader, others = cairn.eventually(self.leader, "a leader")
        dead, alive = others
        cairn.eventually(lambda: self.gauges_of_autopilot(leader) == [1, 1], "metrics: all is well")
        self.assertEqual(self.gauges_of_autopilot(alive), [])  # the leader knows
        self.end(dead)
        cairn.eventually(lambda: self.get(alive, "/v1/operator/autopilot/health").status == 429,
                         "a group that is not healthy")
        cairn.eventually(lambda: [self.gauges_of_autopilot(s) for s in (leader, alive)] in (
            [[0, 0], []], [[], [0, 0]]), "metrics: it is not healthy, and bears no failure more")
        address = "%s:%d" % (dead.ip, dead.server_port)
        cairn.eventually(  # one that is believed alive would come back
            lambda: [x["SerfStatus"] for x in self.get(
                alive, "/v1/operator/autopilot/health").json["Servers"]
                     if x["Address"] == address] == ["failed"], "it is known to have failed")
        removed = run(alive, "operator", "raft", "remove-peer", "-address=" + address)
        self.assertEqual((removed.returncode, removed.stdout),
                         (0, 'Removed peer with address "%s"\n' % address), removed.stderr)
        left = self.get(alive, "/v1/operator/raft/configuration").json["Servers"]
        self.assertNotIn(address, [s["Address"] for s in left])
        gone = run(alive, "operator", "raft", "remove-peer", "-address=" + address)
        self.assertEqual(gone.returncode, 1)

    def test_autopilot_is_configured(self):
        first, second = self.servers[:2]
        path = "/v1/operator/autopilot/configuration"
        self.assertEqual(self.get(first, path).json["ModifyIndex"], 0)
        self.assertIs(self.ask(first, "PUT", path + "?cas=0", {"MinQuorum": 3}).json, True)
        self.assertIs(self.ask(first, "PUT", path + "?cas=0", {"MinQuorum": 5}).json, False)
        self.assertEqual(self.get(second, path).json["MinQuorum"], 3)
        done = run(second, "operator", "autopilot", "set-config", "-max-trailing-logs=99")
        self.assertEqual((done.returncode, done.stdout), (0, "Configuration updated!\n"))
        self.assertIn("MaxTrailingLogs = 99\n",
                      run(first, "operator", "autopilot", "get-config").stdout)

    def test_a_snapshot_goes_out_and_comes_back(self):
        first, second, third = self.servers
        file = os.path.join(first.folder, "saved.tgz")
        self.ask(first, "PUT", "/v1/kv/kept", "old")
        saved = run(second, "snapshot", "save", file=file)
        self.assertEqual(saved.returncode, 0, saved.stderr)
        self.assertIn("Saved and verified snapshot to index ", saved.stdout)
        self.ask(first, "PUT", "/v1/kv/kept", "new")
        self.ask(first, "PUT", "/v1/kv/later", "x")
        index = self.get(first, "/v1/kv/?recurse").index
        self.assertEqual(self.ask(first, "PUT", "/v1/snapshot", b"no archive").status, 500)
        with open(file, "rb") as archive:
            damaged = bytearray(archive.read())
        damaged[len(damaged) // 2] ^= 1
        self.assertEqual(self.ask(first, "PUT", "/v1/snapshot", bytes(damaged)).status, 500)
        self.assertEqual(self.get(third, "/v1/kv/later?raw").text, "x")
        restored = run(third, "snapshot", "restore", file=file)
        self.assertEqual((restored.returncode, restored.stdout), (0, "Restored snapshot\n"))
        for server in self.servers:
            keys = cairn.eventually(
                lambda s=server: self.get(s, "/v1/kv/later").status == 404 and
                self.get(s, "/v1/kv/?recurse"), "the restored keys")
            self.assertEqual([k["Key"] for k in keys.json], ["kept"])
            self.assertEqual(self.get(server, "/v1/kv/kept?raw").text, "old")
            self.assertGreater(keys.index, index)


if __name__ == "__main__":
    unittest.main()
