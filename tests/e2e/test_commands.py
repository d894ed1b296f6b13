"""Commands that talk to an agent: what they print, where, and how they end."""

import base64
import http.server
import json
import os
import re
import signal
import ssl
import subprocess
import threading
import unittest

import cairn
from cairn import AgentTest, eventually

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("CONSUL_")}


def run(*args, address=None, env=None, stdin=""):
    """Exit code, stdout, stderr."""
    environment = dict(ENVIRONMENT, **(env or {}))
    if address is not None:
        environment["CONSUL_HTTP_ADDR"] = address
    done = subprocess.run([cairn.BINARY, *args], env=environment, input=stdin, text=True,
                          capture_output=True, timeout=cairn.DEADLINE_S)
    if cairn.SANITIZER_REPORT.search(done.stderr.encode()):
        raise AssertionError(done.stderr)
    return done.returncode, done.stdout, done.stderr


class Framework(unittest.TestCase):
    def test_top(self):
        for args in ((), ("nonsense",)):
            code, out, err = run(*args)
            self.assertEqual((code, out), (127, ""))
            self.assertTrue(err.startswith("Usage: cairn [--version] [--help] <command> [<args>]\n"
                                           "\nAvailable commands are:\n    agent "), err)
        code, out, err = run("--help")
        self.assertEqual((code, err), (0, ""))
        names = re.findall(r"^    (\S+) +\S", out, re.M)
        self.assertEqual(names, sorted(names))
        code, out, err = run("-dev", "agent")
        self.assertEqual((code, out), (1, ""))
        self.assertTrue(err.startswith("Invalid flags before the subcommand"), err)

    def test_groups(self):
        for args in (("catalog",), ("services", "nonsense")):
            code, out, err = run(*args)
            self.assertEqual((code, out), (1, ""))
            self.assertTrue(err.startswith("Usage: cairn %s <subcommand>" % args[0]), err)
        code, out, err = run("catalog", "-h")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("    datacenters    ", out)

    def test_what_is_left_out(self):
        for args in (("exec", "-node=a", "uptime"), ("debug",), ("config", "list"),
                     ("snapshot", "agent"), ("operator", "area", "list"), ("services", "export")):
            code, out, err = run(*args)
            name = " ".join(args[:1 if args[0] in ("exec", "debug", "config") else 2])
            self.assertEqual((code, out, err),
                             (1, "", 'The command "%s" is not supported.\n' % name))

    def test_help_and_bad_flags_of_each(self):
        for name in commands_of_table():
            words = name.split()
            code, out, err = run(*words, "-help")
            self.assertEqual((name, code, err), (name, 0, ""))
            self.assertTrue(out.startswith("Usage: cairn %s" % name), out)
            self.assertLess(max(map(len, out.splitlines())), 100)
            code, out, err = run(*words, "-nonsense")
            self.assertEqual((name, code, out), (name, 1, ""))
            self.assertIn("flag provided but not defined: -nonsense\n", err)

    def test_flags_end_at_two_dashes(self):
        for args in (("version", "--"), ("version", "--", "-format=json"), ("version", "extra"),
                     ("--version",), ("-v",)):
            code, out, err = run(*args)
            self.assertEqual((args, code, err), (args, 0, ""))
            self.assertTrue(out.startswith("cairn v"), out)
        code, out, err = run("version", "-format=json")
        self.assertEqual((code, json.loads(out)["RPC"]), (0, {"Default": 2, "Min": 2, "Max": 3}))
        self.assertEqual(run("version", "-format=xml")[:2], (1, ""))
        self.assertEqual(run("validate", "--"), (
            1, "", "Must specify at least one config file or directory\n"))
        self.assertIn("-nonsense.json", run("validate", "--", "-nonsense.json")[2])

    def test_values_of_flags(self):
        code, _, err = run("members", "-wan=maybe")
        self.assertEqual(code, 1)
        self.assertTrue(err.startswith('invalid boolean value "maybe" for -wan: parse error\n'))
        code, _, err = run("services", "register", "-name=a", "-port", "many")
        self.assertTrue(err.startswith('invalid value "many" for flag -port: parse error\n'), err)
        code, _, err = run("members", "-status")
        self.assertTrue(err.startswith("flag needs an argument: -status\n"), err)

    def test_keygen(self):
        keys = set()
        for _ in range(2):
            code, out, err = run("keygen")
            self.assertEqual((code, err, len(out)), (0, "", 45))
            self.assertEqual(len(base64.b64decode(out, validate=False)), 32)
            keys.add(out)
        self.assertEqual(len(keys), 2)


