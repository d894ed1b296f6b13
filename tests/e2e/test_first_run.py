"""The first hour with the program: register a service that is checked, resolve it, see it leave
and come back."""

import ipaddress
import subprocess

from cairn import AgentTest, NOERROR, NXDOMAIN, Service, eventually


class FirstRun(AgentTest):
    def test_register_check_resolve_stop_start_deregister(self):
        agent = self.agent
        service = Service().start()
        self.addCleanup(service.stop)
        ip, port = service.address
        agent.must_put("/v1/agent/service/register", {
            "Name": "web", "ID": "web-1", "Tags": ["v1", "primary"], "Address": ip, "Port": port,
            "Check": {"HTTP": service.url, "Interval": "1s", "Timeout": "30s"}})

        # Critical until the first run of its check, and so in no answer.
        eventually(lambda: agent.passing("web") == ["web-1"], "web passes")
        row, = agent.get("/v1/health/service/web").json
        check = next(c for c in row["Checks"] if c["ServiceID"])
        self.assertEqual((check["CheckID"], check["Name"], check["Status"], check["Type"]),
                         ("service:web-1", "Service 'web' check", "passing", "http"))
        self.assertEqual(check["Output"], "HTTP GET %s: 200 OK Output: I am well\n" % service.url)
        self.assertGreater(service.requests, 0)

        self.resolves(ip, port)
        service.stop()
        eventually(lambda: agent.passing("web") == [], "web left ?passing")
        eventually(lambda: agent.resolve("web.service.consul").rcode == NXDOMAIN, "web left DNS")
        row, = agent.get("/v1/health/service/web").json  # it is still registered
        self.assertEqual(row["Service"]["ID"], "web-1")
        service.status = 429
        service.start()
        eventually(lambda: [c["Status"] for c in agent.get("/v1/health/checks/web").json]
                   == ["warning"], "429 is a warning")
        self.assertEqual(agent.passing("web"), [])
        self.assertEqual(agent.resolve("web.service.consul").data("A"), [ip])
        service.status = 200
        eventually(lambda: agent.passing("web") == ["web-1"], "web passes again")
        self.resolves(ip, port)

        agent.must_put("/v1/agent/service/deregister/web-1")
        self.assertEqual(agent.get("/v1/health/service/web").json, [])
        self.assertEqual(agent.get("/v1/agent/services").json, {})
        self.assertEqual(agent.get("/v1/agent/checks").json, {})
        self.assertEqual(agent.resolve("web.service.consul").rcode, NXDOMAIN)
        self.assertNotIn("web", agent.get("/v1/catalog/services").json)

    def resolves(self, ip, port):
        agent = self.agent
        target = "%08x.addr.dc1.%s"
        for domain in ("consul.", "cairn."):
            for tcp in (False, True):
                with self.subTest(domain=domain, tcp=tcp):
                    for name in ("web.service.", "web.service.dc1.", "v1.web.service.",
                                 "primary.web.service.", "WEB.Service.", "_web._tcp.service.",
                                 "_web._v1.service."):
                        answer = agent.resolve(name + domain, tcp=tcp)
                        self.assertEqual((answer.rcode, answer.aa, answer.ra),
                                         (NOERROR, True, False), name)
                        self.assertEqual([(r.name, r.kind, r.ttl, r.data) for r in answer.answers],
                                         [(name + domain, "A", 0, ip)])
                    for name in ("web.service.", "_web._tcp.service.", "_web._tcp.",
                                 "_web._primary.dc1."):
                        answer = agent.resolve(name + domain, "SRV", tcp=tcp)
                        self.assertEqual(answer.rcode, NOERROR, name)
                        owner = target % (int(ipaddress.ip_address(ip)), domain)
                        self.assertEqual([(r.name, r.data) for r in answer.answers],
                                         [(name + domain, (1, 1, port, owner))])
                        self.assertEqual([(r.name, r.data) for r in answer.additional
                                          if r.kind == "A"], [(owner, ip)])
                        self.assertEqual(agent.resolve(owner, tcp=tcp).data("A"), [ip])
                    for name in ("n1.node.", "n1.node.dc1.", "N1.node."):
                        answer = agent.resolve(name + domain, tcp=tcp)
                        self.assertEqual([(r.name, r.data) for r in answer.answers],
                                         [(name + domain, agent.ip)])
                    for name in ("v2.web.service.", "web2.service.", "n2.node.", "service.", "",
                                 "web.service.dc2.", "web.", "v1.primary.web.service."):
                        answer = agent.resolve(name + domain, tcp=tcp)
                        self.assertEqual(answer.rcode, NXDOMAIN, name)
                        self.assertEqual(answer.answers, [])
                        soa, = answer.authority
                        self.assertEqual((soa.kind, soa.name, soa.data[1]),
                                         ("SOA", domain, "hostmaster." + domain))
                    answer = agent.resolve("web.service." + domain, "AAAA", tcp=tcp)
                    self.assertEqual((answer.rcode, answer.answers), (NOERROR, []))
                    self.assertEqual([r.kind for r in answer.authority], ["SOA"])

    def dig(self, *args):
        host, port = self.agent.dns_address
        out = subprocess.run(["dig", "@" + host, "-p", str(port), "+tries=1", "+timeout=50", *args],
                             check=True, capture_output=True, text=True).stdout
        self.assertNotIn("WARNING", out.replace(";; WARNING: recursion requested but not available",
                                                ""))
        self.assertNotIn("malformed", out)
        return out

    def test_dig_understands(self):
        self.agent.register("digged", Port=443, ID="d1", Address="192.0.2.77")
        self.agent.register("digged", Port=444, ID="d2", Address="192.0.2.78")
        self.assertEqual(sorted(self.dig("+short", "digged.service.cairn").split()),
                         ["192.0.2.77", "192.0.2.78"])
        self.assertEqual(sorted(self.dig("+short", "+tcp", "digged.service.consul").split()),
                         ["192.0.2.77", "192.0.2.78"])
        self.assertEqual(sorted(self.dig("+short", "digged.service.consul", "SRV").splitlines()),
                         ["1 1 443 c000024d.addr.dc1.consul.",
                          "1 1 444 c000024e.addr.dc1.consul."])
        self.assertIn("status: NXDOMAIN", self.dig("nothing.service.consul"))
        self.assertIn("status: REFUSED", self.dig("www.example.org"))
        self.assertEqual(self.dig("+short", "-x", self.agent.ip).split(), ["n1.node.dc1.consul."])

    def test_the_agent_itself(self):
        agent = self.agent
        answer = agent.resolve("consul.service.consul", "SRV")
        self.assertEqual([r.data for r in answer.answers],
                         [(1, 1, agent.server_port, "n1.node.dc1.consul.")])
        self.assertEqual([(r.name, r.data) for r in answer.additional if r.kind == "A"],
                         [("n1.node.dc1.consul.", agent.ip)])
        check, = agent.get("/v1/health/node/n1").json
        self.assertEqual((check["CheckID"], check["Name"], check["Status"], check["Output"],
                          check["Type"], check["Notes"]),
                         ("serfHealth", "Serf Health Status", "passing",
                          "Agent alive and reachable", "", ""))
        self.assertEqual(agent.get("/v1/status/leader").json,
                         "%s:%d" % (agent.ip, agent.server_port))
