"""Checks of every kind and what the agent makes of them: who may register what, aliases, maintenance
mode, the health of local services, services that stay critical."""

import os
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time

from cairn import AgentTest, NOERROR, NXDOMAIN, Service, eventually, new_ip, new_port

SCRIPTS = {"enable_script_checks": True,
           "http_config": {"allow_write_http_from": ["127.0.0.0/8"]}}
DISABLED = ("Scripts are disabled on this agent from remote calls; to enable, configure "
            "'enable_script_checks' to true")


def check_of(agent, check_id):
    return agent.get("/v1/agent/checks").json[check_id]


def becomes(agent, check_id, status, output=None):
    def right():
        check = check_of(agent, check_id)
        return check["Status"] == status and (output is None or output in check["Output"]) and check
    try:
        return eventually(right, "%s is %s, %r" % (check_id, status, output))
    except AssertionError as error:
        raise AssertionError("%s but %s" % (error, check_of(agent, check_id))) from None


def state_of(pid):
    """The process's state and parent; None: there is none."""
    try:
        with open("/proc/%d/stat" % pid, encoding="latin-1") as file:
            fields = file.read().rsplit(")", 1)[1].split()
            return fields[0], int(fields[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def read(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def children(pid):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            state = state_of(int(name))
            if state is not None and state[1] == pid:
                found.append(int(name))
    return found


# ---- an HTTP/2 server of a few lines ----

class Http2:
    """Acknowledges pings and answers grpc.health.v1.Health/Check, over TLS if it has a certificate."""

    def __init__(self, certificate=None):
        ip = new_ip()
        self.listener = socket.create_server((ip, new_port(ip)))
        self.target = "%s:%d" % self.listener.getsockname()
        self.serving = 1
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
            self.context.set_alpn_protocols(["h2"])
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as file:
                if file.read(24) != b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":
                    return
                connection.sendall(self.frame(4, 0, 0, b""))
                while True:
                    head = file.read(9)
                    if len(head) < 9:
                        return
                    size = int.from_bytes(head[:3], "big")
                    kind, flags, stream = struct.unpack(">BBI", head[3:])
                    body = file.read(size)
                    if kind == 4 and not flags & 1:
                        connection.sendall(self.frame(4, 1, 0, b""))
                    elif kind == 6:
                        connection.sendall(self.frame(6, 1, 0, body))
                    elif kind in (0, 1) and flags & 1:
                        connection.sendall(
                            self.frame(1, 4, stream, b"\x88") +
                            self.frame(0, 0, stream, bytes([0, 0, 0, 0, 2, 8, self.serving])) +
                            self.frame(1, 5, stream, b"\x00\x0bgrpc-status\x010"))
        except OSError:
            pass

    @staticmethod
    def frame(kind, flags, stream, body):
        return len(body).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + body

    def close(self):
        self.listener.close()


def make_certificate(folder):
    path = os.path.join(folder, "server.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=checked.example", "-addext", "subjectAltName=DNS:checked.example",
                    "-keyout", path, "-out", path + ".crt"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(path, "a", encoding="ascii") as out, open(path + ".crt", encoding="ascii") as crt:
        out.write(crt.read())
    return path


class Kinds(AgentTest):
    config = dict(SCRIPTS, disable_coordinates=True)  # they would cost entries now and then

    def register(self, **check):
        self.agent.must_put("/v1/agent/check/register", dict({"Interval": "1s"}, **check))
        self.addCleanup(self.agent.put, "/v1/agent/check/deregister/" + check["Name"])

    def test_script(self):
        self.register(Name="s", ScriptArgs=["/bin/sh", "-c", "echo $0; exit 1", "arg"])
        check = becomes(self.agent, "s", "warning", "arg\n")
        self.assertEqual((check["Type"], check["Interval"], check["Timeout"]), ("script", "1s", "0s"))
        self.register(Name="cut", Args=["/bin/sh", "-c", "echo 1234567890; exit 2"],
                      OutputMaxSize=4)
        becomes(self.agent, "cut", "critical", "Captured 4 of 11 bytes\n...\n890\n")
        self.register(Name="slow", script_args=["sleep", "1000"], Timeout="50ms")
        becomes(self.agent, "slow", "critical", "Timed out (50ms) running check")
        # Another kind under the same id replaces its runner.
        self.agent.must_put("/v1/agent/check/register", {"Name": "s", "TTL": "1h"})
        self.agent.must_put("/v1/agent/check/pass/s?note=mine")
        self.register(Name="marker", ScriptArgs=["true"])
        becomes(self.agent, "marker", "passing")
        self.assertEqual(check_of(self.agent, "s")["Output"], "mine")

    def test_udp(self):
        with socket.socket(type=socket.SOCK_DGRAM) as server:
            ip = new_ip()
            server.bind((ip, new_port(ip)))
            target = "%s:%d" % server.getsockname()
            self.register(Name="udp", UDP=target, Timeout="100ms")
            becomes(self.agent, "udp", "passing", "UDP connect %s: Success" % target)
        becomes(self.agent, "udp", "critical", "connection refused")

    def test_grpc(self):
        server = Http2()
        self.addCleanup(server.close)
        self.register(Name="grpc", GRPC=server.target + "/some.Service")
        becomes(self.agent, "grpc", "passing", "gRPC check %s/some.Service: success" % server.target)
        server.serving = 2
        becomes(self.agent, "grpc", "critical", "serving status: NOT_SERVING")

    def test_h2ping(self):
        server = Http2()
        self.addCleanup(server.close)
        self.register(Name="h2", H2PING=server.target, H2PingUseTLS=False)
        becomes(self.agent, "h2", "passing", "HTTP2 ping was successful")

    def test_over_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            server = Http2(make_certificate(folder))
        self.addCleanup(server.close)
        self.register(Name="h2tls", H2PING=server.target, TLSSkipVerify=True)
        self.register(Name="grpctls", GRPC=server.target, GRPCUseTLS=True, TLSSkipVerify=True)
        self.register(Name="tcptls", TCP=server.target, TCPUseTLS=True, TLSSkipVerify=True)
        self.register(Name="verified", H2PING=server.target, TLSServerName="checked.example")
        becomes(self.agent, "h2tls", "passing", "HTTP2 ping was successful")
        becomes(self.agent, "grpctls", "passing", "success")
        becomes(self.agent, "tcptls", "passing", "TCP+TLS connect")
        becomes(self.agent, "verified", "critical", "Failed to dial to " + server.target)

    def test_what_is_refused(self):
        for body, text in (
                ({"OSService": "x"}, "not implemented"),):
            reply = self.agent.put("/v1/agent/check/register",
                                   dict({"Name": "no", "Interval": "1s"}, **body))
            self.assertEqual((reply.status, reply.text), (500, text))
            reply = self.agent.put("/v1/agent/service/register",
                                   {"Name": "no", "Check": dict({"Interval": "1s"}, **body)})
            self.assertEqual((reply.status, reply.text), (500, text))
        self.assertNotIn("no", self.agent.get("/v1/agent/services").json)

    def test_output_alone_costs_no_entry(self):
        self.agent.must_put("/v1/agent/check/register", {"Name": "ttl", "TTL": "1h"})
        self.agent.must_put("/v1/agent/check/pass/ttl?note=first")
        # Nothing else may be on its way to the catalog.
        for name in list(self.agent.get("/v1/agent/checks").json):
            if name != "ttl":
                self.agent.must_put("/v1/agent/check/deregister/" + name)

        def last_index():
            return int(self.agent.get("/v1/agent/self").json["Stats"]["raft"]["last_log_index"])

        before = last_index()
        for i in range(100):
            self.agent.must_put("/v1/agent/check/update/ttl",
                                {"Status": "passing", "Output": "output %d" % i})
        self.assertEqual(last_index(), before)
        self.assertEqual(check_of(self.agent, "ttl")["Output"], "output 99")
        self.agent.must_put("/v1/agent/check/fail/ttl")  # a status goes at once
        self.assertEqual(last_index(), before + 1)
        self.agent.must_put("/v1/agent/check/deregister/ttl")


class Scripts(AgentTest):
    """What needs agents of its own."""

    def refused(self, agent, text):
        check = {"ScriptArgs": ["true"], "Interval": "1s"}
        reply = agent.put("/v1/agent/check/register", dict(check, Name="s"))
        self.assertEqual((reply.status, reply.text), (500, text))
        reply = agent.put("/v1/agent/service/register", {"Name": "s", "Check": check})
        self.assertEqual((reply.status, reply.text), (500, text))
        self.assertEqual(agent.get("/v1/agent/checks").json, {})
        self.assertEqual(agent.get("/v1/agent/services").json, {})

    def test_permission(self):
        self.refused(self.agent, DISABLED)
        agent = self.new_agent({"enable_local_script_checks": True}).start()
        self.refused(agent, DISABLED)
        agent.stop()
        agent = self.new_agent(args=["-enable-script-checks"]).start()
        self.refused(agent, DISABLED + " and 'http_config.allow_write_http_from' to who may "
                     "register them")
        agent.stop()

    def test_a_kept_script_needs_permission_again(self):
        agent = self.new_agent(SCRIPTS).start()
        agent.must_put("/v1/agent/check/register",
                       {"Name": "s", "ScriptArgs": ["true"], "Interval": "1s"})
        agent.stop()
        agent.start()
        becomes(agent, "s", "passing")
        agent.stop()
        agent.config = {}
        agent.start()
        self.assertEqual(agent.get("/v1/agent/checks").json, {})
        agent.says("skipping a kept check: check=s")
        agent.stop()

    def test_no_script_outlives_the_agent(self):
        for end in ("stop", "kill"):
            with self.subTest(end), tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "pid")
                agent = self.new_agent(SCRIPTS).start()
                agent.must_put("/v1/agent/check/register", {
                    "Name": "s", "Interval": "1s",
                    "ScriptArgs": ["/bin/sh", "-c", "sleep 1000 & echo $! >$0; wait", path]})
                pid = int(eventually(lambda: read(path), "the script runs"))
                helper, = children(agent.process.pid)
                getattr(agent, end)()
                eventually(lambda: state_of(pid) in (None, ("Z", 1)), "the script is gone")
                eventually(lambda: state_of(helper) in (None, ("Z", 1)), "the helper is gone")

    def test_the_helper_is_started_again(self):
        agent = self.new_agent(SCRIPTS).start()
        agent.must_put("/v1/agent/check/register",
                       {"Name": "s", "ScriptArgs": ["/bin/sh", "-c", "date +%s%N"], "Interval": "1s"})
        becomes(agent, "s", "passing")
        helper, = children(agent.process.pid)
        before = check_of(agent, "s")["Output"]
        os.kill(helper, signal.SIGKILL)
        eventually(lambda: state_of(helper) is None, "the agent has reaped it")
        eventually(lambda: check_of(agent, "s")["Output"] != before
                   and check_of(agent, "s")["Status"] == "passing", "scripts run again")
        agent.stop()

    def test_output_options(self):
        agent = self.new_agent(dict(SCRIPTS, check_output_max_size=3)).start()
        agent.must_put("/v1/agent/check/register", {
            "Name": "s", "ScriptArgs": ["echo", "12345"], "Interval": "1s", "OutputMaxSize": 100})
        becomes(agent, "s", "passing", "Captured 3 of 6 bytes\n...\n45\n")
        agent.must_put("/v1/agent/check/register", {"Name": "t", "TTL": "1h"})
        agent.must_put("/v1/agent/check/pass/t?note=abcdef")
        becomes(agent, "t", "passing", "abc ... (captured 3 of 6 bytes)")
        agent.stop()
        agent.config["discard_check_output"] = True
        agent.start()
        agent.must_put("/v1/agent/check/register", {
            "Name": "u", "ScriptArgs": ["echo", "1"], "Interval": "1s"})
        self.assertEqual(becomes(agent, "u", "passing")["Output"], "")
        agent.stop()


class Aliases(AgentTest):
    def ttl(self, check_id, status, note=""):
        self.agent.must_put("/v1/agent/check/update/" + check_id,
                            {"Status": status, "Output": note})

    def test_local(self):
        agent = self.agent
        agent.must_put("/v1/agent/service/register", {
            "Name": "al", "Check": {"CheckID": "alias", "AliasService": "target"}})
        check = check_of(agent, "alias")
        self.assertEqual((check["Status"], check["Output"], check["Type"]), (
            "critical", "Service target could not be found on node ", "alias"))
        agent.must_put("/v1/agent/service/register", {"Name": "target"})
        becomes(agent, "alias", "passing", "No checks found.")
        agent.must_put("/v1/agent/service/register", {"Name": "target", "Checks": [
            {"CheckID": "t1", "Name": "first", "TTL": "1h", "Status": "passing"},
            {"CheckID": "t2", "Name": "second", "TTL": "1h", "Status": "passing"}]})
        becomes(agent, "alias", "passing", "All checks passing.")
        # The answer of an update comes when the alias and the catalog know.
        self.ttl("t1", "warning", "so-so")
        check = check_of(agent, "alias")
        self.assertEqual((check["Status"], check["Output"]),
                         ("warning", 'Aliased check "first" failing: so-so'))
        self.ttl("t2", "critical", "bad")
        check = check_of(agent, "alias")
        self.assertEqual((check["Status"], check["Output"]),
                         ("critical", 'Aliased check "second" failing: bad'))
        self.assertEqual([c["Status"] for c in agent.get("/v1/health/checks/al").json],
                         ["critical"])
        self.ttl("t1", "passing")
        self.ttl("t2", "passing")
        self.assertEqual(agent.passing("al"), ["al"])
        # Checks of the node count for all.
        agent.must_put("/v1/agent/check/register", {"Name": "node", "TTL": "1h"})
        self.assertEqual(check_of(agent, "alias")["Status"], "critical")
        agent.must_put("/v1/agent/check/deregister/node")
        self.assertEqual(check_of(agent, "alias")["Status"], "passing")
        agent.must_put("/v1/agent/service/deregister/target")
        becomes(agent, "alias", "critical", "could not be found")
        agent.must_put("/v1/agent/service/deregister/al")

    def test_of_a_node(self):
        agent = self.agent

        def external(status, service_id=""):
            agent.must_put("/v1/catalog/register", {
                "Node": "ext", "Address": "192.0.2.1", "SkipNodeUpdate": False,
                "Check": {"CheckID": "c" + service_id, "Name": "their", "Status": status,
                          "Output": "why", "ServiceID": service_id}})
        agent.must_put("/v1/agent/check/register", {"Name": "an", "AliasNode": "ext"})
        becomes(agent, "an", "passing", "No checks found.")
        agent.register("db", node="ext", ID="db1")
        agent.must_put("/v1/agent/check/register",
                       {"Name": "as", "AliasNode": "ext", "AliasService": "db1"})
        agent.must_put("/v1/agent/check/register",
                       {"Name": "none", "AliasNode": "ext", "AliasService": "no"})
        becomes(agent, "as", "passing", "No checks found.")
        becomes(agent, "none", "critical", "Service no could not be found on node ext")
        external("critical", "db1")
        becomes(agent, "as", "critical", 'Aliased check "their" failing: why')
        self.assertEqual(check_of(agent, "an")["Status"], "passing")
        external("warning")
        becomes(agent, "an", "warning", 'Aliased check "their" failing: why')
        external("passing")
        external("passing", "db1")
        becomes(agent, "an", "passing", "All checks passing.")
        becomes(agent, "as", "passing", "All checks passing.")
        for name in ("an", "as", "none"):
            agent.must_put("/v1/agent/check/deregister/" + name)

    def test_a_ring_rests(self):
        agent = self.agent
        for name, other in (("r1", "r2"), ("r2", "r1")):
            agent.must_put("/v1/agent/service/register", {
                "Name": name, "Check": {"CheckID": "ring-" + name, "AliasService": other}})
        agent.must_put("/v1/agent/service/register", {"Name": "r2"})
        self.assertLessEqual(len(check_of(agent, "ring-r1")["Output"]), 4096)
        for name in ("r1", "r2"):
            agent.must_put("/v1/agent/service/deregister/" + name)


class Maintenance(AgentTest):
    def test_service(self):
        agent = self.agent
        path = "/v1/agent/service/maintenance/"
        self.assertEqual(agent.put(path).text, "Missing service ID")
        reply = agent.put(path + "web")
        self.assertEqual((reply.status, reply.text), (400, "Missing value for enable"))
        reply = agent.put(path + "web?enable=maybe")
        self.assertEqual((reply.status, reply.text), (400, 'Invalid value for enable: "maybe"'))
        reply = agent.put(path + "web?enable=true")
        self.assertEqual((reply.status, reply.text), (
            404, 'Unknown service ID "web". Ensure that the service ID is passed, not the service '
            'name.'))
        agent.must_put("/v1/agent/service/register", {"Name": "web", "Address": "192.0.2.7"})
        self.assertEqual(agent.resolve("web.service.consul").rcode, NOERROR)
        self.assertEqual(agent.must_put(path + "web?enable=true&reason=new+disk").body, b"")
        agent.must_put(path + "web?enable=true&reason=other")  # keeps the first
        check = check_of(agent, "_service_maintenance:web")
        self.assertEqual((check["Name"], check["Status"], check["Type"], check["Notes"],
                          check["ServiceID"], check["ServiceName"], check["Interval"]),
                         ("Service Maintenance Mode", "critical", "maintenance", "new disk", "web",
                          "web", ""))
        self.assertEqual(agent.passing("web"), [])
        self.assertEqual(agent.resolve("web.service.consul").rcode, NXDOMAIN)
        reply = agent.get("/v1/agent/health/service/id/web?format=text")
        self.assertEqual((reply.status, reply.text), (503, "maintenance"))
        agent.stop()
        agent.start()
        self.assertEqual(check_of(agent, "_service_maintenance:web")["Notes"], "new disk")
        self.assertEqual(agent.passing("web"), [])
        agent.must_put(path + "web?enable=false")
        agent.must_put(path + "web?enable=false")
        self.assertEqual(agent.passing("web"), ["web"])
        agent.must_put(path + "web?enable=true")
        self.assertEqual(check_of(agent, "_service_maintenance:web")["Notes"],
                         "Maintenance mode is enabled for this service, but no reason was "
                         "provided. This is a default message.")
        agent.must_put("/v1/agent/service/deregister/web")
        self.assertEqual(agent.get("/v1/agent/checks").json, {})

    def test_node(self):
        agent = self.agent
        self.assertEqual(agent.put("/v1/agent/maintenance").text, "Missing value for enable")
        agent.must_put("/v1/agent/service/register", {"Name": "other"})
        agent.must_put("/v1/agent/maintenance?enable=true")
        check = check_of(agent, "_node_maintenance")
        self.assertEqual((check["Name"], check["Status"], check["ServiceID"], check["Notes"]), (
            "Node Maintenance Mode", "critical", "", "Maintenance mode is enabled for this node, "
            "but no reason was provided. This is a default message."))
        self.assertEqual(agent.passing("other"), [])
        agent.must_put("/v1/agent/maintenance?enable=false")
        self.assertEqual(agent.passing("other"), ["other"])
        agent.must_put("/v1/agent/service/deregister/other")


class LocalService(AgentTest):
    def test_health(self):
        agent = self.agent
        by_id, by_name = "/v1/agent/health/service/id/", "/v1/agent/health/service/name/"
        for path, text in ((by_id, "Missing serviceID"), (by_name, "Missing service Name")):
            reply = agent.get(path)
            self.assertEqual((reply.status, reply.text), (400, text))
        reply = agent.get(by_id + "no")
        self.assertEqual((reply.status, reply.json), (
            404, {"AggregatedStatus": "critical", "Service": None, "Checks": None}))
        reply = agent.get(by_name + "no")
        self.assertEqual((reply.status, reply.json), (404, []))
        reply = agent.get(by_id + "no", {"Accept": "text/plain"})
        self.assertEqual((reply.status, reply.text, reply.headers["Content-Type"],
                          reply.headers["X-Consul-Reason"]),
                         (404, "ServiceId no not found", "text/plain", "ServiceId no not found"))
        reply = agent.get(by_name + "no?format=text")
        self.assertEqual((reply.status, reply.text), (404, "ServiceName no Not Found"))
        for i in (1, 2):
            agent.must_put("/v1/agent/service/register", {
                "Name": "web", "ID": "w%d" % i, "Tags": ["t"], "Port": 80,
                "Check": {"CheckID": "c%d" % i, "TTL": "1h", "Status": "passing"}})
        for status, code in (("passing", 200), ("warning", 429), ("critical", 503)):
            agent.must_put("/v1/agent/check/update/c2", {"Status": status, "Output": "o"})
            reply = agent.get(by_id + "w2?format=text")
            self.assertEqual((reply.status, reply.text, reply.headers["X-Consul-Reason"]),
                             (code, status, status))
            self.assertEqual(agent.get(by_id + "w1?format=text").text, "passing")
            reply = agent.get(by_name + "web")
            self.assertEqual(reply.status, code)
            self.assertEqual([(row["Service"]["ID"], row["AggregatedStatus"])
                              for row in reply.json], [("w1", "passing"), ("w2", status)])
        reply = agent.get(by_id + "w2")
        self.assertEqual(reply.json["Service"]["Tags"], ["t"])
        self.assertNotIn("ContentHash", reply.json["Service"])
        check, = reply.json["Checks"]
        self.assertEqual((check["CheckID"], check["Status"], check["Output"], check["Type"],
                          check["Definition"], check["CreateIndex"]),
                         ("c2", "critical", "o", "", {}, 0))
        agent.must_put("/v1/agent/check/register", {"Name": "node", "TTL": "1h"})
        self.assertEqual(agent.get(by_id + "w1?format=text").text, "critical")
        agent.must_put("/v1/agent/check/deregister/node")
        for i in (1, 2):
            agent.must_put("/v1/agent/service/deregister/w%d" % i)

    def test_definition_and_hash(self):
        agent = self.agent
        path = "/v1/agent/service/foo"
        reply = agent.get(path)
        self.assertEqual((reply.status, reply.text), (404, "unknown service ID: foo"))
        body = {"Name": "foo", "Tags": ["bar", "baz"], "Port": 8000}
        agent.must_put("/v1/agent/service/register", body)
        reply = agent.get(path)
        self.assertEqual(reply.json, {
            "ID": "foo", "Service": "foo", "Tags": ["bar", "baz"], "Meta": {}, "Port": 8000,
            "Address": "", "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": False,
            "ContentHash": "3e352f348d44f7eb", "Datacenter": "dc1"})
        self.assertEqual(reply.headers["X-Consul-ContentHash"], "3e352f348d44f7eb")
        self.assertNotIn("X-Consul-Index", reply.headers)
        # Another hash: at once. The present one: at the end of the wait, or with a change.
        self.assertEqual(agent.get(path + "?hash=1&wait=10m").json, reply.json)
        self.assertEqual(agent.get(path + "?hash=3e352f348d44f7eb&wait=50ms").json, reply.json)
        self.assertEqual(agent.get(path + "?hash=3e352f348d44f7eb&wait=x").status, 400)
        with agent.client() as client:
            client.send("GET", path + "?hash=3e352f348d44f7eb&wait=10m")
            agent.must_put("/v1/agent/service/register", {"Name": "unrelated"})
            agent.must_put("/v1/agent/service/register", body)  # the same
            agent.must_put("/v1/agent/service/register", dict(body, Port=8001))
            changed = client.receive()
            self.assertEqual(changed.json["Port"], 8001)
            self.assertNotEqual(changed.json["ContentHash"], "3e352f348d44f7eb")
            client.send("GET", path + "?hash=%s&wait=10m" % changed.json["ContentHash"])
            agent.must_put("/v1/agent/service/deregister/foo")
            self.assertEqual(client.receive().status, 404)
        agent.must_put("/v1/agent/service/deregister/unrelated")

    def test_replace_existing_checks(self):
        agent = self.agent
        agent.must_put("/v1/agent/service/register", {
            "Name": "web", "Checks": [{"CheckID": "a", "TTL": "1h"}, {"CheckID": "b", "TTL": "1h"}]})
        agent.must_put("/v1/agent/check/register", {"Name": "c", "TTL": "1h", "ServiceID": "web"})
        agent.must_put("/v1/agent/check/pass/a?note=kept")
        body = {"Name": "web", "Check": {"CheckID": "a", "TTL": "1h", "Status": "warning"}}

        def ids():
            return sorted(agent.get("/v1/agent/checks").json)

        agent.must_put("/v1/agent/service/register", body)
        self.assertEqual(ids(), ["a", "b", "c"])
        for parameter in ("replace-existing-checks=false", "replace-existing-checks=1"):
            agent.must_put("/v1/agent/service/register?" + parameter, body)
            self.assertEqual(ids(), ["a", "b", "c"])
        agent.must_put("/v1/agent/service/register?replace-existing-checks", body)
        self.assertEqual(ids(), ["a"])
        check = check_of(agent, "a")
        self.assertEqual((check["Status"], check["Output"]), ("passing", "kept"))
        self.assertEqual([c["CheckID"] for c in agent.get("/v1/health/checks/web").json], ["a"])
        agent.must_put("/v1/agent/service/deregister/web")

    def test_tokens_need_access_control(self):
        reply = self.agent.put("/v1/agent/token/default", {"Token": "x"})
        self.assertEqual((reply.status, reply.text), (401, "ACL support disabled"))


class StaysCritical(AgentTest):
    """The minimum of DeregisterCriticalServiceAfter is a minute, and so this takes one."""

    def test_deregistered(self):
        agent = self.agent
        begin = time.monotonic()
        for name in ("gone", "stays", "forgiven"):
            check = {"CheckID": name, "TTL": "1h"}
            if name != "stays":
                check["DeregisterCriticalServiceAfter"] = "1s"
            agent.must_put("/v1/agent/service/register", {"Name": name, "Check": check})
            agent.must_put("/v1/agent/check/fail/" + name)
        agent.must_put("/v1/agent/check/pass/forgiven")
        eventually(lambda: "gone" not in agent.get("/v1/agent/services").json,
                   "the service is deregistered", 180)
        self.assertGreaterEqual(time.monotonic() - begin, 59)
        eventually(lambda: agent.get("/v1/health/service/gone").json == [], "in the catalog too")
        self.assertEqual(sorted(agent.get("/v1/agent/checks").json), ["forgiven", "stays"])
        agent.stop()
        agent.start()
        self.assertEqual(sorted(agent.get("/v1/agent/services").json), ["forgiven", "stays"])
