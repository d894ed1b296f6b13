"""What keeps an agent from starting: one sentence on stderr, exit code 1, nothing damaged."""

import glob
import json
import os
import shutil
import socket
import subprocess
import threading
import unittest

import cairn
from cairn import Agent


class StartTest(unittest.TestCase):
    def new_agent(self, *args, **how):
        agent = Agent(*args, **how)
        self.addCleanup(agent.discard)
        return agent

    def refuses(self, agent, *parts):
        agent.spawn()
        agent.ended(1)
        sentence = agent.printed("stderr").decode()
        self.assertTrue(sentence.startswith("==> ") and sentence.endswith("\n"), sentence)
        for part in parts:
            self.assertIn(part, sentence)
        self.assertNotIn("agent running!", agent.printed("stdout").decode())
        return sentence

    def refuses_in_a_line(self, agent, *parts):
        self.assertEqual(self.refuses(agent, *parts).count("\n"), 1)


class StartErrors(StartTest):
    def test_http_port_in_use(self):
        agent = self.new_agent()
        with socket.socket() as taken:
            taken.bind(agent.http_address)
            taken.listen()
            self.refuses_in_a_line(agent, "%s:%d" % agent.http_address, "in use",
                                   "choose another port")
        agent.start()  # and so the failure has left nothing behind that harms
        agent.stop()

    def test_dns_port_in_use(self):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            agent = self.new_agent()
            with socket.socket(type=kind) as taken:
                taken.bind(agent.dns_address)
                if kind == socket.SOCK_STREAM:
                    taken.listen()
                self.refuses_in_a_line(agent, "%s:%d" % agent.dns_address, "in use",
                                       "choose another port")

    def test_second_address_in_use(self):
        """Clients of the first address, one with a query that would wait, do not disturb the end."""
        first, second = cairn.new_ip(), cairn.new_ip()
        agent = self.new_agent({"addresses": {"http": "%s %s" % (first, second)}})
        port = agent.http_address[1]
        stop = threading.Event()
        kept = []

        def ask():
            while not stop.is_set():
                try:
                    raw = cairn.Raw((first, port), timeout=5)
                    raw.send(b"GET /v1/catalog/nodes?index=99999 HTTP/1.1\r\nHost: x\r\n\r\n")
                    kept.append(raw)
                    if len(kept) > 200:
                        kept.pop(0).close()
                except OSError:
                    pass

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            with socket.socket() as taken:
                taken.bind((second, port))
                taken.listen()
                for _ in range(5):
                    self.refuses_in_a_line(agent, "%s:%d" % (second, port), "in use")
        finally:
            stop.set()
            thread.join()
            for raw in kept:
                raw.close()

    def test_no_such_address(self):
        agent = self.new_agent({"addresses": {"http": "192.0.2.77"}})
        self.refuses_in_a_line(agent, "192.0.2.77", "address that this host has")

    @unittest.skipUnless(os.getuid() == 0 and shutil.which("setpriv"), "needs to change the user")
    def test_a_directory_of_somebody_else(self):
        for exists, part in ((True, "write permission"), (False, "create it for the user")):
            agent = self.new_agent()
            os.chmod(agent.folder, 0o755)
            if exists:
                os.mkdir(agent.data_dir)
                os.chmod(agent.data_dir, 0o755)
            command = agent.command
            agent.command = lambda: ["setpriv", "--reuid=65534", "--regid=65534",
                                     "--clear-groups"] + command()
            self.refuses_in_a_line(agent, agent.data_dir, part, "choose another directory")

    def test_second_agent_on_the_data_directory(self):
        first = self.new_agent().start()
        first.register("kept")
        second = self.new_agent(data_dir=first.data_dir)
        self.refuses_in_a_line(second, first.data_dir, "in use", str(first.process.pid))
        self.assertEqual(len(first.get("/v1/catalog/service/kept").json), 1)
        first.register("more")
        first.stop()
        first.start()
        self.assertEqual(len(first.get("/v1/catalog/service/more").json), 1)
        first.stop()

    def test_data_directory(self):
        agent = self.new_agent()
        with open(agent.data_dir, "w", encoding="ascii"):
            pass  # a file in its place
        self.refuses_in_a_line(agent, agent.data_dir)
        agent = self.new_agent(data_dir="/proc/self/no")  # nobody may write there, root neither
        self.refuses_in_a_line(agent, "/proc/self/no")

    def test_foreign_data_directory(self):
        agent = self.new_agent()
        os.makedirs(os.path.join(agent.data_dir, "base"))
        path = os.path.join(agent.data_dir, "PG_VERSION")
        with open(path, "w", encoding="ascii") as file:
            file.write("15\n")
        self.refuses_in_a_line(agent, agent.data_dir, "another program")
        self.assertEqual(sorted(set(os.listdir(agent.data_dir)) - {"lock"}),
                         ["PG_VERSION", "base"])

    def test_bad_node_id_file(self):
        agent = self.new_agent().start()
        agent.stop()
        with open(os.path.join(agent.data_dir, "node-id"), "w", encoding="ascii") as file:
            file.write("nonsense")
        self.refuses_in_a_line(agent, "node-id", "UUID")

    def test_configuration(self):
        for config, parts in (
                ({"no_such_key": 1}, ("config.json", "invalid config key no_such_key")),
                ({"dns_config": {"only_pasing": True}},
                 ("config.json", "invalid config key dns_config.only_pasing")),
                ({"server": "yes"}, ("config.json", "server", "bool")),
                ({"ports": {"http": "80"}}, ("config.json", "http")),
                ({"ports": {"http": 70000}}, ("70000",)),
                ({"data_dir": None}, ("data_dir cannot be empty",)),
                ({"server": False}, ("'bootstrap = true' requires 'server = true'",)),
                ({"bootstrap_expect": 3}, ("bootstrap_expect",)),
                ({"node_id": "nonsense"}, ("node_id",)),
                ({"datacenter": "a b"}, ("datacenter can only contain lowercase",)),
                ({"node_meta": {"consul-x": "1"}}, ("node_meta", "reserved")),
                ({"client_addr": "nonsense"}, ("nonsense",)),
                ({"bind_addr": "nonsense"}, ("bind_addr",)),
                ({"log_level": "loud"}, ("loud",)),
                ({"default_query_time": "5"}, ("default_query_time", "5")),
                ({"dns_config": {"service_ttl": {"*": "soon"}}}, ("service_ttl", "soon"))):
            with self.subTest(config=config):
                self.refuses(self.new_agent(config), *parts)
        sentence = self.refuses(self.new_agent({"one_bad": 1, "two_bad": 2}))
        self.assertIn("one_bad", sentence)  # both are told at once
        self.assertIn("two_bad", sentence)

    def test_configuration_files(self):
        agent = self.new_agent()
        for name, text, part in (("bad.json", '{"server":', "bad.json"),
                                 ("bad.json", "[]", "bad.json"),
                                 ("x.yaml", "a: b", "x.yaml"), ("x.hcl", "server =", "x.hcl: At 1:9")):
            path = os.path.join(agent.folder, name)
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            agent.args = ["-config-file=" + path]
            self.refuses(agent, part)
        agent.args = ["-config-file=" + os.path.join(agent.folder, "absent.json")]
        self.refuses_in_a_line(agent, "absent.json", "No such file")
        # A folder is read in order of names; the last word counts.
        folder = os.path.join(agent.folder, "conf.d")
        os.mkdir(folder)
        for name, content in (("1.json", {"node_name": "a"}), ("2.json", {"node_name": "b"}),
                              ("0.json", {"node_name": "c"}), ("9.txt", {"nonsense": 1})):
            with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                json.dump(content, file)
        agent.args = ["-config-dir=" + folder]
        agent.start()
        self.assertEqual(agent.get("/v1/agent/self").json["Config"]["NodeName"], "b")
        agent.stop()

    def test_flags(self):
        for args, part in ((["-no-such-flag"], "flag provided but not defined: -no-such-flag"),
                           (["-http-port"], "flag needs an argument: -http-port"),
                           (["-http-port=abc"], 'invalid value "abc" for flag -http-port'),
                           (["-server=perhaps"], 'invalid boolean value "perhaps" for -server')):
            agent = self.new_agent(args=args).spawn()
            agent.ended(1)
            told = agent.printed("stderr").decode()
            self.assertTrue(told.startswith(part), told)
            self.assertIn("\n\nUsage: cairn agent [options]\n", told)
            self.assertEqual(agent.printed("stdout"), b"")
        self.refuses(self.new_agent(args=["extra"]), "Unexpected extra arguments: [extra]")
        agent = self.new_agent(args=["-node=by-flag", "-node-meta", "a:b", "--log-level=debug"])
        agent.start()  # flags win over files
        got = agent.get("/v1/agent/self").json
        self.assertEqual((got["Config"]["NodeName"], got["Meta"]["a"]), ("by-flag", "b"))
        agent.stop()


