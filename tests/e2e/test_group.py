"""Three servers that hold one catalog: written and read at each, killed, stopped, cut down to a
minority, moved, wiped, and spoken to by strangers."""
import base64
import os
import shutil
import signal
import socket
import struct
import threading
import time
import unittest

from cairn import NOERROR, eventually
from servers import CALM, Group, Server, meta

MAGIC = b"cairnr\0\0"


def hello(cluster, version=1):
    """The first bytes of a server of this datacenter (net/rpc.h, proto/rpc.proto)."""
    def text(number, data):
        return bytes([number << 3 | 2, len(data)]) + data
    body = (bytes([1 << 3, version, 2 << 3, version]) + text(3, os.urandom(16)) +
            text(4, os.urandom(16)) + text(5, cluster) + text(6, b"stranger") + text(7, b"dc1") +
            bytes([8 << 3, 1]) + text(9, os.urandom(32)))
    return MAGIC + struct.pack(">I", len(body)) + body


class GroupTest(unittest.TestCase):
    def start(self, **config):
        group = Group(3, config)
        self.addCleanup(group.discard)
        return group.start()

    def write(self, server, key, value, what="a write"):
        eventually(lambda: server.write(key, value), what + " at " + server.name)

    def all_have(self, group, expected, query=""):
        """Every server that runs answers with these {key: value}."""
        for server in group.servers:
            if server.runs_now:
                for key, value in expected.items():
                    eventually(lambda: server.value(key, query) == value,
                               "%s=%s at %s" % (key, value, server.name))


