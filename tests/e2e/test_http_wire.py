"""The HTTP wire apart from what single endpoints mean: methods, paths, bodies, headers, limits."""

import http.client
import json
import os

from cairn import AgentTest, eventually

META = ("X-Consul-Index", "X-Consul-KnownLeader", "X-Consul-LastContact",
        "X-Consul-Effective-Consistency", "X-Consul-Query-Backend")
READS = ("/v1/catalog/nodes", "/v1/catalog/services", "/v1/catalog/service/x",
         "/v1/catalog/node/x", "/v1/catalog/node-services/x", "/v1/health/node/x",
         "/v1/health/checks/x", "/v1/health/state/any", "/v1/health/service/x")
PLAIN_READS = ("/v1/status/leader", "/v1/status/peers", "/v1/catalog/datacenters",
               "/v1/agent/self", "/v1/agent/version", "/v1/agent/services", "/v1/agent/checks")
WRITES = ("/v1/catalog/register", "/v1/catalog/deregister", "/v1/agent/leave",
          "/v1/agent/service/register", "/v1/agent/service/deregister/x",
          "/v1/agent/check/register", "/v1/agent/check/deregister/x", "/v1/agent/check/pass/x",
          "/v1/agent/check/warn/x", "/v1/agent/check/fail/x", "/v1/agent/check/update/x")


