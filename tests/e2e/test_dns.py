"""Answers of the name server, record by record."""

import time

from cairn import AgentTest, NOERROR, NXDOMAIN, eventually


class DnsTest(AgentTest):
    def records(self, records):
        return sorted((r.name, r.kind, r.data) for r in records)


class Names(DnsTest):
    config = {"node_meta": {"rack": "r=7", "rfc1035-note": "bare value"}}

    def test_soa(self):
        for name in ("consul", "nothing.consul", "consul.service.consul"):
            answer = self.agent.resolve(name, "SOA")
            soa, = answer.answers
            self.assertEqual((answer.rcode, soa.name, soa.kind, soa.ttl), (NOERROR, "consul.",
                                                                         "SOA", 0))
            self.assertEqual(soa.data[:2] + soa.data[3:],
                             ("ns.consul.", "hostmaster.consul.", 3600, 600, 86400, 0))
            self.assertLess(abs(soa.data[2] - time.time()), 60)
            self.assertEqual(self.records(answer.authority),
                             [("consul.", "NS", "n1.node.dc1.consul.")])
            self.assertEqual([r for r in self.records(answer.additional) if r[1] == "A"],
                             [("n1.node.dc1.consul.", "A", self.agent.ip)])

    def test_ns(self):
        for domain in ("consul.", "cairn."):
            answer = self.agent.resolve(domain, "NS")
            self.assertEqual(self.records(answer.answers),
                             [(domain, "NS", "n1.node.dc1." + domain)])
            self.assertEqual([r for r in self.records(answer.additional) if r[1] == "A"],
                             [("n1.node.dc1." + domain, "A", self.agent.ip)])

    def test_node(self):
        answer = self.agent.resolve("n1.node.consul", "ANY", edns=4096)
        texts = [r.data[0] for r in answer.answers if r.kind == "TXT"]
        self.assertEqual(answer.data("A"), [self.agent.ip])
        self.assertEqual(len(texts), 4)
        self.assertIn("rack=r=7", texts)
        self.assertIn("bare value", texts)
        answer = self.agent.resolve("n1.node.consul", "TXT", edns=4096)
        self.assertEqual(sorted(r.data[0] for r in answer.answers), sorted(texts))
        answer = self.agent.resolve("n1.node.consul", "A", edns=4096)
        self.assertEqual(sorted(r.data[0] for r in answer.additional if r.kind == "TXT"),
                         sorted(texts))
        for kind in ("AAAA", "MX", "SRV"):
            answer = self.agent.resolve("n1.node.consul", kind)
            self.assertEqual((answer.rcode, answer.answers, answer.authority), (NOERROR, [], []))

    def test_letter_case_and_header(self):
        answer = self.agent.resolve("CoNsUl.SeRvIcE.cOnSuL", flags=0x0100)
        self.assertEqual(answer.question, [("CoNsUl.SeRvIcE.cOnSuL.", "A", 1)])
        self.assertEqual(answer.answers[0].name, "CoNsUl.SeRvIcE.cOnSuL.")
        self.assertEqual((answer.qr, answer.aa, answer.tc, answer.rd, answer.ra, answer.opt),
                         (True, True, False, True, False, []))
        self.assertTrue(answer.compressed)
        self.assertFalse(self.agent.resolve("consul.service.consul", flags=0).rd)
        answer = self.agent.resolve("consul.service.CoNsUl", "SRV")
        self.assertEqual(answer.answers[0].data[3], "n1.node.dc1.CoNsUl.")

    def test_edns(self):
        for size in (512, 1232, 4096):
            answer = self.agent.resolve("consul.service.consul", edns=size)
            opt, = answer.opt
            self.assertEqual((opt.name, opt.dns_class, opt.ttl, opt.data), (".", size, 0, b""))
        self.assertEqual(len(self.agent.resolve("no.service.consul", edns=1232).opt), 1)

    def test_ptr(self):
        reverse = ".".join(reversed(self.agent.ip.split("."))) + ".in-addr.arpa"
        answer = self.agent.resolve(reverse, "PTR")
        self.assertEqual([(r.name, r.kind, r.data, r.ttl) for r in answer.answers],
                         [(reverse + ".", "PTR", "n1.node.dc1.consul.", 0)])
        self.agent.register("reversed", node="rev", Address="192.0.2.99", ID="r")
        answer = self.agent.resolve("99.2.0.192.in-addr.arpa", "PTR")
        self.assertEqual(answer.data("PTR"), ["reversed.service.dc1.consul."])
        self.assertEqual(self.agent.resolve("98.2.0.192.in-addr.arpa", "PTR").rcode, NXDOMAIN)
        self.agent.must_put("/v1/catalog/deregister", {"Node": "rev"})

    def test_addr(self):
        for name, kind, data in (("c0000201.addr.dc1.consul", "A", "192.0.2.1"),
                                 ("C0000201.addr.consul", "ANY", "192.0.2.1"),
                                 ("20010db8000000000000000000000001.addr.cairn", "AAAA",
                                  "2001:db8::1")):
            answer = self.agent.resolve(name, kind)
            self.assertEqual([r.data for r in answer.answers], [data])
        for name in ("c00002.addr.consul", "xyz00201.addr.consul", "addr.consul",
                     "a.c0000201.addr.consul"):
            self.assertEqual(self.agent.resolve(name).rcode, NXDOMAIN, name)

    def test_two_families(self):
        self.agent.register("dual", node="dual-4", address="192.0.2.4", ID="4", Port=4)
        self.agent.register("dual", node="dual-6", address="2001:db8::6", ID="6", Port=6)
        self.agent.register("dual", node="dual-s", address="192.0.2.5", ID="s", Port=5,
                            Address="2001:db8::5")
        self.assertEqual(self.agent.resolve("dual.service.consul").data("A"), ["192.0.2.4"])
        self.assertEqual(self.agent.resolve("dual.service.consul", "AAAA").data("AAAA"),
                         ["2001:db8::5", "2001:db8::6"])
        self.assertEqual(len(self.agent.resolve("dual.service.consul", "ANY").answers), 3)
        answer = self.agent.resolve("dual.service.consul", "SRV", edns=4096)
        self.assertEqual(answer.data("SRV"), [
            (1, 1, 4, "dual-4.node.dc1.consul."),
            (1, 1, 5, "20010db8000000000000000000000005.addr.dc1.consul."),
            (1, 1, 6, "dual-6.node.dc1.consul.")])
        self.assertEqual([r for r in self.records(answer.additional) if r[1] != "TXT"], [
            ("20010db8000000000000000000000005.addr.dc1.consul.", "AAAA", "2001:db8::5"),
            ("dual-4.node.dc1.consul.", "A", "192.0.2.4"),
            ("dual-6.node.dc1.consul.", "AAAA", "2001:db8::6")])
        self.assertEqual(self.agent.resolve("dual-6.node.consul", "AAAA").data("AAAA"),
                         ["2001:db8::6"])
        for node in ("dual-4", "dual-6", "dual-s"):
            self.agent.must_put("/v1/catalog/deregister", {"Node": node})

    def test_host_names_as_addresses(self):
        self.agent.register("alias", node="a", Address="www.example.com", ID="a", Port=1)
        answer = self.agent.resolve("alias.service.consul")
        self.assertEqual([(r.kind, r.data) for r in answer.answers],
                         [("CNAME", "www.example.com.")])
        answer = self.agent.resolve("alias.service.consul", "SRV")
        self.assertEqual(answer.data("SRV"), [(1, 1, 1, "www.example.com.")])
        self.agent.register("inner", node="i", Address="consul.service.consul", ID="i")
        answer = self.agent.resolve("inner.service.consul")
        self.assertEqual(sorted((r.kind, r.data) for r in answer.answers if r.kind != "TXT"),
                         [("A", self.agent.ip), ("CNAME", "consul.service.consul.")])
        self.agent.register("loop", node="l", Address="loop.service.consul", ID="l", Port=3)
        self.assertEqual(self.agent.resolve("loop.service.consul").data("A"), ["192.0.2.1"])
        for node in "ail":
            self.agent.must_put("/v1/catalog/deregister", {"Node": node})

    def test_weights_and_health(self):
        def register(node, status):
            self.agent.must_put("/v1/catalog/register", {
                "Node": node, "Address": "192.0.2.1",
                "Service": {"Service": "weighed", "Port": ord(node[-1]),
                            "Weights": {"Passing": 10, "Warning": 3}},
                "Check": {"CheckID": "c", "ServiceID": "weighed", "Status": status}})
        register("wa", "passing")
        register("wb", "warning")
        register("wc", "critical")
        answer = self.agent.resolve("weighed.service.consul", "SRV", edns=4096)
        self.assertEqual([d[:3] for d in answer.data("SRV")],
                         [(1, 3, ord("b")), (1, 10, ord("a"))])
        register("wc", "passing")
        self.assertEqual(len(self.agent.resolve("weighed.service.consul", "SRV",
                                                edns=4096).answers), 3)
        # The same address three times is one record.
        self.assertEqual(self.agent.resolve("weighed.service.consul").data("A"), ["192.0.2.1"])
        self.agent.must_put("/v1/catalog/register", {
            "Node": "wa", "SkipNodeUpdate": True, "Check": {"CheckID": "n", "Status": "critical"}})
        self.assertEqual(len(self.agent.resolve("weighed.service.consul", "SRV",
                                                edns=4096).answers), 2)
        for node in ("wa", "wb", "wc"):
            self.agent.must_put("/v1/catalog/deregister", {"Node": node})
        self.assertEqual(self.agent.resolve("weighed.service.consul").rcode, NXDOMAIN)

    def test_node_names_with_dots(self):
        self.agent.must_put("/v1/catalog/register", {"Node": "a.b", "Address": "192.0.2.44"})
        self.assertEqual(self.agent.resolve("a.b.node.consul").data("A"), ["192.0.2.44"])
        self.assertEqual(self.agent.resolve("a.b.node.dc1.cairn").data("A"), ["192.0.2.44"])
        self.agent.must_put("/v1/catalog/deregister", {"Node": "a.b"})


