"""Names that are not ours: passed on to recursors that answer, lie, hang or are not there."""

import socket
import struct

from cairn import (ASK_AGAIN_S, DEADLINE_S, AgentTest, NOERROR, NXDOMAIN, REFUSED, SERVFAIL,
                   encode_query, eventually, lost_datagrams, read_tcp, Message)
from recursor import ADDRESS, Recursor


class RecursorTest(AgentTest):
    silent = ()  # which of the recursors say nothing
    count = 2
    dns_config = {"recursor_timeout": "20s"}  # a busy machine may keep a recursor from answering

    @classmethod
    def setUpClass(cls):
        cls.recursors = [Recursor(silent=i in cls.silent) for i in range(cls.count)]
        for recursor in cls.recursors:
            cls.addClassCleanup(recursor.stop)
        cls.config = {"recursors": [r.address for r in cls.recursors], "dns_config": cls.dns_config}
        super().setUpClass()

    def setUp(self):
        for recursor in self.recursors:
            recursor.asked.clear()

    def check(self, name, rcode, addresses=(), **how):
        answer = self.agent.resolve(name, **how)
        self.assertEqual((answer.rcode, answer.data("A"), answer.ra),
                         (rcode, list(addresses), True), name)
        return answer


class Relay(RecursorTest):
    def test_relayed_as_it_came(self):
        for tcp in (False, True):
            answer = self.check("Www.Example.COM", NOERROR, [ADDRESS], tcp=tcp)
            self.assertEqual((answer.aa, answer.question[0][0]), (False, "Www.Example.COM."))
            asked, = self.recursors[0].asked
            self.assertEqual((asked.transport, asked.flags, asked.edns),
                             ("tcp" if tcp else "udp", 0x0100, False))
            self.setUp()
        self.check("www.example.com", NOERROR, [ADDRESS], edns=1400, flags=0x0010)
        asked, = self.recursors[0].asked
        self.assertEqual((asked.flags, asked.edns), (0x0010, True))
        answer = self.check("nx.example.com", NXDOMAIN)
        self.assertEqual((answer.aa, [r.name for r in answer.authority]), (True, ["example."]))
        self.assertEqual(self.recursors[1].asked, [])

    def test_nothing_to_guess(self):
        """Ids, ports and the case of letters differ from question to question (RFC 5452)."""
        for _ in range(12):
            self.check("abcdefghijklmnopqrstuvwxyz.example", NOERROR, [ADDRESS])
        asked = self.recursors[0].asked
        self.assertEqual(len(asked), 12)
        for seen in ({a.number for a in asked}, {a.peer[1] for a in asked},
                     {a.sent_name for a in asked}):
            self.assertGreater(len(seen), 9)

    def test_forged_replies_are_not_taken(self):
        self.check("forged.example", NOERROR, [ADDRESS])
        self.assertEqual(len(self.recursors[0].asked), 1)

    def test_recursor_that_folds_case(self):
        self.check("fold.AbCdEfGhIjKlMnOpQrStUvWxYz.example", NOERROR, [ADDRESS])
        self.assertEqual([a.transport for a in self.recursors[0].asked], ["udp", "tcp"])
        self.assertEqual(self.recursors[1].asked, [])

    def test_truncated(self):
        answer = self.agent.resolve("long.example")
        self.assertEqual((answer.rcode, answer.tc, answer.answers), (NOERROR, True, []))
        answer = self.agent.resolve("long.example", tcp=True)
        self.assertEqual((answer.tc, len(answer.data("A"))), (False, 99))

    def test_own_names_stay(self):
        for name in ("nothing.service.consul", "x.y.cairn", "nothing.node.consul"):
            self.check(name, NXDOMAIN)
        self.check("n1.node.consul", NOERROR, [self.agent.ip])
        self.assertEqual([r.asked for r in self.recursors], [[], []])

    def test_reverse(self):
        self.agent.register("r", ID="r", Address="192.0.2.77")
        answer = self.agent.resolve("77.2.0.192.in-addr.arpa", "PTR")
        self.assertEqual(answer.data("PTR"), ["r.service.dc1.consul."])
        self.assertEqual(self.recursors[0].asked, [])
        self.agent.resolve("78.2.0.192.in-addr.arpa", "PTR")
        self.assertEqual(self.recursors[0].names(), ["78.2.0.192.in-addr.arpa."])
        self.agent.deregister("r")


