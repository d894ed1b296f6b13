"""Configuration: files, what they define, reloading them, and the commands about them."""

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import tempfile
import unittest

import cairn
from cairn import Agent, Client, eventually, new_ip, new_port


def run(*args, **environment):
    done = subprocess.run([cairn.BINARY, *args], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, **environment))
    if cairn.SANITIZER_REPORT.search((done.stdout + done.stderr).encode()):
        raise AssertionError(done.stderr)
    return done.returncode, done.stdout, done.stderr


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=cairn.DEADLINE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class ConfigTest(unittest.TestCase):
    def new_agent(self, config=None, hcl=None, args=()):
        """hcl: the text of a further file, which a test may write anew."""
        agent = Agent(config, args=list(args))
        self.addCleanup(agent.discard)
        self.hcl = os.path.join(agent.folder, "more.hcl")
        if hcl is not None:
            self.write(hcl)
            agent.args.append("-config-file=" + self.hcl)
        return agent

    def write(self, hcl):
        with open(self.hcl, "w", encoding="utf-8") as file:
            file.write(hcl)

    def reload(self, agent):
        reply = agent.put("/v1/agent/reload")
        self.assertEqual((reply.status, reply.body), (200, b""), reply)

    def checks(self, agent, service):
        return {c["CheckID"]: c["Status"]
                for c in agent.get("/v1/health/checks/" + service).json}


WEB = """
service {
  name = "web"
  port = 80
  tags = ["v1"]
  check { id = "alive" ttl = "1h" }
}
"""


class Definitions(ConfigTest):
    def test_services_and_checks_of_files(self):
        agent = self.new_agent(hcl=WEB + """
            services { id = "db1" name = "db" address = "10.0.0.9" meta { a = "b" }
                       checks = [{ ttl = "1h", status = "passing" }, { ttl = "1h" }] }
            checks { name = "node-check" ttl = "1h" status = "warning" }
            checks { id = "web-2" name = "second" service_id = "web" ttl = "1h" }
        """).start()
        eventually(lambda: self.checks(agent, "web") == {"alive": "critical", "web-2": "critical"},
                   "the catalog knows the checks of web")
        self.assertEqual(self.checks(agent, "db"),
                         {"service:db1:1": "passing", "service:db1:2": "critical"})
        services = agent.get("/v1/agent/services").json
        self.assertEqual(services["web"]["Tags"], ["v1"])
        self.assertEqual((services["db1"]["Address"], services["db1"]["Meta"]),
                         ("10.0.0.9", {"a": "b"}))
        self.assertEqual(agent.get("/v1/agent/checks").json["node-check"]["Status"], "warning")
        # Nothing of it is kept on disk but the state of a check.
        self.assertEqual(os.listdir(os.path.join(agent.data_dir, "services")), [])
        agent.must_put("/v1/agent/check/pass/alive")
        agent.stop()
        agent.start()
        eventually(lambda: self.checks(agent, "web")["alive"] == "passing",
                   "a TTL check keeps its state over a restart")
        agent.stop()
        self.write("")
        agent.start()
        eventually(lambda: agent.get("/v1/catalog/service/web").json == [],
                   "what the files no longer define is gone")
        agent.stop()

    def test_a_file_wins_over_the_api(self):
        agent = self.new_agent(hcl="").start()
        agent.must_put("/v1/agent/service/register",
                       {"Name": "web", "Port": 99, "Check": {"CheckID": "api", "TTL": "1h"}})
        agent.must_put("/v1/agent/service/register", {"Name": "other", "Port": 1})
        self.write(WEB)
        self.reload(agent)
        self.assertEqual(agent.get("/v1/agent/services").json["web"]["Port"], 80)
        agent.stop()
        agent.start()
        services = agent.get("/v1/agent/services").json
        self.assertEqual((services["web"]["Port"], services["other"]["Port"]), (80, 1))
        # The file of the API's registration is gone, so it does not come back either.
        self.write("")
        self.reload(agent)
        self.assertEqual(list(agent.get("/v1/agent/services").json), ["other"])
        agent.stop()
        agent.start()
        self.assertEqual(list(agent.get("/v1/agent/services").json), ["other"])
        agent.stop()

    def test_what_the_api_gives_to_a_service_of_a_file(self):
        agent = self.new_agent(hcl=WEB).start()
        agent.must_put("/v1/agent/check/register",
                       {"Name": "api", "TTL": "1h", "Status": "passing", "ServiceID": "web"})
        agent.must_put("/v1/agent/service/maintenance/web?enable=true&reason=moving")
        mine = {"alive": "critical", "api": "passing", "_service_maintenance:web": "critical"}
        eventually(lambda: self.checks(agent, "web") == mine, "the catalog knows them")
        agent.stop()
        agent.start()
        eventually(lambda: self.checks(agent, "web") == mine, "they are kept")
        self.write("")
        self.reload(agent)
        self.assertEqual(agent.get("/v1/agent/checks").json, {})
        agent.stop()
        self.write(WEB)
        agent.start()
        eventually(lambda: self.checks(agent, "web") == {"alive": "critical"},
                   "they went with their service")
        agent.stop()

    def test_scripts_of_files_alone(self):
        script = {"name": "script", "args": ["/bin/true"], "interval": "1s"}
        agent = self.new_agent({"enable_local_script_checks": True}, hcl="check " + json.dumps(
            script).replace('":', '" =')).start()
        eventually(lambda: agent.get("/v1/agent/checks").json["script"]["Status"] == "passing",
                   "the script runs")
        reply = agent.put("/v1/agent/check/register",
                          {"Name": "other", "Args": ["/bin/true"], "Interval": "1s"})
        self.assertEqual(reply.status, 500)
        agent.stop()

    def test_scripts_of_the_api_alone(self):
        agent = self.new_agent({
            "enable_script_checks": True, "enable_local_script_checks": False,
            "http_config": {"allow_write_http_from": ["127.0.0.0/8"]}}).start()
        agent.must_put("/v1/agent/check/register",
                       {"Name": "script", "Args": ["/bin/true"], "Interval": "1s"})
        eventually(lambda: agent.get("/v1/agent/checks").json["script"]["Status"] == "passing",
                   "the script runs")
        agent.stop()