class Calm(GroupTest):
    """One group for all of it: nothing here harms it."""

    @classmethod
    def setUpClass(cls):
        cls.group = Group(3, CALM)
        cls.addClassCleanup(cls.group.discard)
        cls.group.start()

    def setUp(self):
        self.leader, self.followers = self.group.roles()

    @classmethod
    def tearDownClass(cls):
        cls.group.stop()

    def test_each_server_takes_writes_and_answers_reads(self):
        for writer in self.group.servers:
            key = "calm/" + writer.name
            writer.must_put("/v1/kv/" + key, writer.name)
            for reader in self.group.servers:
                # What was acknowledged is there at once, unless the reader says that it need not.
                for mode in ("", "&consistent"):
                    reply = reader.get("/v1/kv/%s?raw%s" % (key, mode))
                    self.assertEqual((reply.status, reply.text), (200, writer.name))
                    known, contact, consistency = meta(reply)
                    self.assertEqual((known, contact), ("true", 0))
                    self.assertEqual(consistency, "consistent" if mode else "leader")
                eventually(lambda: reader.value(key, "&stale") == writer.name, "a stale read")
                known, contact, consistency = meta(reader.get("/v1/kv/%s?stale" % key))
                self.assertEqual((known, consistency), ("true", "stale"))
                self.assertGreaterEqual(contact, 0)
                if reader is self.leader:
                    self.assertEqual(contact, 0)

    def test_every_server_is_in_the_catalog(self):
        for server in self.group.servers:
            self.assertEqual(self.group.registered(server), ["s1", "s2", "s3"])
            self.assertEqual(server.leader(), self.leader.name)

    def test_cas_by_several_servers_succeeds_once(self):
        first = self.followers[0]
        self.assertEqual(first.put("/v1/kv/cas?cas=0", "0").text.strip(), "true")
        index = first.get("/v1/kv/cas").json[0]["ModifyIndex"]
        answers = []

        def swap(server):
            answers.append(server.put("/v1/kv/cas?cas=%d" % index, server.name).text.strip())

        threads = [threading.Thread(target=swap, args=(s,)) for s in self.group.servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(answers), ["false", "false", "true"])

    def test_a_session_made_at_a_follower_is_renewed_there_at_once(self):
        for _ in range(100):
            for server in self.followers:
                session = server.must_put("/v1/session/create", {"TTL": "60s"}).json["ID"]
                self.assertEqual(server.must_put("/v1/session/renew/" + session).json[0]["ID"],
                                 session)
                server.must_put("/v1/session/destroy/" + session)

    def test_a_lock_is_held_once_among_followers(self):
        one, two = self.followers
        session = one.put("/v1/session/create", {"TTL": "60s", "LockDelay": "0s"}).json["ID"]
        other = two.put("/v1/session/create", {"TTL": "60s", "LockDelay": "0s"}).json["ID"]
        self.assertEqual(two.put("/v1/session/renew/" + session).json[0]["ID"], session)
        self.assertEqual(two.put("/v1/kv/lock?acquire=" + session, "a").text.strip(), "true")
        self.assertEqual(one.put("/v1/kv/lock?acquire=" + other, "b").text.strip(), "false")
        self.assertEqual(self.leader.get("/v1/kv/lock").json[0]["Session"], session)
        one.must_put("/v1/session/destroy/" + session)
        self.assertNotIn("Session", two.get("/v1/kv/lock").json[0])
        self.assertEqual(one.put("/v1/kv/lock?acquire=" + other, "b").text.strip(), "true")

    def test_a_blocking_query_at_a_follower_wakes_on_a_write_at_the_leader(self):
        self.leader.must_put("/v1/kv/watched", "1")
        index = self.followers[0].get("/v1/kv/watched").index
        with self.followers[0].client() as client, self.followers[1].client() as stale:
            client.send("GET", "/v1/kv/watched?wait=600s&index=%d" % index)
            stale.send("GET", "/v1/kv/watched?stale&wait=600s&index=%d" % index)
            self.leader.must_put("/v1/kv/watched", "2")
            for reply in (client.receive(), stale.receive()):
                self.assertEqual(base64.b64decode(reply.json[0]["Value"]), b"2")
                self.assertGreater(reply.index, index)

    def test_what_each_agent_registers_is_in_the_catalog_everywhere(self):
        for server in self.group.servers:
            server.must_put("/v1/agent/service/register", {
                "Name": "web", "ID": "web-" + server.name, "Port": 80,
                "Check": {"TTL": "600s", "Status": "passing"}})
        wanted = ["web-s1", "web-s2", "web-s3"]
        for server in self.group.servers:
            eventually(lambda: sorted(server.passing("web")) == wanted, "web at " + server.name)
            eventually(lambda: len(server.resolve("web.service.consul").data("A")) == 3, "DNS")
        self.followers[0].must_put("/v1/agent/check/fail/service:web-" + self.followers[0].name)
        wanted.remove("web-" + self.followers[0].name)
        for server in self.group.servers:
            eventually(lambda: sorted(server.passing("web")) == wanted, "one fails")
        for server in self.group.servers:
            server.must_put("/v1/agent/service/deregister/web-" + server.name)
        for server in self.group.servers:
            eventually(lambda: server.get("/v1/catalog/service/web").json == [], "it is gone")

    def test_what_is_measured(self):
        def samples(server):
            return {row["Name"] for row in server.get("/v1/agent/metrics").json["Samples"]}

        def seen():
            self.followers[0].must_put("/v1/kv/measured", "x")
            self.followers[0].get("/v1/kv/measured?consistent")
            leader, follower = samples(self.leader), samples(self.followers[0])
            return ("consul.raft.leader.lastContact" in leader and
                    {"consul.raft.rpc.appendEntries", "consul.raft.rpc.processHeartbeat",
                     "consul.rpc.consistentRead", "consul.fsm.kvs"} <= follower)
        eventually(seen, "samples")
        gauges = {row["Name"].split(".", 2)[2]: row["Value"]
                  for row in self.leader.get("/v1/agent/metrics").json["Gauges"]}
        self.assertGreaterEqual(gauges["state.kv_entries"], 1)

    def test_strangers_on_the_server_port_are_refused(self):
        self.leader.must_put("/v1/kv/kept", "x")
        for bytes_sent, said in (
                (b"GET / HTTP/1.1\r\n\r\n" * 8, "bytes that are not of this protocol"),
                (MAGIC + struct.pack(">I", 0x7fffffff) + b"x" * 64, "a frame of 2147483647 bytes"),
                (MAGIC + struct.pack(">I", 32) + b"\xff" * 32, "a malformed greeting"),
                (os.urandom(8).replace(b"c", b"d") * 512, "bytes that are not of this protocol"),
                (hello(os.urandom(16)), "'stranger' belongs to cluster"),
                (hello(b"", version=99), "version")):
            server = self.followers[0]
            before = server.output().count(said)
            with socket.create_connection((server.ip, server.server_port), 10) as stranger:
                stranger.sendall(bytes_sent)
                try:
                    while stranger.recv(4096):  # it is hung up on
                        pass
                except ConnectionError:
                    pass
            eventually(lambda: server.output().count(said) > before, "a line in the log: " + said)
        self.all_have(self.group, {"kept": "x"})
        self.assertIs(self.group.leader(), self.leader)

    def test_a_server_of_another_cluster_is_refused(self):
        self.leader.must_put("/v1/kv/ours", "x")
        foreign = Server("foreign", 1)
        self.addCleanup(foreign.discard)
        foreign.start()
        foreign.must_put("/v1/kv/theirs", "y")
        foreign.put("/v1/agent/join/" + self.leader.ip)
        eventually(lambda: "refused by the peer: 'foreign' belongs to cluster" in foreign.output(),
                   "it is told why")
        eventually(lambda: any("'foreign' belongs to cluster" in s.output()
                               for s in self.group.servers), "whoever was asked says so, too")
        self.assertEqual(foreign.value("theirs"), "y")
        self.assertIsNone(foreign.value("ours"))
        self.assertIsNone(self.leader.value("theirs"))
        self.assertEqual(self.group.registered(self.leader), ["s1", "s2", "s3"])
        foreign.stop()
        self.all_have(self.group, {"ours": "x"})


