"""Most servers are gone for good: the rest goes on by raft/peers.json, and new ones join it. A large
snapshot is restored while leaders change."""
import base64
import json
import os
import shutil
import threading
import unittest

from cairn import eventually
from servers import Group, Server


def peers_path(server):
    return os.path.join(server.data_dir, "raft", "peers.json")


def node_id(server):
    with open(os.path.join(server.data_dir, "node-id"), encoding="ascii") as file:
        return file.read().strip()


def put_peers(server, servers):
    with open(peers_path(server), "w", encoding="ascii") as file:
        json.dump([{"id": node_id(s), "address": s.server_address, "non_voter": False}
                   for s in servers], file)


def voters(server):
    reply = server.try_request("GET", "/v1/operator/raft/configuration?stale")
    if reply is None or reply.status != 200:
        return None
    return sorted(s["Node"] for s in reply.json["Servers"] if s["Voter"])


class Recovery(unittest.TestCase):
    def group(self, count):
        group = Group(count)
        self.addCleanup(group.discard)
        group.start()
        leader, _ = group.roles()
        for i in range(50):
            leader.must_put("/v1/kv/kept/%d" % i, "value %d" % i)
        leader.register("kept-service", node="ext", Port=1234)
        return group

    def destroy(self, servers):
        for server in servers:
            server.kill()
            shutil.rmtree(server.data_dir)

    def has_all(self, server):
        def check():
            rows = server.try_request("GET", "/v1/kv/kept/?keys")
            service = server.try_request("GET", "/v1/catalog/service/kept-service")
            return (rows is not None and rows.status == 200 and len(rows.json) == 50 and
                    service is not None and service.status == 200 and len(service.json) == 1)
        try:
            eventually(check, "%s serves everything" % server.name)
        except AssertionError as failure:
            raise AssertionError("%s\n%s" % (failure, server.output()[-6000:])) from failure

    def test_one_of_three_goes_on_and_two_new_ones_join(self):
        group = self.group(3)
        leader, followers = group.roles()
        last, lost = followers[0], [leader, followers[1]]
        eventually(lambda: last.value("kept/49", "&stale") == "value 49", "the last has it all")
        self.destroy(lost)
        last.stop()
        put_peers(last, [last])
        last.spawn()
        self.has_all(last)
        self.assertEqual(voters(last), [last.name])
        self.assertFalse(os.path.exists(peers_path(last)))
        last.says("raft/peers.json")
        last.must_put("/v1/kv/after", "1")
        last.stop()  # what the file said holds on without it
        last.spawn()
        self.has_all(last)
        self.assertEqual(last.value("after"), "1")
        fresh = [Server("fresh%d" % i, 3) for i in range(2)]
        for server in fresh:
            self.addCleanup(server.discard)
            server.config["retry_join"] = [last.ip]
            server.spawn()
        names = sorted(s.name for s in [last] + fresh)
        eventually(lambda: voters(last) == names, "three voters")
        last.stop()
        for server in fresh:
            self.has_all(server)
            eventually(lambda s=server: s.write("without/" + s.name, "1"), "a write without it")
        last.spawn()  # it follows what the others have decided meanwhile
        eventually(lambda: last.value("without/fresh1") == "1", "it is back")
        self.assertEqual(voters(last), names)
        for server in [last] + fresh:
            server.stop()

    def test_two_of_five_go_on(self):
        group = self.group(5)
        leader, followers = group.roles()
        rest, lost = followers[:2], [leader] + followers[2:]
        rest[1].kill()  # the other one lacks nothing of what is written now
        leader.must_put("/v1/kv/later", "1")
        eventually(lambda: rest[0].value("later", "&stale") == "1", "the other one has it")
        self.destroy(lost)
        rest[0].stop()
        for server in rest:
            put_peers(server, rest)
        for server in rest:
            server.spawn()
        for server in rest:
            self.has_all(server)
            eventually(lambda s=server: s.value("later") == "1", "the newest write")
        self.assertEqual(voters(rest[0]), sorted(s.name for s in rest))
        rest[0].must_put("/v1/kv/after", "1")
        for server in rest:
            server.stop()

    def test_a_file_that_makes_no_sense_changes_nothing(self):
        group = self.group(3)
        server, other = group.servers[0], group.servers[1]
        for each in group.servers:
            each.stop()
        own, stranger = node_id(server), "11111111-2222-4333-8444-555555555555"
        cases = [
            ("{", "JSON"),
            ("[]", "names no server"),
            ('["127.0.0.1:8300"]', "server"),
            (json.dumps([{"id": "x"}]), "is no UUID"),
            (json.dumps([{"id": own}, {"id": own}]), "twice"),
            (json.dumps([{"id": own}, {"id": stranger}]), stranger),
            (json.dumps([{"id": node_id(other)}]), own),
            (json.dumps([{"id": own, "non_voter": True}]), "vote"),
            (json.dumps([{"id": own, "unheard_of": 1}]), "unheard_of"),
        ]
        for text, sentence in cases:
            with self.subTest(text):
                with open(peers_path(server), "w", encoding="ascii") as file:
                    file.write(text)
                server.spawn()
                server.ended(1)
                self.assertIn("peers.json", server.output())
                self.assertIn(sentence, server.output())
                with open(peers_path(server), encoding="ascii") as file:
                    self.assertEqual(file.read(), text)
        os.unlink(peers_path(server))
        for each in group.servers:
            each.spawn()
        group.whole()
        self.has_all(server)
        group.stop()

    def test_a_blank_server_has_nothing_to_recover(self):
        server = Server("s1", 3)
        self.addCleanup(server.discard)
        os.makedirs(os.path.dirname(peers_path(server)))
        with open(peers_path(server), "w", encoding="ascii") as file:
            file.write("[]")
        server.spawn()
        server.ended(1)