class Connection(unittest.TestCase):
    def test_nobody_listens(self):
        ip = cairn.new_ip()
        address = "%s:%d" % (ip, cairn.new_port(ip))
        reason = "dial tcp %s: connect: connection refused\n" % address
        for args, prefix in (
                (("members",), "Error retrieving members: "),
                (("info",), "Error querying agent: "),
                (("leave",), "Error leaving: "),
                (("catalog", "nodes"), "Error listing nodes: "),
                (("catalog", "services"), "Error listing services: "),
                (("catalog", "datacenters"), "Error listing datacenters: "),
                (("maint",), "Error querying Consul agent: "),
                (("monitor",), "Error starting monitor: "),
                (("services", "register", "-name=a"), 'Error registering service "a": '),
                (("services", "deregister", "-id=a"), 'Error deregistering service "a": ')):
            code, out, err = run(*args, address=address)
            self.assertEqual((args, code, out), (args, 1, ""))
            self.assertTrue(err.startswith(prefix), err)
            self.assertIn(' "http://%s/v1/' % address, err)
            self.assertTrue(err.endswith(reason), err)

    def test_no_client(self):
        code, _, err = run("members", address="ftp://127.0.0.1")
        self.assertEqual(code, 1)
        self.assertTrue(err.startswith("Error connecting to Consul agent: "), err)
        code, _, err = run("members", "-token-file=/nonexistent/token")
        self.assertEqual(code, 1)
        self.assertTrue(err.startswith("Error connecting to Consul agent: "), err)