class SilentOrIll(RecursorTest):
    """What fails, and what waits for it."""

    dns_config = {"recursor_timeout": "300ms"}

    def test_next_recursor(self):
        """One after the other; when all fail the client is told."""
        for how in ("drop", "broken", "formerr", "servfail", "notimp", "refused", "bare"):
            for tcp in (False, True):
                with self.subTest(how=how, tcp=tcp):
                    self.setUp()
                    answer = self.check(how + ".example", SERVFAIL, tcp=tcp, edns=1232)
                    self.assertEqual((answer.aa, len(answer.opt)), (False, 1))
                    self.assertEqual([len(r.asked) for r in self.recursors], [1, 1])

    def test_view_is_not_held_up(self):
        """While recursors are silent others are answered, and each question is in the end."""
        agent, missing, lost = self.agent, set(range(300)), lost_datagrams()
        with socket.socket(type=socket.SOCK_DGRAM) as flood:
            flood.connect(agent.dns_address)
            flood.settimeout(ASK_AGAIN_S)

            def ask():
                for number in missing:
                    flood.send(encode_query("drop.example", number=number))

            def all_are_answered():
                try:
                    while missing:
                        message = Message(flood.recv(65535))
                        self.assertEqual(message.rcode, SERVFAIL)
                        missing.discard(message.number)
                except socket.timeout:
                    if lost_datagrams() != lost:  # the buffers of the system have no room for all
                        ask()
                return not missing

            ask()
            self.assertEqual(agent.resolve("n1.node.consul").data("A"), [agent.ip])
            eventually(all_are_answered, "an answer to each question")

    def test_no_answer_behind_an_alias(self):
        self.agent.register("ext", ID="ext", node="alias-ext", Address="drop.example", Port=7)
        answer = self.agent.resolve("ext.service.consul")
        self.assertEqual((answer.rcode, [r.data for r in answer.answers]),
                         (NOERROR, ["drop.example."]))


class Pipelined(RecursorTest):
    dns_config = {"recursor_timeout": "2s"}

    def test_what_the_view_has_comes_first(self):
        """Over one connection it overtakes what recursors are asked for."""
        names = ["slow%d.example" % i for i in range(20)] + ["drop.example", "n1.node.consul"]
        with socket.create_connection(self.agent.dns_address, DEADLINE_S) as tcp:
            for i, name in enumerate(names):
                wire = encode_query(name, number=i)
                tcp.sendall(struct.pack(">H", len(wire)) + wire)
            tcp.shutdown(socket.SHUT_WR)
            answers = {}
            while len(answers) < len(names):
                message = Message(read_tcp(tcp))
                answers[message.number] = message
            self.assertEqual(tcp.recv(1), b"")
        self.assertEqual([answers[i].data("A") for i in range(20)], [[ADDRESS]] * 20)
        self.assertEqual((answers[20].rcode, answers[21].data("A")), (SERVFAIL, [self.agent.ip]))


class Aliases(RecursorTest):
    def alias(self, host, name="ext", **fields):
        self.agent.register(name, ID=name, node="alias-" + name, Address=host, Port=7, **fields)

    def tearDown(self):
        for row in self.agent.get("/v1/catalog/nodes").json:
            if row["Node"].startswith("alias-"):
                self.agent.must_put("/v1/catalog/deregister", {"Node": row["Node"]})

    def test_service(self):
        self.alias("alias.example")
        answer = self.agent.resolve("ext.service.consul")
        self.assertEqual([(r.name, r.kind, r.ttl, r.data) for r in answer.answers], [
            ("ext.service.consul.", "CNAME", 0, "alias.example."),
            ("alias.example.", "CNAME", 0, "real.example."),
            ("real.example.", "A", 0, ADDRESS)])
        self.assertEqual((answer.aa, answer.ra), (True, True))
        answer = self.agent.resolve("ext.service.consul", "AAAA")
        self.assertEqual(answer.data("AAAA"), ["2001:db8::7"])
        answer = self.agent.resolve("ext.service.consul", "SRV", tcp=True)
        self.assertEqual(answer.data("SRV"), [(1, 1, 7, "alias.example.")])
        self.assertEqual([(r.name, r.kind, r.data) for r in answer.additional if r.kind != "TXT"],
                         [("alias.example.", "CNAME", "real.example."),
                          ("real.example.", "A", ADDRESS)])

    def test_many_records(self):
        """Five of them for a client without EDNS; truncated ones are fetched whole."""
        self.alias("long.example")
        self.assertEqual(len(self.agent.resolve("ext.service.consul", tcp=True).answers), 1 + 5)
        answer = self.agent.resolve("ext.service.consul", edns=4096)
        self.assertEqual(len(answer.answers), 1 + 32)
        self.assertEqual([a.transport for a in self.recursors[0].asked], ["udp", "tcp"] * 2)

    def test_node_behind_inner_names(self):
        """Three names of ours may lie between, and the foreign one behind them."""
        for i, host in enumerate(("alias-1.node.consul", "alias-2.node.cairn",
                                  "alias-3.node.consul", "alias.example")):
            self.agent.must_put("/v1/catalog/register", {"Node": "alias-%d" % i, "Address": host})
        answer = self.agent.resolve("alias-0.node.consul", edns=4096)
        self.assertEqual([r.data for r in answer.answers if r.kind != "TXT"], [
            "alias-1.node.consul.", "alias-2.node.cairn.", "alias-3.node.consul.",
            "alias.example.", "real.example.", ADDRESS])
        self.assertEqual([r.data for r in answer.answers if r.kind == "TXT"], [("text",)])
        self.assertEqual(answer.answers[-2].ttl, 60)  # a node's records keep theirs

    def test_several_targets(self):
        for i in range(3):
            self.alias("host%d.example" % i, "many", **{"Tags": ["t"]}) if i == 0 else \
                self.agent.register("many", ID="many%d" % i, node="alias-many%d" % i,
                                    Address="host%d.example" % i, Port=7)
        answer = self.agent.resolve("many.service.consul", "SRV", edns=4096)
        self.assertEqual(len(answer.answers), 3)
        self.assertEqual(sorted(r.name for r in answer.additional if r.kind == "A"),
                         ["host0.example.", "host1.example.", "host2.example."])
        for _ in range(8):  # whichever is drawn, its records are the ones asked for
            answer = self.agent.resolve("many.service.consul")
            self.assertEqual([r.kind for r in answer.answers], ["CNAME", "A"])
            self.assertEqual(answer.answers[0].data, answer.answers[1].name)