class Reload(ConfigTest):
    def test_services_come_change_and_go(self):
        agent = self.new_agent(hcl=WEB).start()
        agent.must_put("/v1/agent/check/pass/alive?note=kept")
        agent.must_put("/v1/agent/service/register", {"Name": "api-made"})
        self.write(WEB.replace("v1", "v2").replace("80", "81") +
                   'services { name = "new" check { ttl = "1h" status = "passing" } }')
        self.reload(agent)
        # The answer came when the catalog knew.
        row = agent.get("/v1/health/service/web").json[0]
        self.assertEqual((row["Service"]["Tags"], row["Service"]["Port"]), (["v2"], 81))
        check = [c for c in row["Checks"] if c["CheckID"] == "alive"][0]
        self.assertEqual((check["Status"], check["Output"]), ("passing", "kept"))
        self.assertEqual(agent.passing("new"), ["new"])
        self.write('service { name = "new" }')
        self.reload(agent)
        self.assertEqual(agent.get("/v1/catalog/service/web").json, [])
        self.assertEqual(self.checks(agent, "new"), {})
        self.assertEqual(sorted(agent.get("/v1/agent/services").json), ["api-made", "new"])
        agent.stop()

    def test_an_alias_and_a_watch_hear_of_it(self):
        agent = self.new_agent(hcl=WEB + 'check { id = "of" name = "of" alias_service = "web" }')
        agent.start()
        agent.must_put("/v1/agent/check/pass/alive")
        alias = lambda: agent.get("/v1/agent/checks").json["of"]["Status"]
        eventually(lambda: alias() == "passing", "the alias follows")
        was = agent.get("/v1/agent/service/web").json["ContentHash"]
        with agent.client() as client:
            client.send("GET", "/v1/agent/service/web?wait=10m&hash=" + was)
            self.write(WEB.replace("80", "81") + 'check { id = "of" name = "of" '
                       'alias_service = "web" }')
            self.reload(agent)
            self.assertEqual(client.receive().json["Port"], 81)
        self.write('check { id = "of" name = "of" alias_service = "web" }')
        self.reload(agent)
        eventually(lambda: alias() == "critical", "the service is gone")
        agent.stop()

    def test_without_a_change_nothing_is_told(self):
        agent = self.new_agent(hcl=WEB + 'check { name = "c" ttl = "1h" service_id = "web" }')
        agent.start()
        eventually(lambda: len(self.checks(agent, "web")) == 2, "the catalog knows both checks")
        index = agent.get("/v1/health/service/web").index
        self.reload(agent)
        self.assertEqual(agent.get("/v1/health/service/web").index, index)
        agent.stop()

    def test_a_bad_configuration_changes_nothing(self):
        agent = self.new_agent(hcl=WEB).start()
        for text, part in (("bogus = 1", "invalid config key bogus"),
                           ("service {", "more.hcl: At 1:10"),
                           ("acl { enabled = true }", "acl.enabled"),
                           ('check { name = "c" service_id = "no" ttl = "1s" }',
                            'ServiceID "no" does not exist')):
            self.write(text)
            reply = agent.put("/v1/agent/reload")
            self.assertEqual(reply.status, 500)
            self.assertIn(part, reply.text)
        self.assertIn("web", agent.get("/v1/agent/services").json)
        agent.says("Reload config failed")
        self.write(WEB)
        self.reload(agent)
        agent.stop()

    def test_what_is_live(self):
        agent = self.new_agent(hcl='node_meta { a = "1" } log_level = "info"').start()
        agent.register("s")
        self.assertEqual(agent.resolve("s.service.consul").answers[0].ttl, 0)
        self.assertEqual(agent.get("/v1/agent/self").json["Meta"]["a"], "1")
        self.write("""node_meta { a = "2" b = "3" }
                      log_level = "debug" enable_debug = true
                      dns_config { service_ttl { s = "7s" } }
                      discard_check_output = true""")
        self.reload(agent)
        self.assertEqual(agent.resolve("s.service.consul").answers[0].ttl, 7)
        me = agent.get("/v1/agent/self").json
        self.assertEqual((me["Meta"]["a"], me["Meta"]["b"]), ("2", "3"))
        self.assertTrue(me["DebugConfig"]["EnableDebug"])
        self.assertEqual(me["DebugConfig"]["LogLevel"], "debug")
        eventually(lambda: agent.get("/v1/catalog/node/n1").json["Node"]["Meta"].get("b") == "3",
                   "the catalog knows the node's metadata")
        agent.must_put("/v1/agent/check/register", {"Name": "c", "TTL": "1h"})
        agent.must_put("/v1/agent/check/pass/c?note=secret")
        self.assertEqual(agent.get("/v1/agent/checks").json["c"]["Output"], "")
        # A level that there is not keeps the old one; the rest is taken over.
        self.write('log_level = "loud" node_meta { a = "4" }')
        self.reload(agent)
        me = agent.get("/v1/agent/self").json
        self.assertEqual((me["Meta"]["a"], me["DebugConfig"]["LogLevel"]), ("4", "debug"))
        agent.stop()

    def test_connections_of_one_address(self):
        agent = self.new_agent(hcl="").start()
        self.write("limits { http_max_conns_per_client = 1 }")
        self.reload(agent)

        def second_is_refused():  # once the server has seen the earlier ones go
            with agent.client() as first, agent.client() as second:
                return (first.get("/v1/status/leader").status,
                        second.get("/v1/status/leader").status) == (200, 429)

        eventually(second_is_refused, "one connection is served, the next one is not")
        agent.stop()

    def test_by_signal_and_by_command(self):
        agent = self.new_agent(hcl="").start()
        self.write('service { name = "by-signal" }')
        agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(agent.get("/v1/catalog/service/by-signal").json) == 1, "SIGHUP")
        self.write('service { name = "by-command" }')
        address = "%s:%d" % agent.http_address
        self.assertEqual(run("reload", "-http-addr=" + address),
                         (0, "Configuration reload triggered\n", ""))
        self.assertEqual(len(agent.get("/v1/catalog/service/by-command").json), 1)
        self.write("bogus = 1")
        code, out, err = run("reload", CONSUL_HTTP_ADDR="http://" + address)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("Unexpected response code: 500 (", err)
        self.assertIn("invalid config key bogus", err)
        agent.stop()
        code, out, err = run("reload", "-http-addr", address)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("http://" + address, err)
        for args in (["-nope"], ["extra"], ["-token-file=/nonexistent"], ["-http-addr=ftp://x"]):
            code, out, err = run("reload", *args)
            self.assertEqual((code, out), (1, ""))
            self.assertNotEqual(err, "")

    def test_many_at_once(self):
        agent = self.new_agent(hcl=WEB).start()
        clients = [agent.client() for _ in range(8)]
        for client in clients:
            client.send("PUT", "/v1/agent/reload")
        agent.process.send_signal(signal.SIGHUP)
        self.assertEqual([c.receive().status for c in clients], [200] * 8)
        for client in clients:
            client.close()
        agent.stop()