class Stub:
    """Answers every request with what the test says, and keeps what came."""

    def __init__(self, test, unix=None, certificate=None):
        stub = self
        self.requests, self.answers = [], {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                stub.requests.append((self.command, self.path, self.headers,
                                      self.rfile.read(size).decode()))
                status, body = stub.answers.get(self.path.split("?")[0], (200, ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_PUT = answer

            def address_string(self):
                return "stub"

            def log_message(self, *_):
                pass

        if unix:
            class Server(http.server.ThreadingHTTPServer):
                address_family = cairn.socket.AF_UNIX

                def server_bind(self):
                    self.socket.bind(unix)

            self.server = Server(unix, Handler)
            self.address = "unix://" + unix
        else:
            ip = cairn.new_ip()
            self.server = http.server.ThreadingHTTPServer((ip, 0), Handler)
            self.address = "%s:%d" % (ip, self.server.server_address[1])
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        test.addCleanup(self.server.server_close)
        test.addCleanup(self.server.shutdown)


class Flags(unittest.TestCase):
    def token(self, *args, **env):
        stub = Stub(self)
        stub.answers["/v1/agent/members"] = (200, "[]")
        run("members", "-http-addr=" + stub.address, *args, env=env)
        (request,) = stub.requests
        return request[2].get("X-Consul-Token")

    def test_token_precedence(self):
        agent = cairn.Agent()  # for its folder
        self.addCleanup(agent.discard)
        paths = [os.path.join(agent.folder, name) for name in ("flag", "variable")]
        for path in paths:
            with open(path, "w", encoding="ascii") as file:
                file.write("  from-file-%s\n" % os.path.basename(path))
        files = {"CONSUL_HTTP_TOKEN_FILE": paths[1]}
        both = dict(files, CONSUL_HTTP_TOKEN="from-variable")
        self.assertIsNone(self.token())
        self.assertEqual(self.token(CONSUL_HTTP_TOKEN="from-variable"), "from-variable")
        self.assertEqual(self.token(**both), "from-file-variable")
        self.assertEqual(self.token("-token=from-flag", **both), "from-flag")
        self.assertEqual(self.token("-token=x", "-token-file=" + paths[0], **both),
                         "from-file-flag")

    def test_query_and_auth(self):
        stub = Stub(self)
        stub.answers["/prefix/v1/catalog/nodes"] = (200, "[]")
        code, _, err = run("catalog", "nodes", "-http-addr=http://%s/prefix/" % stub.address,
                           "-datacenter", "d c", "-stale", "-near=_agent", "-node-meta=a=b=c",
                           "-node-meta=d=e", "-filter=x == \"y\"",
                           env={"CONSUL_HTTP_AUTH": "me:secret", "CONSUL_HTTP_SSL": "maybe"})
        self.assertEqual(code, 0)
        self.assertIn("[WARN] could not parse CONSUL_HTTP_SSL", err)
        self.assertTrue(err.endswith(
            "No nodes match the given query - try expanding your search.\n"), err)
        ((_, path, headers, _),) = stub.requests
        self.assertEqual(path, "/prefix/v1/catalog/nodes?near=_agent&filter=x%20%3D%3D%20%22y%22"
                         "&node-meta=a%3Ab%3Dc&node-meta=d%3Ae&dc=d%20c&stale")
        self.assertEqual(headers["Authorization"],
                         "Basic " + base64.b64encode(b"me:secret").decode())

    def test_tls(self):
        agent = cairn.Agent()  # for its folder
        self.addCleanup(agent.discard)
        cert, key = (os.path.join(agent.folder, name) for name in ("cert.pem", "key.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-keyout", key, "-out", cert, "-subj", "/CN=agent.test",
                        "-addext", "subjectAltName=DNS:agent.test"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stub = Stub(self, certificate=(cert, key))
        stub.answers["/v1/catalog/datacenters"] = (200, '["east"]')
        right = (0, "east\n", "")

        def ask(*args, **env):
            return run("catalog", "datacenters", *args, address=stub.address, env=env)
        code, out, err = ask(CONSUL_HTTP_SSL="1")  # signed by nobody that is known
        self.assertEqual((code, out), (1, ""))
        self.assertIn("https://" + stub.address, err)
        self.assertEqual(ask(CONSUL_HTTP_SSL="true", CONSUL_HTTP_SSL_VERIFY="false"), right)
        named = {"CONSUL_HTTP_SSL": "true", "CONSUL_TLS_SERVER_NAME": "agent.test"}
        self.assertEqual(ask(CONSUL_CACERT=cert, **named), right)
        self.assertEqual(ask("-ca-file=" + cert, "-tls-server-name=agent.test",
                             "-http-addr=https://" + stub.address), right)
        self.assertEqual(ask(CONSUL_CACERT=cert, CONSUL_HTTP_SSL="true")[0], 1)  # another name
        self.assertEqual(ask(CONSUL_CACERT=cert, CONSUL_CLIENT_CERT=cert, CONSUL_CLIENT_KEY=key,
                             **named), right)
        self.assertNotEqual(ask()[0], 0)  # not by HTTP

    def test_unix_socket(self):
        agent = cairn.Agent()
        self.addCleanup(agent.discard)
        stub = Stub(self, unix=os.path.join(agent.folder, "api.sock"))
        stub.answers["/v1/catalog/datacenters"] = (200, '["east","west"]')
        self.assertEqual(run("catalog", "datacenters", address=stub.address),
                         (0, "east\nwest\n", ""))

    def test_an_error_of_the_agent(self):
        stub = Stub(self)
        stub.answers["/v1/agent/members"] = (403, "Permission denied")
        self.assertEqual(run("members", address=stub.address), (
            1, "", "Error retrieving members: Unexpected response code: 403 (Permission denied)\n"))

    def test_maint_asks(self):
        stub = Stub(self)
        for args, method_path, out in (
                (("-enable", "-reason", "new disk"), "/v1/agent/maintenance?enable=true&reason="
                 "new%20disk", "Node maintenance is now enabled\n"),
                (("-disable",), "/v1/agent/maintenance?enable=false",
                 "Node maintenance is now disabled\n"),
                (("-enable", "-service=a/b"), "/v1/agent/service/maintenance/a%2Fb?enable=true"
                 "&reason=", 'Service maintenance is now enabled for "a/b"\n'),
                (("-disable", "-service=web"), "/v1/agent/service/maintenance/web?enable=false",
                 'Service maintenance is now disabled for "web"\n')):
            self.assertEqual(run("maint", *args, address=stub.address), (0, out, ""))
            self.assertEqual(stub.requests.pop()[:2], ("PUT", method_path))

    def test_maint_lists(self):
        stub = Stub(self)
        stub.answers["/v1/agent/checks"] = (200, json.dumps({
            "_node_maintenance": {"CheckID": "_node_maintenance", "Node": "n1", "Notes": "disk"},
            "_service_maintenance:web": {"CheckID": "_service_maintenance:web", "Notes": "new"},
            "other": {"CheckID": "other", "Notes": "x"}}))
        self.assertEqual(run("maint", address=stub.address), (
            0, "Node:\n  Name:   n1\n  Reason: disk\n\nService:\n  ID:     web\n  Reason: new\n\n",
            ""))

    def test_maint_errors(self):
        for args, text in ((("-enable", "-disable"),
                            "Only one of -enable or -disable may be provided\n"),
                           (("-reason=x",), "Reason may only be provided with -enable\n"),
                           (("-service=x",), "Service requires either -enable or -disable\n")):
            self.assertEqual(run("maint", *args), (1, "", text))


MEMBERS = [
    {"Name": "zulu", "Addr": "10.0.0.3", "Port": 8301, "Status": 1,
     "Tags": {"role": "node", "build": "1.21.4:abc", "dc": "dc1", "vsn": "2", "segment": ""}},
    {"Name": "bravo", "Addr": "10.0.0.2", "Port": 8301, "Status": 4,
     "Tags": {"role": "consul", "build": "1.21.4", "dc": "dc1", "vsn": "2"}},
    {"Name": "alpha", "Addr": "fe80::1", "Port": 8301, "Status": 3,
     "Tags": {"role": "node", "build": "1.9.0", "dc": "dc1", "vsn": "2", "segment": "s1"}},
]


class MembersOutput(unittest.TestCase):
    def members(self, *args):
        stub = Stub(self)
        stub.answers["/v1/agent/members"] = (200, json.dumps(MEMBERS))
        result = run("members", *args, address=stub.address)
        return (*result, stub.requests)

    def test_table(self):
        code, out, err, requests = self.members()
        self.assertEqual((code, err, requests[0][1]), (0, "", "/v1/agent/members?segment=_all"))
        self.assertEqual(out, (
            "Node   Address         Status  Type    Build   Protocol  DC   Partition  Segment\n"
            "bravo  10.0.0.2:8301   failed  server  1.21.4  2         dc1  default    <all>\n"
            "zulu   10.0.0.3:8301   alive   client  1.21.4  2         dc1  default    <default>\n"
            "alpha  [fe80::1]:8301  left    client  1.9.0   2         dc1  default    s1\n"))

    def test_detailed_and_status(self):
        code, out, _, _ = self.members("-detailed", "-status=^(left|failed)$")
        self.assertEqual((code, out), (0, (
            "Node   Address         Status  Tags\n"
            "bravo  10.0.0.2:8301   failed  build=1.21.4,dc=dc1,role=consul,vsn=2\n"
            "alpha  [fe80::1]:8301  left    build=1.9.0,dc=dc1,role=node,segment=s1,vsn=2\n")))
        self.assertEqual(self.members("-status=leaving")[:3], (2, "", ""))
        self.assertEqual(self.members("-status=(")[0], 1)

    def test_wan(self):
        self.assertEqual(self.members("-wan")[3][0][1], "/v1/agent/members?segment=_all&wan=1")


class Commands(AgentTest):
    def run_(self, *args, **how):
        return run(*args, address="%s:%d" % self.agent.http_address, **how)

    def test_a_segment_of_the_wan(self):
        self.assertEqual(self.run_("members", "-wan", "-segment=x"), (1, "", (
            "Error retrieving members: Unexpected response code: 400 "
            "(Cannot provide a segment with wan=true)\n")))

    def test_members(self):
        code, out, err = self.run_("members")
        self.assertEqual((code, err), (0, ""))
        head, row = out.splitlines()
        self.assertEqual(head.split(), ["Node", "Address", "Status", "Type", "Build", "Protocol",
                                        "DC", "Partition", "Segment"])
        self.assertEqual(row.split(), ["n1", self.agent.ip + ":8301", "alive", "server", "1.21.4",
                                       "2", "dc1", "default", "<all>"])

    def test_info(self):
        code, out, err = self.run_("info")
        self.assertEqual((code, err), (0, ""))
        sections = re.findall(r"^(\w+):$", out, re.M)
        self.assertEqual(sections, sorted(sections))
        self.assertIn("\tserver = true\n", out)
        self.assertRegex(out, r"(?m)^raft:\n\tapplied_index = \d+$")

    def test_catalog(self):
        self.assertEqual(self.run_("catalog", "datacenters"), (0, "dc1\n", ""))
        self.agent.register("web", node="catalog-1", Tags=["v2", "v1"])
        self.agent.register("longer-name", node="catalog-1")
        node = "-node=catalog-1"
        self.assertEqual(self.run_("catalog", "services", node), (0, "longer-name\nweb\n", ""))
        self.assertEqual(self.run_("catalog", "services", node, "-tags"), (
            0, "longer-name      \nweb              v1,v2\n", ""))
        self.assertIn("web\n", self.run_("catalog", "services")[1])
        self.assertEqual(self.run_("catalog", "services", "-node-meta=no=where"), (
            0, "", "No services match the given query - try expanding your search.\n"))
        code, out, _ = self.run_("catalog", "nodes", "-service=web")
        self.assertEqual((code, out.split()),
                         (0, ["Node", "ID", "Address", "DC", "catalog-1", "192.0.2.1", "dc1"]))
        me = self.agent.get("/v1/agent/self").json["Config"]["NodeID"]
        self.assertRegex(self.run_("catalog", "nodes")[1],
                         r"(?m)^n1 +%s +%s +dc1$" % (me.split("-")[0], self.agent.ip))
        self.assertRegex(self.run_("catalog", "nodes", "-detailed")[1],
                         r"(?m)^n1 +%s +%s +dc1 +lan=%s, .*, wan_ipv4=%s +consul-network-segment=, "
                         r"consul-version=1.21.4$" % ((me,) + (self.agent.ip,) * 3))

    def test_services_from_flags(self):
        self.assertEqual(self.run_(
            "services", "register", "-name=flagged", "-id=f1", "-port=80", "-address=10.1.1.1",
            "-tag=a", "-tag=b", "-meta=k=v=w", "-meta=l=m", "-tagged-address=wan=192.0.2.9:99",
            "-tagged-address=lan_ipv6=[2001:db8::1]:98"), (0, "Registered service: flagged\n", ""))
        service = self.agent.get("/v1/agent/services").json["f1"]
        self.assertEqual((service["Service"], service["Port"], service["Address"], service["Tags"]),
                         ("flagged", 80, "10.1.1.1", ["a", "b"]))
        self.assertEqual(service["Meta"], {"k": "v=w", "l": "m"})
        self.assertEqual(service["TaggedAddresses"]["wan"], {"Address": "192.0.2.9", "Port": 99})
        self.assertEqual(service["TaggedAddresses"]["lan_ipv6"],
                         {"Address": "2001:db8::1", "Port": 98})
        self.assertEqual(self.run_("services", "deregister", "-id=f1"),
                         (0, "Deregistered service: f1\n", ""))
        self.assertNotIn("f1", self.agent.get("/v1/agent/services").json)
        code, out, err = self.run_("services", "deregister", "-id=f1")
        self.assertEqual((code, out), (1, ""))
        self.assertIn('Unexpected response code: 404 (Unknown service ID "f1"', err)

    def test_services_from_files(self):
        path = os.path.join(self.agent.folder, "services.json")
        with open(path, "w", encoding="ascii") as file:
            json.dump({"service": {"name": "one", "tags": ["]", "}"], "enable_tag_override": True},
                       "services": [{"id": "t1", "name": "two", "port": 2,
                                     "check": {"ttl": "1h"}}, {"name": "three"}],
                       "log_level": "WARN"}, file)
        self.assertEqual(self.run_("services", "register", path), (
            0, "".join("Registered service: %s\n" % name for name in ("two", "three", "one")), ""))
        services = self.agent.get("/v1/agent/services").json
        self.assertEqual((services["one"]["Tags"], services["one"]["EnableTagOverride"]),
                         (["]", "}"], True))
        self.assertEqual(services["t1"]["Port"], 2)
        self.assertIn("service:t1", self.agent.get("/v1/agent/checks").json)
        self.assertEqual(self.run_("services", "deregister", path), (
            0, "".join("Deregistered service: %s\n" % name for name in ("t1", "three", "one")), ""))
        path = os.path.join(self.agent.folder, "services.hcl")
        with open(path, "w", encoding="ascii") as file:
            file.write('''services {
                              name = "hcl-one" # of two
                              tags = ["a"]
                              checks = [{ id = "c1", http = "http://127.0.0.1:9/", interval = "1h",
                                          header = { X-A = ["1"] } },
                                        { id = "c2", ttl = "1h", status = "passing" }]
                            }
                            services { name = "hcl-two" port = 7 }''')
        self.assertEqual(self.run_("services", "register", path), (
            0, "Registered service: hcl-one\nRegistered service: hcl-two\n", ""))
        checks = self.agent.get("/v1/agent/checks").json
        self.assertEqual((checks["c1"]["Type"], checks["c2"]["Status"], checks["c2"]["ServiceID"]),
                         ("http", "passing", "hcl-one"))
        self.assertEqual(self.run_("services", "deregister", path), (
            0, "Deregistered service: hcl-one\nDeregistered service: hcl-two\n", ""))
        with open(path, "w", encoding="ascii") as file:
            file.write('service { nome = "x" }')
        code, out, err = self.run_("services", "register", path)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("invalid config key service.nome", err)
        code, _, err = self.run_("services", "register", "/nonexistent.json")
        self.assertEqual(code, 1)
        self.assertIn("/nonexistent.json", err)

    def test_services_errors(self):
        for args, text in (
                (("register",), "Service registration requires at least one argument or flags.\n"),
                (("register", "-id=x"),
                 "Service registration requires at least one argument or flags.\n"),
                (("register", "-id=x", "file"),
                 "Service registration requires arguments or -id, not both.\n"),
                (("deregister",),
                 "Service deregistration requires at least one argument or flags.\n"),
                (("deregister", "-id=x", "file"),
                 "Service deregistration requires arguments or -id, not both.\n")):
            self.assertEqual(self.run_("services", *args), (1, "", text))
        for address in ("10.0.0.1:80", "10.0.0.256", "1:2"):
            code, out, err = self.run_("services", "register", "-name=x", "-address=" + address)
            self.assertEqual((code, out), (1, ""))
            self.assertIn("Invalid Service address", err)

    def test_monitor(self):
        environment = dict(ENVIRONMENT, CONSUL_HTTP_ADDR="%s:%d" % self.agent.http_address)
        for number in (signal.SIGINT, signal.SIGTERM):
            with subprocess.Popen([cairn.BINARY, "monitor", "-log-json", "-log-level=DEBUG"],
                                  env=environment, stdout=subprocess.PIPE) as process:
                name = "watched-%d" % number

                # The command may not be connected yet when the first line is written.
                ports = iter(range(1, 60000))
                stop = threading.Event()

                def register():
                    while not stop.is_set():
                        self.agent.must_put("/v1/agent/service/register",
                                            {"Name": name, "Port": next(ports)})
                        stop.wait(0.05)
                thread = threading.Thread(target=register)
                thread.start()
                try:  # there may be lines about other things
                    while json.loads(process.stdout.readline()).get("service") != name:
                        pass
                finally:
                    stop.set()
                    thread.join()
                process.send_signal(number)
                process.stdout.read()
                self.assertEqual(process.wait(cairn.DEADLINE_S), 0)
        code, out, err = self.run_("monitor", "-log-level=loud")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("Unexpected response code: 400 (Unknown log level: loud)", err)

    def test_autopilot_state(self):
        code, out, err = self.run_("operator", "autopilot", "state")
        self.assertEqual((code, err), (0, ""))
        with open(os.path.join(self.agent.data_dir, "node-id"), encoding="ascii") as file:
            node = file.read().strip()
        self.assertRegex(out, (
            "Healthy:                      true\n"
            "Failure Tolerance:            0\n"
            "Optimistic Failure Tolerance: 0\n"
            "Leader:                       %s\n"
            "Voters:\n"
            "   %s\n"
            "Servers:\n"
            "   %s\n"
            "      Name:            n1\n"
            "      Address:         %s:%d\n"
            "      Version:         1.21.4\n"
            "      Status:          leader\n"
            "      Node Type:       voter\n"
            "      Node Status:     alive\n"
            "      Healthy:         true\n"
            "      Last Contact:    0s\n"
            "      Last Term:       \\d+\n"
            "      Last Index:      \\d+\n") % (node, node, node, self.agent.ip,
                                              self.agent.server_port))
        code, out, err = self.run_("operator", "autopilot", "state", "-format=json")
        self.assertEqual((code, err), (0, ""))
        self.assertTrue(out.startswith('{\n    "Healthy": true,\n'), out)
        self.assertTrue(out.endswith('\n}\n'), out)
        self.assertEqual(json.loads(out)["Servers"][node]["Status"], "leader")
        self.assertEqual(self.run_("operator", "autopilot", "state", "-format=xml"),
                         (1, "", "Unknown format: xml\n"))

    def test_list_peers(self):
        code, out, err = self.run_("operator", "raft", "list-peers")
        self.assertEqual((code, err), (0, ""))
        head, row = out.splitlines()
        self.assertEqual(re.split("  +", head), [
            "Node", "ID", "Address", "State", "Voter", "RaftProtocol", "Commit Index",
            "Trails Leader By"])
        cells = row.split()
        self.assertEqual((cells[0], cells[3:6], cells[7]), ("n1", ["leader", "true", "3"], "-"))
        self.assertEqual(self.run_("operator", "raft", "transfer-leader"), (
            1, "", "Error transfering leadership: Unexpected response code: 500 "
            "(cannot find peer)\n"))

    def test_snapshot_inspect(self):
        for key in ("inspect/a/1", "inspect/a/2", "inspect/b-c/1", "inspect/b", "other"):
            self.agent.must_put("/v1/kv/" + key, "v" * 100)
        folder = self.agent.folder
        self.assertEqual(self.run_("snapshot", "save", "-append-filename=dc,version",
                                   os.path.join(folder, "a.b.tgz"))[::2], (0, ""))
        path = os.path.join(folder, "a.b-1.21.4-dc1.tgz")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual([n for n in os.listdir(folder) if "unverified" in n], [])
        code, out, err = self.run_("snapshot", "save", "-append-filename=color", path)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("color", err)

        code, out, err = run("snapshot", "inspect", "-format=json", "-kvdetails",
                             "-kvfilter=inspect/", path)
        self.assertEqual((code, err), (0, ""))
        shown = json.loads(out)
        self.assertEqual(list(shown), ["Meta", "Stats", "StatsKV", "TotalSize", "TotalSizeKV"])
        self.assertEqual(shown["Meta"]["Version"], 1)
        self.assertEqual(shown["Meta"]["Size"], shown["TotalSize"])
        self.assertEqual({s["Name"]: s["Count"] for s in shown["Stats"]}["KVS"], len(
            self.agent.get("/v1/kv/?keys").json))
        self.assertEqual(sum(s["Sum"] for s in shown["Stats"]), shown["TotalSize"])
        self.assertEqual({s["Name"]: s["Count"] for s in shown["StatsKV"]}, {
            "inspect/a": 2, "inspect/b-c": 1, "inspect/b": 1})
        self.assertEqual(shown["StatsKV"][0]["Name"], "inspect/a")

        code, out, err = run("snapshot", "inspect", path)
        self.assertEqual((code, err), (0, ""))
        lines = out.splitlines()
        self.assertEqual([line.split()[0] for line in lines[:5]],
                         ["ID", "Size", "Index", "Term", "Version"])
        self.assertEqual((lines[5], lines[6].split()), ("", ["Type", "Count", "Size"]))
        self.assertEqual(set(lines[7].split()), {"----"})
        self.assertEqual(lines[-1].split()[0], "Total")
        self.assertRegex(lines[-1], r"(\d|\.[1-9])(B|KB)$")
        code, out, err = run("snapshot", "inspect", "-kvdetails", "-kvdepth=1", path)
        self.assertRegex(out, r"(?m)^ Key Name +Count +Size\n .*\n inspect +4 +")

        with open(path, "r+b") as file:
            file.truncate(100)
        for args, text in (((path,), "Error reading snapshot: "),
                           ((path + ".none",), "Error opening snapshot file: "),
                           ((), "Missing FILE argument\n"),
                           (("-format=x", path), "Unknown format: x\n")):
            code, out, err = run("snapshot", "inspect", *args)
            self.assertEqual((code, out), (1, ""))
            self.assertTrue(err.startswith(text), err)

    def test_leave_takes_no_arguments(self):
        self.assertEqual(self.run_("leave", "now", "please"),
                         (1, "", "Error found unexpected args: [now please]\n"))


class Leave(unittest.TestCase):
    def test_leave_ends_agent_and_monitor(self):
        agent = cairn.Agent()
        self.addCleanup(agent.discard)
        agent.start()
        address = "%s:%d" % agent.http_address
        environment = dict(ENVIRONMENT, CONSUL_HTTP_ADDR=address)
        with subprocess.Popen([cairn.BINARY, "monitor", "-log-level=TRACE"], env=environment,
                              text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as monitor:
            def connected():
                held = subprocess.run(["readlink", "-f"] + [
                    "/proc/%d/fd/%s" % (monitor.pid, fd)
                    for fd in os.listdir("/proc/%d/fd" % monitor.pid)],
                    text=True, capture_output=True, check=False).stdout
                return "socket:" in held
            eventually(connected, "the monitor is connected")
            self.assertEqual(run("leave", address=address), (0, "Graceful leave complete\n", ""))
            agent.ended(0)
            _, err = monitor.communicate(timeout=cairn.DEADLINE_S)
            self.assertEqual(monitor.returncode, 1)
            if "Error starting monitor" not in err:  # it was connected, but not yet answered
                self.assertEqual(err, (
                    "\nRemote side ended the monitor! This usually means that the\n"
                    "remote side has exited or crashed.\n"))


def commands_of_table():
    with open(os.path.join(ROOT, "agent", "main.c"), encoding="utf-8") as file:
        return re.findall(r'^    \{"([a-z -]+)", command_\w+', file.read(), re.M)


class Completion(unittest.TestCase):
    def complete(self, *words):
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cairn; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(
            ["bash", "-c", script, "bash", os.path.join(ROOT, "deploy", "cairn.bash-completion"),
             "cairn", *words], text=True, capture_output=True, check=True)
        return done.stdout.split()

    def test_install(self):
        agent = cairn.Agent()  # for its folder
        self.addCleanup(agent.discard)
        source = os.path.join(ROOT, "deploy", "cairn.bash-completion")
        for variable, folder in (("HOME", ".local/share/bash-completion/completions"),
                                 ("XDG_DATA_HOME", "bash-completion/completions")):
            path = os.path.join(agent.folder, folder, "cairn")
            home = {"XDG_DATA_HOME": "", variable: agent.folder}
            for _ in range(2):
                self.assertEqual(run("-autocomplete-install", env=home), (0, "", ""))
                with open(path, "rb") as installed, open(source, "rb") as file:
                    self.assertEqual(installed.read(), file.read())
            for _ in range(2):
                self.assertEqual(run("-autocomplete-uninstall", env=home), (0, "", ""))
                self.assertFalse(os.path.exists(path))
        code, _, err = run("-autocomplete-install", env={"HOME": "/proc/1/no", "XDG_DATA_HOME": ""})
        self.assertEqual(code, 1)
        self.assertIn("/proc/1/no", err)

    def test_each_command_is_offered(self):
        names = commands_of_table()
        self.assertGreater(len(names), 10)
        for name in names:
            *before, last = name.split()
            self.assertIn(last, self.complete(*before, ""), name)

    def test_each_flag_is_offered(self):
        for name in commands_of_table():
            words = name.split()
            help_text = run(*words, "-help")[1]
            flags = set(re.findall(r"^  (-[a-z0-9_-]+)", help_text, re.M))
            flags -= {"-namespace", "-partition", "-peer"}  # of no use
            self.assertLessEqual(flags, set(self.complete(*words, "-")), name)

    def test_values(self):
        self.assertEqual(self.complete("monitor", "-log-level", "D"), ["DEBUG"])
        self.assertEqual(self.complete("mem"), ["members"])


if __name__ == "__main__":
    unittest.main()
