"""Watches of all kinds, from the command line and from the configuration: what handlers get, when they
run, and that they run once a change and no more."""

import base64
import http.server
import json
import os
import signal
import subprocess
import threading
import unittest

import cairn
from cairn import ENVIRONMENT, Agent, eventually


class Sink:
    """An HTTP server that keeps what it is sent."""

    def __init__(self, case, status=200, endless=False):
        self.requests = []
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                sink.requests.append((self.command, self.path, dict(self.headers), body))
                self.send_response(status)
                self.end_headers()
                try:
                    while endless:
                        self.wfile.write(b"x" * 65536)
                except OSError:
                    pass  # the agent has had enough

            do_POST = do_PUT

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer((cairn.new_ip(), 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        case.addCleanup(server.server_close)
        case.addCleanup(server.shutdown)
        self.url = "http://%s:%d" % server.server_address


def lines_of(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


class Configured(unittest.TestCase):
    def start(self, watches, **config):
        agent = Agent(dict({"log_level": "TRACE", "watches": watches}, **config))
        self.addCleanup(agent.discard)
        return agent.start()

    def script(self, agent, name, tail=""):
        """A handler that notes the index, then what it was given."""
        path = os.path.join(agent.folder, name)
        return path, ["/bin/sh", "-c", "(echo $CONSUL_INDEX; cat) >> %s%s" % (path, tail)]

    def test_script_of_every_kind(self):
        agent = Agent({"log_level": "TRACE"})
        self.addCleanup(agent.discard)
        kinds = {"key": {"key": "w/a"}, "keyprefix": {"prefix": "w/"}, "services": {}, "nodes": {},
                 "service": {"service": "web", "tag": "v1", "passingonly": True},
                 "checks": {"state": "critical"}}
        paths, watches = {}, []
        for kind, params in kinds.items():
            paths[kind], args = self.script(agent, kind)
            watches.append(dict(params, type=kind, args=args))
        agent.config["watches"] = watches
        agent.start()

        def told(kind, right, what):
            def last():
                lines = lines_of(paths[kind])
                whole = len(lines) > 0 and len(lines) % 2 == 0
                return whole and right(json.loads(lines[-1]))
            eventually(last, "%s: %s" % (kind, what))
        told("key", lambda row: row is None, "not there")
        told("keyprefix", lambda rows: rows == [], "none")
        told("service", lambda rows: rows == [], "not there")
        told("services", lambda names: "consul" in names, "the first")
        told("nodes", lambda rows: [row["Node"] for row in rows] == ["n1"], "this one")
        told("checks", lambda rows: rows == [], "none")

        agent.must_put("/v1/kv/w/a", "1")
        told("key", lambda row: row is not None and row["Value"] == "MQ==", "the value")
        lines = lines_of(paths["key"])
        self.assertEqual(list(json.loads(lines[-1])), ["Key", "CreateIndex", "ModifyIndex",
                                                       "LockIndex", "Flags", "Value", "Session"])
        self.assertEqual(int(lines[-2]), agent.get("/v1/kv/w/a").index)
        told("keyprefix", lambda rows: [row["Key"] for row in rows] == ["w/a"], "one")

        agent.must_put("/v1/agent/service/register", {"Name": "web", "ID": "web-1", "Tags": ["v1"]})
        agent.must_put("/v1/agent/service/register", {"Name": "web", "ID": "web-2", "Tags": ["v2"]})
        told("services", lambda names: names.get("web") == ["v1", "v2"], "with tags")
        told("service", lambda rows: [row["Service"]["ID"] for row in rows] == ["web-1"], "by tag")
        agent.must_put("/v1/agent/check/register",
                       {"Name": "sick", "TTL": "1h", "Status": "critical", "ServiceID": "web-1"})
        told("checks", lambda rows: [row["CheckID"] for row in rows] == ["sick"], "the critical one")
        told("service", lambda rows: rows == [], "passing ones only")
        self.assertNotIn("Failed to run watch handler", agent.output())
        agent.stop()

    def test_events(self):
        agent = Agent({"log_level": "TRACE"})
        self.addCleanup(agent.discard)
        path, args = self.script(agent, "seen")
        agent.config["watches"] = [{"type": "event", "name": "deploy", "args": args}]
        agent.start()
        eventually(lambda: lines_of(path) == ["1", "[]"], "the first answer")
        for payload in ("one", "two", "three"):
            before = len(lines_of(path))
            agent.must_put("/v1/event/fire/other", "x")
            agent.must_put("/v1/event/fire/deploy", payload)
            eventually(lambda n=before: len(lines_of(path)) == n + 2, payload)
            events = json.loads(lines_of(path)[-1])
            self.assertEqual([(event["Name"], base64.b64decode(event["Payload"]).decode())
                              for event in events], [("deploy", payload)])
        agent.stop()

    def test_once_a_change(self):
        agent = Agent({"log_level": "TRACE"})
        self.addCleanup(agent.discard)
        path, args = self.script(agent, "seen")
        agent.config["watches"] = [{"type": "key", "key": "a", "args": args}]
        agent.start()
        agent.must_put("/v1/kv/a", "1")
        eventually(lambda: "MQ==" in "".join(lines_of(path)), "told")
        before = len(lines_of(path))
        for number in range(50):
            agent.must_put("/v1/kv/b%d" % number, "x")
        agent.must_put("/v1/kv/a", "1")  # the same again is no change
        agent.must_put("/v1/kv/a", "2")
        eventually(lambda: "Mg==" in lines_of(path)[-1], "told of the second")
        self.assertLessEqual(len(lines_of(path)), before + 4)  # "1" written again may have come first
        agent.stop()

    def test_requests(self):
        sink = Sink(self)
        bad = Sink(self, 503)
        agent = self.start([
            {"type": "keyprefix", "prefix": "a/", "handler_type": "http",
             "http_handler_config": {"path": sink.url + "/hook?x=1", "method": "PUT",
                                     "timeout": "5s", "header": {"X-Foo": ["1", "2"]}}},
            {"type": "nodes", "handler_type": "http", "http_handler_config": {"path": bad.url}}])
        eventually(lambda: sink.requests, "the first answer")
        method, path, headers, body = sink.requests[0]
        self.assertEqual((method, path, json.loads(body)), ("PUT", "/hook?x=1", []))
        self.assertEqual(headers["Content-Type"], "application/json")
        agent.must_put("/v1/kv/a/1", "1")
        eventually(lambda: len(sink.requests) == 2, "the change")
        _, _, headers, body = sink.requests[1]
        self.assertEqual(json.loads(body)[0]["Value"], "MQ==")
        self.assertEqual(int(headers["X-Consul-Index"]), agent.get("/v1/kv/a/?recurse").index)
        eventually(lambda: "status=503" in agent.output(), "what was refused is told")
        self.assertEqual(bad.requests[0][0], "POST")
        agent.stop()

    def test_an_answer_without_an_end(self):
        sink = Sink(self, endless=True)
        agent = self.start([
            {"type": "key", "key": "a", "handler_type": "http",
             "http_handler_config": {"path": sink.url, "timeout": "1000s"}}])
        for count in (1, 2):
            agent.must_put("/v1/kv/a", str(count))
            eventually(lambda: len(sink.requests) >= count, "it is told, and the last one is over")
        eventually(lambda: "status=200" in agent.output(), "its status counts")
        agent.stop()

    def test_handlers_that_fail(self):
        agent = self.start([
            {"type": "key", "key": "a", "args": ["/nonexistent/program"]},
            {"type": "key", "key": "a", "handler": "echo said so; exit 3"},
            {"type": "key", "key": "a", "handler_type": "http",
             "http_handler_config": {"path": "http://127.0.0.1:1/"}}])
        for text in ("handler=/nonexistent/program error=\"it does not start: No such file",
                     'output="said so', 'error="exit status 3"', "connection refused"):
            eventually(lambda t=text: t in agent.output(), text)
        agent.says("'handler' field is deprecated")
        agent.stop()

    def test_large_answers(self):
        agent = Agent({"log_level": "TRACE"})
        self.addCleanup(agent.discard)
        path = os.path.join(agent.folder, "seen")
        agent.config["watches"] = [{"type": "keyprefix", "prefix": "a/",
                                    "args": ["/bin/sh", "-c", "wc -c >> " + path]}]
        agent.start()
        eventually(lambda: lines_of(path) == ["3"], "an empty list and a line's end")
        agent.must_put("/v1/kv/a/1", "x" * 500000)

        def last():
            return int(lines_of(path)[-1])
        eventually(lambda: last() > 666000, "all of it")
        for number in range(7):
            agent.must_put("/v1/kv/a/%d" % (number + 2), "x" * 500000)
        eventually(lambda: "the answer is too large for a program's input" in agent.output(),
                   "what does not fit is told")
        agent.must_put("/v1/kv/b", "1")
        self.assertEqual(agent.request("DELETE", "/v1/kv/a/?recurse").status, 200)
        eventually(lambda: last() == 3, "it goes on")
        agent.stop()

    def test_reload(self):
        agent = Agent({"log_level": "TRACE"})
        self.addCleanup(agent.discard)
        kept, kept_args = self.script(agent, "kept")
        gone, gone_args = self.script(agent, "gone", "; sleep 1000")
        new, new_args = self.script(agent, "new")
        watches = [{"type": "key", "key": "a", "args": kept_args},
                   {"type": "key", "key": "a", "args": gone_args}]
        agent.config["watches"] = watches
        agent.start()
        eventually(lambda: lines_of(kept) and lines_of(gone), "both have run")
        agent.config["watches"] = [watches[0], {"type": "nodes", "args": new_args}]
        agent.command()  # writes the file
        agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: lines_of(new), "the new one runs")
        agent.must_put("/v1/kv/a", "1")
        eventually(lambda: "MQ==" in "".join(lines_of(kept)), "what was kept goes on")
        self.assertEqual(len([line for line in lines_of(kept) if line == "null"]), 1)
        self.assertEqual([line for line in lines_of(gone) if "MQ==" in line], [])

        # Its handler went with it.
        def sleepers():
            return subprocess.run(["pgrep", "-f", gone], capture_output=True, text=True,
                                  check=False).stdout
        eventually(lambda: not sleepers(), "the handler of the one that went ends")
        agent.config["watches"] = [{"type": "key"}]
        agent.command()
        agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: "Must specify a single key to watch" in agent.output(), "refused")
        agent.stop()

    def test_unix_socket_and_wildcard(self):
        for change in ("unix", "any"):
            agent = Agent({"log_level": "TRACE"})
            self.addCleanup(agent.discard)
            path, args = self.script(agent, "seen")
            agent.config["watches"] = [{"type": "nodes", "args": args}]
            if change == "unix":
                agent.config["addresses"] = {"http": "unix://%s/http" % agent.folder}
            else:
                agent.http_address = (agent.ip, cairn.new_port("0.0.0.0"))
                agent.config["addresses"] = {"http": "0.0.0.0"}
            agent.spawn()
            eventually(lambda p=path: lines_of(p), "the agent asks itself: " + change)
            agent.stop()

    def test_refused(self):
        handler = {"args": ["true"]}
        for watch, text in (
                (dict(handler), "Watch type must be specified"),
                (dict(handler, type="x"), "Unsupported watch type: x"),
                (dict(handler, type="connect_roots"),
                 "Watch type connect_roots is not allowed in agent config"),
                (dict(handler, type="keyprefix"), "Must specify a single prefix to watch"),
                (dict(handler, type="service"), "Must specify a single service to watch"),
                (dict(handler, type="checks", service="a", state="any"),
                 "Cannot specify service and state"),
                (dict(handler, type="nodes", key="a", tag="b"), "Invalid parameters: [key tag]"),
                ({"type": "nodes"}, "Must define a watch handler"),
                (dict(handler, type="nodes", handler="x"), "Only one watch handler allowed"),
                (dict(handler, type="nodes", handler_type="mail"),
                 "Handler type 'mail' not recognized"),
                ({"type": "nodes", "handler_type": "http", "http_handler_config": {}},
                 "Requires 'path' to be set"),
                (dict(handler, type="nodes", colour="red"), "invalid config key watches[0].colour")):
            agent = Agent({"watches": [watch]})
            self.addCleanup(agent.discard)
            agent.spawn()
            self.assertEqual(agent.wait(), 1)
            self.assertIn(text, agent.output())
        agent = Agent({"watches": [dict(handler, type="nodes")]})
        self.addCleanup(agent.discard)
        agent.config["ports"] = {"http": -1, "server": agent.server_port}
        agent.spawn()
        self.assertEqual(agent.wait(), 1)
        self.assertIn("watch plans require an HTTP or HTTPS endpoint", agent.output())


class CommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.agent = Agent().start()
        cls.agent.must_put("/v1/agent/service/register", {"Name": "web", "ID": "w1", "Tags": ["v1"]})
        cls.agent.must_put("/v1/agent/service/register", {
            "Name": "web", "ID": "w2", "Tags": ["v2"],
            "Check": {"TTL": "1h", "Status": "critical", "CheckID": "c"}})

    @classmethod
    def tearDownClass(cls):
        cls.agent.stop()
        cls.agent.discard()

    def run_(self, *args):
        done = subprocess.run(
            [cairn.BINARY, "watch"] + list(args), capture_output=True, text=True, check=False,
            env=dict(ENVIRONMENT, CONSUL_HTTP_ADDR="%s:%d" % self.agent.http_address), timeout=60)
        return done.returncode, done.stdout, done.stderr

    def test_kinds(self):
        def good(*args):
            code, out, err = self.run_(*args)
            self.assertEqual((code, err), (0, ""))
            self.assertTrue(out.endswith("\n"))
            return json.loads(out)
        self.assertEqual(good("-type=services"), {"consul": [], "web": ["v1", "v2"]})
        self.assertEqual([row["Node"] for row in good("-type=nodes")], ["n1"])
        self.assertEqual(good("-type=nodes", "-filter=Node == other"), [])

        def ids(rows):
            return [row["Service"]["ID"] for row in rows]
        self.assertEqual(ids(good("-type=service", "-service=web")), ["w1", "w2"])
        self.assertEqual(ids(good("-type=service", "-service=web", "-tag=v2")), ["w2"])
        self.assertEqual(ids(good("-type=service", "-service=web", "-passingonly=true")), ["w1"])
        self.assertEqual([row["CheckID"] for row in good("-type=checks", "-state=critical")], ["c"])
        self.assertEqual([row["CheckID"] for row in good("-type=checks", "-service=web")], ["c"])
        self.assertEqual(good("-type=checks", "-state=warning"), [])

    def test_refused(self):
        for args, text in ((("-type=service",), "Must specify a single service to watch\n"),
                           (("-type=nodes", "-key=a"), "Invalid parameters: [key]\n"),
                           (("-type=service", "-service=web", "-passingonly=maybe"),
                            "Invalid value for -passingonly: maybe\n"),
                           (("-type=agent_service",),
                            "Type agent_service is not supported in the CLI tool\n")):
            self.assertEqual(self.run_(*args), (1, "", text))
