"""Agents that meet: real processes in network namespaces, whose links are cut."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import cairn
from cairn import eventually

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import netns  # noqa: E402

KEY_A = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
KEY_B = "MDEyMzQ1Njc4OWFiY2RlZg=="
ALIVE, LEAVING, LEFT, FAILED = 1, 2, 3, 4


class Member:
    """An agent on a host of its own. HTTP is asked inside its namespace."""

    def __init__(self, host, folder, name=None, config=None):
        self.host = host
        self.name = name or "n%d" % (host.number + 1)
        self.folder = os.path.join(folder, self.name)
        self.config = config or {}
        self.process = None
        self.runs = 0
        os.makedirs(self.folder, exist_ok=True)

    def start(self, *args, **config):
        path = os.path.join(self.folder, "config.json")
        self.runs += 1
        all_of_it = {"server": True, "bootstrap_expect": 9, "node_name": self.name,
                     "bind_addr": self.host.ip, "client_addr": "127.0.0.1",
                     "data_dir": os.path.join(self.folder, "data"), "retry_interval": "1s",
                     "log_level": "DEBUG"}
        all_of_it.update(self.config)
        all_of_it.update(config)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(all_of_it, file)
        self.output_path = os.path.join(self.folder, "output.%d" % self.runs)
        with open(self.output_path, "wb") as out:
            self.process = self.host.popen(
                [cairn.BINARY, "agent", "-config-file=" + path] + list(args), stdout=out,
                stderr=out, stdin=subprocess.DEVNULL, env=cairn.ENVIRONMENT)
        return self

    def output(self):
        with open(self.output_path, "rb") as file:
            return file.read().decode(errors="replace")

    def says(self, text):
        eventually(lambda: text in self.output(), "%s says %s" % (self.name, text))

    def run(self, *arguments):
        done = subprocess.run(self.host.command([cairn.BINARY] + list(arguments)),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def http(self, method, path, body=None):
        """(status, text); status 0: nobody answers."""
        command = ["curl", "-s", "-X", method, "-w", "\n%{http_code}",
                   "http://127.0.0.1:8500" + path]
        if body is not None:
            command += ["-d", json.dumps(body)]
        done = subprocess.run(self.host.command(command), stdout=subprocess.PIPE,
                              universal_newlines=True, check=False)
        text, _, status = done.stdout.rpartition("\n")
        return int(status or 0), text

    def members(self, query=""):
        """{name: status}, {} while it does not answer."""
        status, text = self.http("GET", "/v1/agent/members" + query)
        return {m["Name"]: m["Status"] for m in json.loads(text)} if status == 200 else {}

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self, number=signal.SIGINT, code=1):
        self.process.send_signal(number)
        got = self.process.wait(cairn.DEADLINE_S)
        text = self.output()
        if got != code or cairn.SANITIZER_REPORT.search(text.encode()):
            raise AssertionError("exit code %s, expected %s: %s" % (got, code, text))


@unittest.skipUnless(netns.available(), "needs root, ip and nft")
class Pool(unittest.TestCase):
    COUNT = 4

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cairn-pool-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.network = netns.Network(self.COUNT)
        self.network.__enter__()
        self.addCleanup(self.network.destroy)
        self.members = [Member(host, self.folder) for host in self.network.hosts]

    def start_all(self, **config):
        for member in self.members:
            member.start("-retry-join=" + self.members[0].host.ip, **config)
        for member in self.members:
            self.sees(member, {m.name: ALIVE for m in self.members})

    def sees(self, member, expected, query=""):
        try:
            eventually(lambda: member.members(query) == expected, "members")
        except AssertionError:
            raise AssertionError("%s sees %s, not %s\n%s" % (
                member.name, member.members(query), expected, member.output())) from None

    def end_all(self):
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                member.end()

    def all_but(self, member, status):
        return {m.name: status if m is member else ALIVE for m in self.members}


class Life(Pool):
    def test_join_kill_return_leave(self):
        self.start_all()
        first, victim = self.members[0], self.members[-1]
        self.sees(first, {m.name + ".dc1": ALIVE for m in self.members}, "?wan=1")
        victim.kill()
        for member in self.members[:-1]:
            self.sees(member, self.all_but(victim, FAILED))
        first.says("EventMemberFailed: %s %s" % (victim.name, victim.host.ip))
        # It knows its pool from before, and needs nobody's address.
        victim.start()
        for member in self.members:
            self.sees(member, {m.name: ALIVE for m in self.members})
        status, _ = victim.http("PUT", "/v1/agent/leave")
        self.assertEqual(status, 200)
        self.assertEqual(first.members()[victim.name], LEFT)  # before the answer, not some time
        self.assertEqual(victim.process.wait(cairn.DEADLINE_S), 0)
        # After a leave it does not.
        victim.start()
        self.sees(victim, {victim.name: ALIVE})
        victim.end()
        victim.start(rejoin_after_leave=True)
        self.sees(victim, {m.name: ALIVE for m in self.members})
        self.assertEqual(victim.run("leave")[0], 0)
        self.assertEqual(victim.process.wait(cairn.DEADLINE_S), 0)
        victim.start()
        self.sees(victim, {victim.name: ALIVE})
        code, out, _ = victim.run("join", first.host.ip, self.members[1].host.ip)
        self.assertEqual((code, out), (0, "Successfully joined cluster by contacting 2 nodes.\n"))
        for member in self.members:
            self.sees(member, {m.name: ALIVE for m in self.members})
        self.end_all()

    def test_cut_and_heal(self):
        self.start_all()
        victim, others = self.members[0], self.members[1:]
        victim.host.isolate()
        for member in others:
            self.sees(member, self.all_but(victim, FAILED))
        victim.host.heal()
        for member in self.members:
            self.sees(member, {m.name: ALIVE for m in self.members})
        self.end_all()

    def test_one_way_cut_between_two_harms_nobody(self):
        self.start_all()
        a, b = self.members[0], self.members[1]
        a.host.drop_from(b.host)
        eventually(lambda: int(self.stat(b, "health_score")) >= 0 and "suspect" in "".join(
            m.output() for m in self.members) or self.rounds(a) > 60, "a suspicion, or many rounds")
        for member in self.members:
            self.assertEqual(member.members(), {m.name: ALIVE for m in self.members})
        self.assertNotIn("EventMemberFailed", "".join(m.output() for m in self.members))
        self.network.heal()
        self.end_all()

    def stat(self, member, key):
        return json.loads(member.http("GET", "/v1/agent/self")[1])["Stats"]["serf_lan"][key]

    def rounds(self, member):
        self.polled = getattr(self, "polled", 0) + 1
        return self.polled

    def test_force_leave(self):
        self.start_all()
        first, victim = self.members[0], self.members[-1]
        self.assertEqual(first.run("force-leave", victim.name), (0, "", ""))
        self.assertEqual(first.members()[victim.name], ALIVE)
        victim.kill()
        self.sees(first, self.all_but(victim, FAILED))
        self.assertEqual(first.run("force-leave", victim.name), (0, "", ""))
        for member in self.members[:-1]:
            self.sees(member, self.all_but(victim, LEFT))
        self.assertEqual(first.run("force-leave", "-prune", victim.name), (0, "", ""))
        for member in self.members[:-1]:
            self.sees(member, {m.name: ALIVE for m in self.members[:-1]})
        status, text = first.http("PUT", "/v1/agent/force-leave/nobody")
        self.assertEqual((status, text), (500, "agent: No node found with name 'nobody'"))
        self.end_all()

    def test_names_that_clash(self):
        self.members[1].name = self.members[0].name.upper()
        for member in self.members[:2]:
            member.start("-retry-join=" + self.members[0].host.ip)
        self.sees(self.members[0], {m.name: ALIVE for m in self.members[:2]})
        for member in self.members[:2]:
            eventually(lambda: "two members have the name" in member.output(), "the clash is told")
            for other in self.members[:2]:
                member.says(other.host.ip + ":8301")
        self.end_all()


class Joining(Pool):
    COUNT = 3

    def test_names_and_ipv6(self):
        for member in self.members:
            member.start("-retry-join=nowhere.invalid", "-retry-join=[%s]:8301" %
                         self.members[0].host.ip6, bind_addr=member.host.ip6)
        for member in self.members:
            self.sees(member, {m.name: ALIVE for m in self.members})
        self.end_all()

    def test_retries_until_somebody_is_there(self):
        late, early = self.members[0], self.members[1]
        early.start("-retry-join=" + late.host.ip)
        eventually(lambda: "Join cluster failed, will retry" in early.output(), "a failed try")
        late.start()
        self.sees(late, {late.name: ALIVE, early.name: ALIVE})
        early.says("Join cluster completed. Synced with initial agents")
        hopeless = self.members[2]
        hopeless.start("-retry-join=10.77.200.1", retry_max=2)
        self.assertEqual(hopeless.process.wait(60), 1)
        self.assertIn("Retry join failed", hopeless.output())
        self.end_all()

    def test_other_datacenters_meet_in_the_wan_pool_alone(self):
        a, b = self.members[0], self.members[1]
        a.start()
        b.start(datacenter="dc2")
        eventually(a.members, "it runs")
        eventually(b.members, "it runs")
        code, _, err = b.run("join", a.host.ip)
        self.assertEqual(code, 1)
        self.assertIn("cannot join the LAN pool of 'dc1'", err)
        code, out, _ = b.run("join", "-wan", a.host.ip)
        self.assertEqual((code, out), (0, "Successfully joined cluster by contacting 1 nodes.\n"))
        self.sees(a, {a.name + ".dc1": ALIVE, b.name + ".dc2": ALIVE}, "?wan=1")
        self.sees(a, {a.name: ALIVE})
        self.end_all()

    def test_allowed_networks(self):
        a, b, c = self.members
        a.start(serf_lan_allowed_cidrs=[b.host.ip + "/32"])
        eventually(a.members, "it runs")
        b.start("-retry-join=" + a.host.ip)
        self.sees(a, {a.name: ALIVE, b.name: ALIVE})
        c.start("-retry-join=" + a.host.ip)
        eventually(lambda: "Join cluster failed" in c.output(), "it is not let in")
        self.assertEqual(a.members(), {a.name: ALIVE, b.name: ALIVE})
        self.end_all()


class Keys(Pool):
    COUNT = 3

    def test_wrong_or_missing_key(self):
        a, b, c = self.members
        a.start(encrypt=KEY_A)
        eventually(a.members, "it runs")
        for other, key, sentence in (
                (b, KEY_B, "the gossip key of 'n2' is not in the keyring of 'n1'"),
                (c, None, "'n3' has no gossip key, and 'n1' demands one (encrypt)")):
            other.start(**({"encrypt": key} if key else {}))
            eventually(other.members, "it runs")
            code, _, err = other.run("join", a.host.ip)
            self.assertEqual(code, 1)
            self.assertIn(sentence, err)
            other.says(sentence)
            a.says(sentence)
        self.assertEqual(a.members(), {a.name: ALIVE})
        self.end_all()

    def test_rolling_from_plain_to_encrypted(self):
        """Each step at each member in turn; nobody is ever missed."""
        self.start_all()
        everybody = {m.name: ALIVE for m in self.members}
        for step in ({"encrypt_verify_incoming": False, "encrypt_verify_outgoing": False},
                     {"encrypt_verify_incoming": False}, {}):
            for member in self.members:
                member.end()
                member.start(encrypt=KEY_A, **step)
                for m in self.members:
                    self.sees(m, everybody)
        for member in self.members:
            self.assertNotIn("refused", member.output().replace("Connection refused", ""))
        self.end_all()

    def keys(self, member):
        status, text = member.http("GET", "/v1/operator/keyring")
        self.assertEqual(status, 200, text)
        return [(r["WAN"], r["Keys"], r["PrimaryKeys"], r["NumNodes"]) for r in json.loads(text)]

    def test_change_of_the_key(self):
        self.start_all(encrypt=KEY_A)
        first = self.members[0]
        for member in self.members:
            self.sees(member, {m.name + ".dc1": ALIVE for m in self.members}, "?wan=1")
        self.assertEqual(self.keys(first), [(wan, {KEY_A: 3}, {KEY_A: 3}, 3)
                                            for wan in (True, False)])
        self.assertEqual(first.run("keyring", "-install=" + KEY_B)[0], 0)
        self.assertEqual(self.keys(first), [(wan, {KEY_A: 3, KEY_B: 3}, {KEY_A: 3}, 3)
                                            for wan in (True, False)])
        code, _, err = first.run("keyring", "-remove=" + KEY_A)
        self.assertEqual(code, 1)
        self.assertIn("Removing the primary key is not allowed", err)
        self.assertEqual(first.run("keyring", "-use=" + KEY_B)[0], 0)
        self.assertEqual(first.run("keyring", "-remove=" + KEY_A)[0], 0)
        code, out, _ = self.members[2].run("keyring", "-list")
        self.assertEqual((code, out), (0, "==> Gathering installed encryption keys...\n\n"
                                          "WAN:\n  %s [3/3]\n\ndc1 (LAN):\n  %s [3/3]\n" %
                                          (KEY_B, KEY_B)))
        # The file counts, not the configuration.
        victim = self.members[1]
        victim.kill()
        self.sees(first, self.all_but(victim, FAILED))
        victim.start(encrypt=KEY_A)
        for member in self.members:
            self.sees(member, {m.name: ALIVE for m in self.members})
        for name in ("local.keyring", "remote.keyring"):
            path = os.path.join(victim.folder, "data", "serf", name)
            with open(path, encoding="utf-8") as file:
                self.assertEqual(json.load(file), [KEY_B])
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(first.http("POST", "/v1/operator/keyring", {"Key": "x"})[0], 500)
        self.end_all()

    def test_all_datacenters(self):
        a, b = self.members[:2]
        a.start(encrypt=KEY_A)
        b.start(encrypt=KEY_A, datacenter="dc2")
        for member in (a, b):
            eventually(member.members, "it runs")
        self.assertEqual(b.run("join", "-wan", a.host.ip)[0], 0)
        for member in (a, b):
            self.sees(member, {a.name + ".dc1": ALIVE, b.name + ".dc2": ALIVE}, "?wan=1")
        code, out, _ = a.run("keyring", "-list")
        self.assertEqual((code, out), (0, "==> Gathering installed encryption keys...\n\n"
                                          "WAN:\n  %s [2/2]\n\ndc1 (LAN):\n  %s [1/1]\n\n"
                                          "dc2 (LAN):\n  %s [1/1]\n" % (KEY_A, KEY_A, KEY_A)))
        self.assertEqual(b.run("keyring", "-install=" + KEY_B)[0], 0)
        both = {KEY_A: 1, KEY_B: 1}
        self.assertEqual([r[1] for r in self.keys(a)], [{KEY_A: 2, KEY_B: 2}, both, both])
        status, text = a.http("GET", "/v1/operator/keyring?local-only=1")
        self.assertEqual([r["Datacenter"] for r in json.loads(text)], ["dc1"])
        code, _, err = a.run("keyring", "-remove=" + KEY_A)
        self.assertEqual(code, 1)
        self.assertIn("* dc2 (LAN) error: 1/1 nodes reported failure", err)
        b.kill()
        self.sees(a, {a.name + ".dc1": ALIVE, b.name + ".dc2": FAILED}, "?wan=1")
        status, text = a.http("GET", "/v1/operator/keyring")
        self.assertEqual(status, 500)
        self.assertIn("* dc2 (LAN) error: no server of it is alive", text)
        a.end()

    def test_without_encryption(self):
        first = self.members[0]
        first.start()
        eventually(first.members, "it runs")
        status, text = first.http("GET", "/v1/operator/keyring")
        self.assertEqual(status, 500)
        self.assertEqual(text, (
            "4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n"
            "\t* n1.dc1: Keyring is empty (encryption not enabled)\n"
            "\t* dc1 (LAN) error: 1/1 nodes reported failure\n"
            "\t* n1: Keyring is empty (encryption not enabled)\n\n"))
        self.end_all()


if __name__ == "__main__":
    unittest.main()