class FirstIsSilent(RecursorTest):
    silent = (0,)
    dns_config = {"recursor_timeout": "2s"}

    def test_second_answers(self):
        for tcp in (False, True):
            self.check("www.example.com", NOERROR, [ADDRESS], tcp=tcp)
        self.assertEqual([len(r.asked) for r in self.recursors], [2, 2])


class Random(RecursorTest):
    dns_config = {"recursor_strategy": "random"}

    def test_each_is_first_sometimes(self):
        def both():
            self.check("www.example.com", NOERROR, [ADDRESS])
            return all(r.asked for r in self.recursors)
        eventually(both, "both recursors are asked")


class Reload(RecursorTest):
    count = 1

    def reload(self, **config):
        self.agent.config.update(config)
        self.agent.command()
        self.agent.must_put("/v1/agent/reload")

    def test_recursors_come_and_go(self):
        agent = self.agent
        self.check("www.example.com", NOERROR, [ADDRESS])
        self.reload(recursors=[])
        answer = agent.resolve("www.example.com")
        self.assertEqual((answer.rcode, answer.ra), (REFUSED, False))
        # One that is this agent is left out.
        other = Recursor()
        self.addCleanup(other.stop)
        self.reload(recursors=["%s:%d" % agent.dns_address, other.address],
                    dns_config={"node_ttl": "9s", "recursor_timeout": "19s",
                                "recursor_strategy": "random"})
        self.check("www.example.com", NOERROR, [ADDRESS])
        self.assertEqual((len(other.asked), agent.resolve("n1.node.consul").answers[0].ttl), (1, 9))
        reply = agent.put("/v1/agent/reload")
        self.assertEqual(reply.status, 200)
        agent.config["recursors"] = ["1.2.3.4::53"]
        agent.command()
        reply = agent.put("/v1/agent/reload")
        self.assertEqual(reply.status, 500)
        self.assertIn("too many colons in address", reply.text)
        self.check("www.example.com", NOERROR, [ADDRESS])
        self.reload(recursors=[other.address])

    def test_ends_while_recursors_are_silent(self):
        agent = self.new_agent({"recursors": [self.recursors[0].address],
                                "dns_config": {"recursor_timeout": "60s"}})
        agent.start()
        udp = socket.socket(type=socket.SOCK_DGRAM)
        self.addCleanup(udp.close)
        udp.connect(agent.dns_address)
        tcp = socket.create_connection(agent.dns_address)
        self.addCleanup(tcp.close)
        for _ in range(5):
            wire = encode_query("drop.example")
            udp.send(wire)
            tcp.sendall(struct.pack(">H", len(wire)) + wire)
        eventually(lambda: len(self.recursors[0].asked) >= 10, "all are asked")
        agent.stop()


class NameServers(RecursorTest):
    count = 0

    def test_a_name_that_is_none(self):
        """Left out of NS records, and told once."""
        agent = self.agent
        agent.must_put("/v1/catalog/register", {
            "Node": "not_a_host", "Address": "192.0.2.3", "Service": {"Service": "consul"}})
        for _ in range(3):
            answer = agent.resolve("consul", "NS")
            self.assertEqual(answer.data("NS"), ["n1.node.dc1.consul."])
        agent.says('node="not_a_host"')
        self.assertEqual(agent.output().count("left out of NS records"), 1)