class Listeners(ConfigTest):
    def test_unix_socket(self):
        path = os.path.join(tempfile.mkdtemp(prefix="cairn-e2e-"), "http.sock")
        self.addCleanup(os.rmdir, os.path.dirname(path))
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)  # of an agent that died
        agent = self.new_agent()
        agent.config.update(addresses={"http": "%s unix://%s" % (agent.ip, path)},
                            unix_sockets={"mode": "0640", "user": str(os.getuid())})
        agent.start()
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o640)
        connection = UnixConnection(path)
        connection.request("GET", "/v1/agent/self")
        self.assertEqual(json.loads(connection.getresponse().read())["Config"]["NodeName"], "n1")
        connection.close()
        self.assertEqual(run("reload", "-http-addr=unix://" + path)[0], 0)
        agent.stop()
        self.assertFalse(os.path.exists(path))

    def test_several_addresses_and_families(self):
        other = new_ip()
        agent = self.new_agent()
        addresses = "%s %s ::1" % (agent.ip, other)
        try:
            with socket.create_server(("::1", agent.http_address[1]), family=socket.AF_INET6):
                pass
        except OSError:
            addresses = "%s %s" % (agent.ip, other)  # a host without IPv6
        agent.config.update(client_addr=addresses)
        agent.start()
        for ip in addresses.split():
            with Client((ip, agent.http_address[1])) as client:
                self.assertEqual(client.get("/v1/status/leader").status, 200)
        agent.stop()

    def test_a_template(self):
        agent = self.new_agent()
        agent.config["client_addr"] = '{{ GetInterfaceIP "^lo$" }} ' + agent.ip
        agent.http_address = (agent.ip, new_port("127.0.0.1"))
        agent.start()
        with Client(("127.0.0.1", agent.http_address[1])) as client:
            self.assertEqual(client.get("/v1/status/leader").status, 200)
        agent.stop()

    def test_http_config(self):
        agent = self.new_agent({"http_config": {
            "response_headers": {"X-Mine": "yes", "Access-Control-Allow-Origin": "*"},
            "block_endpoints": ["/v1/catalog", "/v1/agent/self"],
            "allow_write_http_from": ["10.0.0.0/8"]}, "translate_wan_addrs": True})
        agent.spawn()
        eventually(lambda: b"agent running!" in agent.printed("stdout"), "it runs")
        reply = agent.get("/v1/status/leader")
        self.assertEqual((reply.headers["X-Mine"], reply.headers["Access-Control-Allow-Origin"],
                          reply.headers["X-Consul-Translate-Addresses"]), ("yes", "*", "true"))
        for path in ("/v1/catalog/nodes", "/v1/agent/self"):
            reply = agent.get(path)
            self.assertEqual((reply.status, reply.text),
                             (403, "Endpoint is blocked by agent configuration"))
            self.assertEqual(reply.headers["X-Mine"], "yes")
        reply = agent.put("/v1/agent/service/register", {"Name": "x"})
        self.assertEqual((reply.status, reply.text), (403, "Access is restricted"))
        self.assertEqual(agent.get("/v1/agent/services").json, {})
        agent.stop()