class Rot(StartTest):
    def written(self):
        agent = self.new_agent().start()
        for i in range(20):
            agent.register("service-number-%d" % i)
        agent.stop()
        return agent

    def find(self, agent, text):
        """The log's segment that holds the text, and what is in it."""
        for path in sorted(glob.glob(os.path.join(agent.data_dir, "raft", "log-0*"))):
            with open(path, "rb") as file:
                content = file.read()
            if text in content:
                return path, content
        raise AssertionError("no segment holds %r" % text)

    def flip(self, path, at):
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1]))

    def test_a_flipped_bit_in_the_log(self):
        for number in (0, 9):
            agent = self.written()
            path, content = self.find(agent, b"service-number-%d" % number)
            at = content.index(b"service-number-%d" % number)
            self.flip(path, at)
            self.refuses_in_a_line(agent, "damaged", agent.data_dir, "put back a good copy")
            self.refuses_in_a_line(agent, "damaged")  # it has not been "repaired" by cutting
            self.flip(path, at)
            agent.start()  # and so a copy of the good file brings all back
            services = agent.get("/v1/catalog/services").json
            self.assertEqual(len(services), 21)
            agent.stop()

    def test_other_damaged_files(self):
        for name, part in (("identity", "identity"), ("raft/log-0000000000000001", "log")):
            with self.subTest(name=name):
                agent = self.written()
                self.flip(os.path.join(agent.data_dir, name), 17)
                self.refuses_in_a_line(agent, part, "an empty one")
        agent = self.written()
        with open(os.path.join(agent.data_dir, "raft", "hard-state"), "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            file.write(b"\xff" * size)
        self.refuses_in_a_line(agent, "hard", "put back a good copy")

    def test_a_torn_tail_is_cut(self):
        agent = self.new_agent().start()
        agent.register("before-the-cut")
        agent.kill()
        path, content = self.find(agent, b"before-the-cut")
        with open(path, "r+b") as file:
            end = len(content.rstrip(b"\0"))
            file.seek((end + 8) // 8 * 8)
            file.write(b"\x55" * 100)  # the start of a record that a power cut interrupted
        agent.start()
        self.assertEqual(len(agent.get("/v1/catalog/service/before-the-cut").json), 1)
        agent.register("after-the-cut")
        agent.stop()
        agent.start()
        self.assertEqual(len(agent.get("/v1/catalog/service/after-the-cut").json), 1)
        agent.stop()


class Commands(unittest.TestCase):
    def run_program(self, *args):
        done = subprocess.run([cairn.BINARY, *args], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def test_usage(self):
        for args in ((), ("nonsense",)):
            code, out, err = self.run_program(*args)
            self.assertEqual((code, out), (127, ""))
            self.assertTrue(err.startswith("Usage: cairn [--version] [--help] <command> [<args>]"))
        for args in (("-h",), ("--help",), ("agent", "-h"), ("agent", "--help"),
                     ("version", "-help")):
            code, out, err = self.run_program(*args)
            self.assertEqual((code, err), (0, ""))
            self.assertTrue(out.startswith("Usage: cairn "), out)
        code, out, err = self.run_program("-x", "agent")
        self.assertEqual((code, out), (1, ""))
        self.assertTrue(err.startswith("Invalid flags before the subcommand"))

    def test_version(self):
        answers = [self.run_program(*args) for args in (("version",), ("-v",), ("--version",))]
        self.assertEqual(answers[0][0], 0)
        self.assertRegex(answers[0][1], r"\Acairn v\d+\.\d+\.\d+\n")
        self.assertEqual(answers, [answers[0]] * 3)
        code, out, err = self.run_program("version", "-format=json")
        self.assertEqual((code, err), (0, ""))
        got = json.loads(out)
        self.assertRegex(got["Version"], r"^\d+\.\d+\.\d+$")
        self.assertEqual(got["RPC"], {"Default": 2, "Min": 2, "Max": 3})
        code, out, err = self.run_program("version", "-format=xml")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("xml", err)