KEYS, STEP = 12800, 64


class Restore(unittest.TestCase):
    """All of a restore or nothing of it, on every server, whatever happens meanwhile."""

    def setUp(self):
        self.group = Group(3)
        self.addCleanup(self.group.discard)
        self.group.start()

    def fill(self, server, value):
        for i in range(0, KEYS, STEP):
            server.must_put("/v1/txn", [
                {"KV": {"Verb": "set", "Key": "many/%05d" % k,
                        "Value": base64.b64encode(value.encode()).decode()}}
                for k in range(i, i + STEP)])

    def values(self, server, query="?stale"):
        """{value: how many keys have it}, and the keys that only one state has."""
        reply = server.must_get("/v1/kv/" + query + "&recurse")
        found = {}
        for row in reply.json:
            name = base64.b64decode(row["Value"] or "").decode()
            found[name] = found.get(name, 0) + 1
        return found, reply.index

    def test_leaders_change_amid_it(self):
        leader, followers = self.group.roles()
        self.fill(leader, "old")
        leader.must_put("/v1/kv/mark", "old")
        leader.register("kept-service", node="ext", Port=1234)
        archive = leader.get("/v1/snapshot").body
        self.fill(leader, "new")
        leader.must_put("/v1/kv/mark", "new")
        asked, answers, seen = followers[0], [], []
        self.assertEqual(self.values(asked, "?")[0], {"new": KEYS + 1})

        def restore():
            with asked.client(timeout=120) as client:
                answers.append(client.put("/v1/snapshot", archive))
        thread = threading.Thread(target=restore)
        thread.start()
        moves = 0
        while thread.is_alive():  # each look finds one state or the other, never both
            found, index = self.values(followers[1])
            self.assertIn(found, ({"new": KEYS + 1}, {"old": KEYS + 1}))
            seen.append((index, list(found)[0]))
            if moves < 4:
                reply = asked.try_request("POST", "/v1/operator/raft/transfer-leader")
                moves += reply is not None and reply.status == 200
        thread.join()
        self.assertGreater(moves, 0)
        self.assertEqual(answers[0].status, 200, answers[0])
        self.assertEqual(seen, sorted(seen))  # "new" comes before "old", and indexes rise
        before = dict((value, index) for index, value in seen)
        for server in self.group.servers:
            eventually(lambda s=server: s.value("mark") == "old", "the restored state")
            found, index = self.values(server, "?")
            self.assertEqual(found, {"old": KEYS + 1})
            self.assertGreater(index, before["new"])
            self.assertEqual(len(server.get("/v1/catalog/service/kept-service").json), 1)
        # What the log says comes to the same after a restart.
        self.group.stop()
        for server in self.group.servers:
            server.spawn()
        self.group.whole()
        for server in self.group.servers:
            eventually(lambda s=server: s.value("mark") == "old", "the log's replay")
            self.assertEqual(self.values(server, "?")[0], {"old": KEYS + 1})
        self.group.stop()


if __name__ == "__main__":
    unittest.main()