class Process(ConfigTest):
    def test_pid_file(self):
        agent = self.new_agent()
        path = os.path.join(agent.folder, "pid")
        agent.args.append("-pid-file=" + path)
        agent.start()
        with open(path, encoding="ascii") as file:
            self.assertEqual(int(file.read()), agent.process.pid)
        agent.stop()
        self.assertFalse(os.path.exists(path))
        agent.args[-1] = "-pid-file=/nonexistent/pid"
        agent.spawn()
        agent.ended(1)
        self.assertIn("/nonexistent/pid", agent.printed("stderr").decode())

    def test_graceful_signals(self):
        for config, number, code in (({}, signal.SIGTERM, 1), ({}, signal.SIGINT, 1),
                                     ({"leave_on_terminate": True}, signal.SIGTERM, 0),
                                     ({"skip_leave_on_interrupt": False}, signal.SIGINT, 0)):
            with self.subTest(config=config, number=number):
                agent = self.new_agent(config).start()
                agent.stop(number, code)
                self.assertEqual("Graceful exit completed" in agent.output(), code == 0)

    def test_log_as_json(self):
        agent = self.new_agent({"log_json": True}).start()
        agent.must_put("/v1/agent/service/register", {"Name": "a b"})
        agent.stop()
        lines = [json.loads(line) for line in agent.printed("stdout").decode().splitlines()]
        synced = [line for line in lines if line["@message"] == "Synced service"]
        self.assertEqual(len(synced), 1)
        self.assertEqual((synced[0]["@level"], synced[0]["@module"]), ("info", "agent"))
        self.assertRegex(synced[0]["@timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")

    def test_log_file(self):
        agent = self.new_agent({"log_rotate_bytes": 300, "log_rotate_max_files": 2})
        folder = os.path.join(agent.folder, "logs")
        os.mkdir(folder)
        agent.config["log_file"] = folder + "/"
        agent.start()
        agent.stop()
        names = sorted(os.listdir(folder))
        self.assertEqual(len(names), 3)  # the file, and two older ones
        self.assertEqual(names[-1], "consul.log")
        for name in names[:2]:
            self.assertRegex(name, r"^consul-\d+\.log$")
        with open(os.path.join(folder, "consul.log"), encoding="utf-8") as file:
            self.assertIn("Exit code", file.read())
        agent.config["log_file"] = "/nonexistent/x.log"
        agent.spawn()
        agent.ended(1)
        self.assertIn("/nonexistent/x.log", agent.printed("stderr").decode())

    def test_check_update_interval(self):
        agent = self.new_agent({"check_update_interval": "0s"}).start()
        agent.must_put("/v1/agent/check/register", {"Name": "c", "TTL": "1h"})
        agent.must_put("/v1/agent/check/pass/c?note=one")
        agent.must_put("/v1/agent/check/pass/c?note=two")  # an output alone is told at once
        row = [c for c in agent.get("/v1/health/node/n1").json if c["CheckID"] == "c"][0]
        self.assertEqual(row["Output"], "two")
        agent.stop()

    def test_node_addresses_and_locality(self):
        agent = self.new_agent({"tagged_addresses": {"extra": "192.0.2.7", "lan": "192.0.2.8"},
                                "advertise_addr_wan": "192.0.2.9",
                                "advertise_addr_ipv6": "fd00::1"}).start()
        node = agent.get("/v1/catalog/node/n1").json["Node"]
        self.assertEqual(node["TaggedAddresses"],
                         {"extra": "192.0.2.7", "lan": agent.ip, "lan_ipv4": agent.ip,
                          "lan_ipv6": "fd00::1", "wan": "192.0.2.9", "wan_ipv4": "192.0.2.9"})
        agent.stop()


class Validate(ConfigTest):
    def test_validate(self):
        with tempfile.TemporaryDirectory() as folder:
            def write(name, text):
                path = os.path.join(folder, name)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                return path

            good = write("good.hcl", 'server = true bind_addr = "127.0.0.1" bootstrap = true\n'
                                     'data_dir = "/nonexistent/x"\n'
                                     'enable_agent_tls_for_checks = true\n' + WEB)
            code, out, err = run("validate", good)
            self.assertEqual((code, out), (0, "Configuration is valid!\n"))
            self.assertIn("The 'enable_agent_tls_for_checks' field has no effect in this "
                          "version.\n", err)
            self.assertEqual(run("validate", "-quiet", good), (0, "", ""))
            self.assertEqual(run("validate", "-quiet", folder), (0, "", ""))
            bad = write("zbad.json", '{"bogus": 1}')
            code, out, err = run("validate", "-quiet", folder)
            self.assertEqual((code, out), (1, ""))
            self.assertEqual(err, "Config validation failed: failed to parse %s: 1 error occurred:"
                                  "\n\t* invalid config key bogus\n" % bad)
            code, out, err = run("validate", write("empty.json", "{}"))
            self.assertEqual(code, 1)  # judged as a whole agent's, without -dev
            odd = write("odd.conf", '{"server": true')
            self.assertIn("unknown extension", run("validate", odd)[2])
            self.assertIn("failed to parse", run("validate", "-config-format=json", odd)[2])
            self.assertEqual(run("validate")[0], 1)
            self.assertEqual(run("validate", "-config-format", "yaml", good)[0], 1)


if __name__ == "__main__":
    unittest.main()