class Wire(AgentTest):
    def assert_common(self, reply):
        self.assertEqual(reply.headers["Vary"], "Accept-Encoding")
        self.assertEqual(reply.headers["X-Consul-Default-ACL-Policy"], "allow")
        self.assertIsNotNone(reply.headers["Date"])

    def assert_no_meta(self, reply):
        for name in META:
            self.assertIsNone(reply.headers[name], name)

    def assert_text(self, reply, status, text):
        self.assertEqual((reply.status, reply.text), (status, text))
        self.assertEqual(reply.headers["Content-Type"], "text/plain; charset=utf-8")

    def test_headers_of_reads(self):
        for path in READS:
            for suffix, consistency in (("", "leader"), ("?stale", "stale"),
                                        ("?consistent", "consistent"), ("?stale=false", "stale")):
                with self.subTest(path=path, consistency=consistency):
                    reply = self.agent.get(path + suffix)
                    self.assertEqual(reply.status, 200)
                    self.assert_common(reply)
                    self.assertEqual(reply.headers["Content-Type"], "application/json")
                    self.assertGreaterEqual(reply.index, 1)
                    self.assertEqual([reply.headers[h] for h in META[1:]],
                                     ["true", "0", consistency, "blocking-query"])

    def test_no_query_meta_elsewhere(self):
        for path in PLAIN_READS:
            with self.subTest(path=path):
                reply = self.agent.get(path)
                self.assertEqual(reply.status, 200)
                self.assertEqual(reply.headers["Content-Type"], "application/json")
                self.assert_common(reply)
                self.assert_no_meta(reply)
        for bad in ("?index=x", "?wait=10", "?stale&consistent"):
            reply = self.agent.get("/v1/health/service/x" + bad)
            self.assertEqual(reply.status, 400)
            self.assert_no_meta(reply)

    def test_methods(self):
        for paths, allowed, wrong in ((READS + PLAIN_READS, "GET", "PUT"), (WRITES, "PUT", "GET")):
            for path in paths:
                with self.subTest(path=path):
                    for method in (wrong, "POST", "DELETE", "PATCH"):
                        reply = self.agent.request(method, path)
                        self.assert_text(reply, 405, "method %s not allowed" % method)
                        self.assertEqual(reply.headers["Allow"], "OPTIONS," + allowed)
                        self.assert_common(reply)
                        self.assert_no_meta(reply)
                    reply = self.agent.request("HEAD", path)
                    self.assertEqual((reply.status, reply.body), (405, b""))
                    reply = self.agent.request("OPTIONS", path)
                    self.assertEqual((reply.status, reply.body), (200, b""))
                    self.assertEqual(reply.headers["Allow"], "OPTIONS," + allowed)
                    self.assert_common(reply)
        # The connection survives a HEAD: its answer must not carry a body.
        with self.agent.raw() as raw:
            raw.send(b"HEAD /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n"
                     b"GET /v1/status/peers HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(raw.reply("HEAD").status, 405)
            self.assertEqual(raw.reply().status, 200)

    def test_unknown_paths(self):
        known = "Invalid URL path: not a recognized HTTP API endpoint\n"
        unknown = ("Invalid URL path: if attempting to use the HTTP API, ensure the path starts "
                   "with '/v1/'\n")
        for path, text in (("/v1/nothing", known), ("/v1/", known), ("/x/v1/y", known),
                           ("/v1/catalog/nodesx", known), ("/v1/catalog/nodes/", known),
                           ("/v1", unknown), ("/ui", unknown), ("/favicon.ico", unknown)):
            for method in ("GET", "PUT"):
                with self.subTest(path=path, method=method):
                    reply = self.agent.request(method, path)
                    self.assert_text(reply, 404, text)
                    self.assert_no_meta(reply)
        # The wrapper that sets these stands around the endpoints, not around the answer to none.
        self.assertIsNone(self.agent.get("/v1/nothing").headers["X-Consul-Default-ACL-Policy"])
        self.assert_text(self.agent.get("/"), 200, "Consul Agent: UI disabled. To enable, set "
                         "ui_config.enabled=true in the agent configuration and restart.")

    def test_paths_are_cleaned_by_redirect(self):
        for path, clean in (("//v1/status/leader", "/v1/status/leader"),
                            ("/v1//status/leader", "/v1/status/leader"),
                            ("/v1/./status/leader", "/v1/status/leader"),
                            ("/v1/x/../status/leader", "/v1/status/leader"),
                            ("/../../v1/status/leader", "/v1/status/leader"),
                            ("/v1/status/..", "/v1/"),
                            ("/v1/catalog/service//web", "/v1/catalog/service/web"),
                            ("/v1/health/service", "/v1/health/service/"),
                            ("/v1/catalog/node-services", "/v1/catalog/node-services/")):
            for query in ("", "?dc=dc1&pretty"):
                for method in ("GET", "PUT"):
                    with self.subTest(path=path, query=query, method=method):
                        reply = self.agent.request(method, path + query)
                        self.assertEqual(reply.status, 301)
                        self.assertEqual(reply.headers["Location"], clean + query)

    def test_redirect_cannot_inject_or_leave(self):
        for path in ("/v1//x%0d%0aSet-Cookie:%20a=b", "/v1//x%0aEvil:1"):
            reply = self.agent.get(path)
            self.assertIsNone(reply.headers["Set-Cookie"])
            self.assertIsNone(reply.headers["Evil"])
            self.assertEqual((reply.status, reply.body), (400, b""))
        reply = self.agent.get("/v1//%22%3e%3cscript%3e")
        self.assertNotIn(b"<script>", reply.body)
        self.assertEqual(reply.status, 301)
        location = reply.headers["Location"]
        self.assertRegex(location, r"^/[!-~]*$")  # printable ASCII: encoded again
        self.assertNotIn('"', location)
        for path in ("//evil.example/", "/.//evil.example/", "/%2f/evil.example"):
            location = self.agent.get(path).headers["Location"]
            self.assertFalse(location.startswith("//"), location)
        # Nor does the query, which comes back as it was sent, break out of its header.
        with self.agent.raw() as raw:
            for query, back in ((b"a\rb", "a%0Db"), (b"a\tb", "a%09b"), (b"\xff", "%FF"),
                                (b'"><b>', "%22%3E%3Cb%3E"), (b"a=%0d%0ab", "a=%0d%0ab")):
                raw.send(b"GET //x?" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                reply = raw.reply()
                self.assertEqual((reply.status, reply.headers["Location"]), (301, "/x?" + back))
        # A name keeps its question mark through the redirect.
        self.assertEqual(self.agent.get("/v1/catalog//service/a%3fb").headers["Location"],
                         "/v1/catalog/service/a%3Fb")

    def test_names_in_paths_are_decoded(self):
        for i, (name, path) in enumerate((("a b", "a%20b"), ("a/b", "a/b"), ("a/b", "a%2Fb"),
                                          ("a%b", "a%25b"), ("a?b", "a%3fb"), ("a+b", "a+b"),
                                          ("ä-ö", "%C3%A4-%c3%b6"), ("日本", "%E6%97%A5%E6%9C%AC"),
                                          ("a&b=c", "a&b=c"), ('q"<>\\', "q%22%3C%3E%5C"))):
            with self.subTest(name=name, path=path):
                self.agent.register(name, ID="named-%d" % i, node="names")
                for prefix in ("/v1/health/service/", "/v1/catalog/service/"):
                    rows = self.agent.get(prefix + path).json
                    names = {(r.get("ServiceName") or r["Service"]["Service"]) for r in rows}
                    self.assertEqual(names, {name})
                self.agent.deregister("named-%d" % i, "names")
                self.assertEqual(self.agent.get("/v1/health/service/" + path).json, [])
        for path in ("/v1/health/service/a%01b", "/v1/health/service/a%7fb",
                     "/v1/health/service/%0a", "/v1/health/service/%C2%85"):
            with self.subTest(path=path):
                reply = self.agent.get(path)
                self.assertEqual((reply.status, reply.body), (400, b""))
        self.assertEqual(self.agent.get("/v1/health/service/%FF").json, [])  # no text, no such name
        for path in ("/v1/health/service/a%0", "/v1/health/service/a%zz",
                     "/v1/health/service/a?x=%", "/v1/health/service/a?x=1;y=2"):
            with self.subTest(path=path):
                self.assertEqual(self.agent.get(path).status, 400)

    def test_text_of_json(self):
        text = "<&>\u2028\u2029 \" \\ \x01 ü \U0001f600"
        self.agent.register("escapes", ID="e", node="escapes", Meta={"text": text})
        reply = self.agent.get("/v1/catalog/service/escapes")
        self.assertEqual(reply.json[0]["ServiceMeta"], {"text": text})
        for raw in (b"\\u003c\\u0026\\u003e", b"\\u2028\\u2029", "ü \U0001f600".encode()):
            self.assertIn(raw, reply.body)
        self.agent.deregister("e", "escapes")

    def test_pretty(self):
        plain = self.agent.get("/v1/agent/self").body
        self.assertNotIn(b"\n", plain)
        self.assertNotIn(b'": ', plain)
        for path in ("/v1/catalog/nodes", "/v1/status/peers", "/v1/agent/version"):
            for flag in ("?pretty", "?pretty=false", "?dc=dc1&pretty"):
                body = self.agent.get(path + flag).text
                self.assertEqual(body, json.dumps(json.loads(body), indent=4,
                                                  ensure_ascii=False) + "\n")

    # ---- bodies ----

    def registration(self, name, filler=0):
        return json.dumps({"Node": "bodies", "Address": "192.0.2.9", "Service": {"Service": name},
                           "Check": {"Name": name, "ServiceID": name,
                                     "Output": "x" * filler}}).encode()

    def registered(self, name):
        return len(self.agent.get("/v1/catalog/service/" + name).json) == 1

    def test_chunked_body(self):
        body = self.registration("chunked")
        with self.agent.raw() as raw:
            raw.send(b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n")
            for i in range(0, len(body), 7):
                part = body[i:i + 7]
                raw.send(b"%x;ext=1\r\n%s\r\n" % (len(part), part))
            raw.send(b"0\r\nTrailer: x\r\n\r\n")
            reply = raw.reply()
            self.assertEqual((reply.status, reply.body), (200, b"true"))
            raw.send(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(raw.reply().status, 200)
        self.assertTrue(self.registered("chunked"))

    def test_expect_100_continue(self):
        body = self.registration("expected")
        with self.agent.raw() as raw:
            raw.send(b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
                     b"Expect: 100-continue\r\n\r\n" % len(body))
            self.assertEqual(raw.reply().status, 100)  # before a byte of the body went out
            raw.send(body)
            self.assertEqual(raw.reply().status, 200)
        self.assertTrue(self.registered("expected"))

    def test_body_without_an_end(self):
        body = self.registration("cut")
        with self.agent.raw() as raw:
            raw.send(b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                     % (len(body) + 1, body))
        self.assertFalse(self.registered("cut"))

    def test_get_ignores_a_body(self):
        reply = self.agent.request("GET", "/v1/status/peers", b"{nonsense")
        self.assertEqual(reply.status, 200)

    def test_one_mebibyte_body(self):
        self.assertEqual(self.agent.put("/v1/catalog/register",
                                        self.registration("big", 1 << 20)).status, 200)
        self.assertEqual(len(self.agent.get("/v1/health/checks/big").json[0]["Output"]), 1 << 20)
        self.agent.must_put("/v1/catalog/deregister", {"Node": "bodies", "ServiceID": "big"})

    def test_what_a_registration_may_multiply(self):
        """Each check repeats its service's tags, so both have a bound."""
        agent = self.agent
        tags = ["x" * 1000] * 70
        reply = agent.put("/v1/catalog/register", json.dumps({
            "Node": "bodies", "Address": "192.0.2.9",
            "Service": {"Service": "tagged", "Tags": tags}}).encode())
        self.assertEqual((reply.status, reply.body), (400, b"Tags are limited to 65536 bytes"))
        reply = agent.put("/v1/agent/service/register", json.dumps({
            "Name": "tagged", "Tags": tags}).encode())
        self.assertEqual((reply.status, reply.body), (400, b"Tags are limited to 65536 bytes"))
        checks = [{"Name": "c%d" % i} for i in range(5000)]
        reply = agent.put("/v1/catalog/register", json.dumps({
            "Node": "bodies", "Address": "192.0.2.9", "Checks": checks}).encode())
        self.assertEqual(reply.status, 400)
        # As many as are allowed, with the longest node name: it must not multiply either.
        node = "n" * 512
        reply = agent.put("/v1/catalog/register", json.dumps({
            "Node": node, "Address": "192.0.2.9", "Service": {"Service": "many"},
            "Checks": checks[:4096]}).encode())
        self.assertEqual((reply.status, reply.body), (200, b"true"))
        self.assertEqual(len(agent.get("/v1/health/node/" + node).json), 4096)
        agent.must_put("/v1/catalog/deregister", {"Node": node})
        reply = agent.put("/v1/agent/check/register", json.dumps({
            "Name": "heavy", "HTTP": "http://127.0.0.1:1/", "Interval": "10s",
            "Header": {"K" * 100000: ["v"] * 400}}).encode())
        self.assertEqual(reply.status, 400)
        self.assertEqual(agent.get("/v1/agent/checks").json, {})

    def test_waits_do_not_overflow(self):
        reply = self.agent.get("/v1/catalog/nodes?index=0&wait=9223372036854775807ns")
        self.assertEqual(reply.status, 200)

    def test_body_too_large(self):
        size = 9 << 20
        with self.agent.raw() as raw:
            raw.send(b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                     % size)
            raw.send(b" " * size)
            reply = raw.reply()
            self.assertEqual(reply.status, 413)
            self.assertTrue(reply.text.startswith("Request body"), reply.text)

    def test_head_too_large(self):
        for lines in (b"X-Filler: " + b"x" * 9000 + b"\r\n", b"X-Filler: x\r\n" * 10000):
            with self.agent.raw() as raw:
                try:
                    raw.send(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
                except ConnectionError:
                    pass  # it stopped reading and closed
                try:
                    reply = raw.reply()
                except ConnectionError:
                    reply = None
                if reply is not None:
                    self.assertEqual(reply.status, 431)
        with self.agent.raw() as raw:  # what fits into a send buffer is answered, not reset
            raw.send(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nX-Filler: %s\r\n\r\n"
                     % (b"x" * 9000))
            self.assertEqual(raw.reply().status, 431)
        # Four kilobytes of token and cookies are no attack.
        self.assertEqual(self.agent.get("/v1/status/leader", {"X-Filler": "x" * 4096}).status, 200)

    def test_keep_alive(self):
        with self.agent.client() as client:
            client.get("/v1/status/leader")
            sock = client.connection.sock
            for path, status in (("/v1/catalog/nodes", 200), ("/v1/nothing", 404),
                                 ("/v1/health/service/", 400), ("/v1/health/service/a%01", 400),
                                 ("/v1//x", 301)):
                self.assertEqual(client.get(path).status, status)
            self.assertEqual(client.put("/v1/catalog/register", b"{").status, 400)
            self.assertEqual(client.put("/v1/status/leader", b"{}").status, 405)
            self.assertEqual(client.put("/v1/catalog/register",
                                        self.registration("kept")).status, 200)
            self.assertIs(client.connection.sock, sock)

    def test_close_and_http_1_0(self):
        for head in (b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                     b"GET /v1/status/leader HTTP/1.0\r\n\r\n"):
            with self.agent.raw() as raw:
                raw.send(head)
                self.assertEqual(raw.reply().status, 200)
                self.assertTrue(raw.closed())

    def test_the_kernel_probes_idle_clients(self):
        """A host that died, or hung up while its request began, is found by keep-alive probes."""
        with self.agent.raw() as raw:
            raw.send(b"GET /v1/st")
            mine = raw.socket.getsockname()[1]
            def keep_alive():
                with open("/proc/net/tcp", encoding="ascii") as file:
                    for line in file.readlines()[1:]:
                        fields = line.split()
                        if (int(fields[1].split(":")[1], 16) == self.agent.http_address[1]
                                and int(fields[2].split(":")[1], 16) == mine):
                            kind, jiffies = fields[5].split(":")
                            return jiffies if kind == "02" else None
                return None
            jiffies = eventually(keep_alive, "the agent has accepted, with that timer")
            self.assertLessEqual(int(jiffies, 16), 31 * os.sysconf("SC_CLK_TCK"))

    def test_pipelining(self):
        count = 100
        body = self.registration("pipelined")
        with self.agent.raw() as raw:
            for i in range(count):
                raw.send(b"GET /v1/catalog/service/pipelined-%d HTTP/1.1\r\nHost: x\r\n\r\n" % i)
                raw.send(b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
                         b"\r\n%s" % (len(body), body))
                raw.send(b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n")
            for i in range(count):
                reply = raw.reply()
                self.assertEqual((reply.status, reply.body), (200, b"[]"))
                reply = raw.reply()
                self.assertEqual((reply.status, reply.body), (200, b"true"))
                self.assertEqual(raw.reply().status, 404)

    def test_malformed_requests(self):
        for head in (b"\r\n\r\n\r\n\r\n", b"GET\r\n\r\n", b"GET /v1/status/leader\r\n\r\n",
                     b"GET /v1/status/leader HTTP/9.9\r\n\r\n", b"\0" * 64 + b"\r\n\r\n",
                     b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                     b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999"
                     b"9999999999\r\n\r\n",
                     b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
                     b"\r\n\r\nzz\r\n"):
            with self.subTest(head=head):
                with self.agent.raw() as raw:
                    raw.socket.settimeout(0.5)  # it may take the bytes for the start of a request
                    raw.send(head)
                    try:
                        reply = raw.reply()
                    except (OSError, http.client.HTTPException):
                        reply = None
                    if reply is not None:
                        self.assertIn(reply.status, (400, 413, 505))
                self.assertEqual(self.agent.get("/v1/status/leader").status, 200)