class Crowds(DnsTest):
    config = {"dns_config": {"enable_truncate": True}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.agent.client() as client:
            for i in range(500):
                assert client.put("/v1/catalog/register", {
                    "Node": "many-%d" % i, "Address": "192.0.%d.%d" % (2 + i // 250, i % 250),
                    "Service": {"Service": "many", "Port": 1000 + i}}).status == 200

    def test_plain_udp(self):
        answer = self.agent.resolve("many.service.consul")
        self.assertEqual((len(answer.answers), answer.tc), (3, True))
        self.assertLessEqual(len(answer.wire), 512)
        answer = self.agent.resolve("many.service.consul", "SRV")
        self.assertEqual(answer.tc, True)
        self.assertLessEqual(len(answer.wire), 512)
        self.targets_have_addresses(answer)

    def targets_have_addresses(self, answer):
        owners = {r.name for r in answer.additional if r.kind == "A"}
        self.assertEqual(owners, {r.data[3] for r in answer.answers})

    def test_edns(self):
        for size in (600, 1232, 4096, 65535):
            for kind in ("A", "SRV"):
                with self.subTest(size=size, kind=kind):
                    answer = self.agent.resolve("many.service.consul", kind, edns=size)
                    self.assertLessEqual(len(answer.wire), size)
                    self.assertGreater(len(answer.wire), size // 2 if size < 8000 else 8000)
                    self.assertEqual(answer.tc, len(answer.answers) < 500)
                    self.assertEqual(len(answer.opt), 1)
                    if kind == "SRV":
                        self.targets_have_addresses(answer)

    def test_tcp(self):
        answer = self.agent.resolve("many.service.consul", tcp=True)
        self.assertEqual((len(set(answer.data("A"))), answer.tc), (500, False))
        answer = self.agent.resolve("many.service.consul", "SRV", tcp=True)
        self.assertEqual((len({d[2] for d in answer.data("SRV")}), answer.tc), (500, False))
        self.targets_have_addresses(answer)

    def test_load_is_spread(self):
        """Every instance comes first sooner or later."""
        seen = set()
        def more():
            seen.update(r.data for r in self.agent.resolve("many.service.consul").answers)
            return len(seen) > 200
        eventually(more, "the answers vary")


class Configured(DnsTest):
    config = {"domain": "Example.", "alt_domain": "alt.test", "datacenter": "Paris",
              "dns_config": {"node_ttl": "7s", "service_ttl": {"*": "5s", "we*": "9s", "web": "11s"},
                             "only_passing": True, "udp_answer_limit": 5, "a_record_limit": 2,
                             "disable_compression": True, "enable_additional_node_meta_txt": False,
                             "soa": {"refresh": 1, "retry": 2, "expire": 3, "min_ttl": 4}}}

    def test_it_counts(self):
        agent = self.agent
        for name in ("web", "wet", "other"):
            agent.register(name, ID=name)
        for name, ttl in (("web", 11), ("wet", 9), ("other", 5)):
            for domain in ("example.", "alt.test."):
                record, = agent.resolve("%s.service.%s" % (name, domain)).answers
                self.assertEqual((record.ttl, record.data), (ttl, "192.0.2.1"))
        answer = agent.resolve("n1.node.paris.alt.test")
        self.assertEqual((answer.answers[0].ttl, answer.additional, answer.compressed),
                         (7, [], False))
        self.assertEqual(agent.resolve("web.service.alt.test", "SRV").answers[0].data[3],
                         "ext.node.paris.alt.test.")
        soa, = agent.resolve("no.service.example").authority
        self.assertEqual((soa.name, soa.ttl, soa.data[3:]), ("example.", 4, (1, 2, 3, 4)))
        self.assertEqual(agent.resolve("web.service.consul").rcode, 5)
        agent.must_put("/v1/catalog/register", {
            "Node": "ext", "SkipNodeUpdate": True,
            "Check": {"CheckID": "c", "ServiceID": "web", "Status": "warning"}})
        self.assertEqual(agent.resolve("web.service.example").rcode, NXDOMAIN)
        for i in range(6):
            agent.register("lots", node="lots-%d" % i, address="192.0.2.%d" % (50 + i), Port=i)
        self.assertEqual(len(agent.resolve("lots.service.example").answers), 2)
        self.assertEqual(len(agent.resolve("lots.service.example", tcp=True).answers), 2)
        self.assertIn(len(agent.resolve("lots.service.example", "SRV").answers), (4, 5))
        self.assertFalse(agent.resolve("lots.service.example", "SRV").tc)  # not enabled
        self.assertEqual(len(agent.resolve("lots.service.example", "SRV", tcp=True).answers), 6)
        self.assertEqual(agent.get("/v1/catalog/datacenters").json, ["paris"])