class Harm(GroupTest):
    def test_kill_stop_and_minority(self):
        group = self.start()
        acknowledged = {}

        def write_everywhere(round_):
            for server in group.servers:
                if server.runs_now:
                    key = "%s/%s" % (round_, server.name)
                    self.write(server, key, round_)
                    acknowledged[key] = round_

        write_everywhere("before")
        leader, followers = group.roles()

        # kill -9 of the leader
        leader.kill()
        write_everywhere("killed")
        self.all_have(group, acknowledged)
        leader.spawn()
        eventually(lambda: leader.value("killed/" + followers[0].name, "&stale") == "killed",
                   "it has caught up")
        group.whole()

        # A leader that slept does not know that others have gone on.
        leader, followers = group.roles()
        self.write(leader, "slept", "old")
        leader.process.send_signal(signal.SIGSTOP)
        try:
            # What was on its way to it goes to the next leader, long before LIMIT_FORWARD_MS.
            for follower, mode in zip(followers, ("", "?consistent")):
                reply = follower.try_request("GET", "/v1/kv/slept" + mode, timeout=8)
                self.assertIsNotNone(reply, "a read waits for a leader that is stopped")
            self.write(followers[0], "slept", "new")
        finally:
            leader.process.send_signal(signal.SIGCONT)
        for mode in ("", "&consistent"):
            reply = leader.try_request("GET", "/v1/kv/slept?raw" + mode, timeout=30)
            self.assertTrue(reply.status == 500 or reply.text == "new", reply)
        acknowledged["slept"] = "new"
        self.all_have(group, acknowledged)
        group.whole()

        self.minority(group, acknowledged)
        group.stop()

    def test_sessions_outlive_their_leader(self):
        group = self.start(session_ttl_min="1s")
        leader, followers = group.roles()
        agent = followers[0]
        made, kept = (agent.must_put("/v1/session/create",
                                     {"TTL": ttl, "NodeChecks": []}).json["ID"]
                      for ttl in ("6s", "1h"))

        def alive(session):
            reply = agent.try_request("GET", "/v1/session/info/" + session)
            return reply is None or reply.status != 200 or reply.json != []

        def renewed():
            reply = agent.try_request("PUT", "/v1/session/renew/" + made, timeout=8)
            self.assertIsNotNone(reply, "a renewal waits for a leader that is stopped")
            return None if reply.unled else reply

        # A leader that stopped answers nothing; the next one takes the renewal.
        leader.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(2):
                reply = eventually(renewed, "a leader")
                self.assertEqual((reply.status, reply.json[0]["ID"]), (200, made))
        finally:
            leader.process.send_signal(signal.SIGCONT)
        group.whole()

        # The clocks of a leader that died begin anew: never too early, and the end comes.
        leader, followers = group.roles()
        agent = followers[0]
        renewed_at = time.monotonic()
        agent.must_put("/v1/session/renew/" + made)
        leader.kill()
        eventually(lambda: not alive(made), "the session ends")
        self.assertGreaterEqual(time.monotonic() - renewed_at, 6)
        self.assertTrue(alive(kept))
        leader.spawn()
        group.whole()
        group.stop()

    def minority(self, group, acknowledged):
        last, others = group.servers[0], group.servers[1:]
        last.register("ext-web", Port=80)
        for server in others:
            server.kill()
        eventually(lambda: last.leader() == "", "it has no leader")
        for method, path in (("PUT", "/v1/kv/lost"), ("GET", "/v1/kv/slept"),
                             ("GET", "/v1/kv/slept?consistent"),
                             ("GET", "/v1/health/service/ext-web")):
            reply = last.request(method, path, "x" if method == "PUT" else None)
            self.assertEqual((reply.status, reply.text), (500, "No cluster leader"), path)
        for key, value in acknowledged.items():
            reply = last.get("/v1/kv/%s?raw&stale" % key)
            self.assertEqual((reply.status, reply.text), (200, value))
        self.assertEqual(meta(reply)[0], "false")
        answer = last.resolve("ext-web.service.consul")
        self.assertEqual((answer.rcode, answer.data("A")), (NOERROR, ["192.0.2.1"]))
        for server in others:
            server.spawn()
        group.whole()
        self.all_have(group, acknowledged)

    def test_move_leave_and_wipe(self):
        group = self.start(autopilot={"server_stabilization_time": "100ms"})
        self.write(group.servers[0], "kept", "1")

        # All of them get other addresses at once.
        group.stop()
        for server in group.servers:
            server.move()
        group.join()
        group.start()
        self.all_have(group, {"kept": "1"})

        # A graceful end makes the group smaller, and nobody misses it.
        leader, followers = group.roles()
        leader.try_request("PUT", "/v1/agent/leave", timeout=30)
        leader.ended(0)
        said = "removing server: server=" + leader.name
        eventually(lambda: any(said in s.output() for s in followers), "it is removed")
        for server in followers:
            self.write(server, "left/" + server.name, "1")
        before = self.promotions(group, leader)
        leader.spawn()
        group.whole()
        eventually(lambda: leader.value("left/" + followers[0].name) == "1", "it is back")
        eventually(lambda: self.promotions(group, leader) > before, "it votes again")

        self.wipe(group)
        group.stop()

    @staticmethod
    def promotions(group, server):
        said = "promoting server to voter: server=" + server.name
        return sum(s.output().count(said) for s in group.servers)

    def wipe(self, group):
        _, followers = group.roles()
        victim, other = followers
        self.write(other, "wiped", "0")
        victim.kill()
        shutil.rmtree(victim.data_dir)
        self.write(other, "wiped", "1")
        before = self.promotions(group, victim)
        victim.spawn()
        eventually(lambda: victim.value("wiped", "&stale") == "1", "a wiped server has all again")
        group.whole()
        eventually(lambda: self.promotions(group, victim) > before, "it votes again")
        self.all_have(group, {"kept": "1", "wiped": "1"})


if __name__ == "__main__":
    unittest.main()
