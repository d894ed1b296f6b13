"""What the tests of resolvers share that forward consul. to the agent."""

from clients import NOERROR, NXDOMAIN, ClientTest, new_ip, new_port, query


class Forwarder(ClientTest):
    def start_forwarder(self, address):
        """Starts one at the address and returns its process."""
        raise NotImplementedError

    def start(self):
        ip = new_ip()
        self.address = (ip, new_port(ip))
        self.process = self.start_forwarder(self.address)
        self.until(self.process, self.answers, "the forwarder answers")

    def answers(self):
        try:
            return self.ask("consul.service.consul").rcode == NOERROR
        except OSError:
            return False

    def ask(self, name, kind="A", **how):
        how.setdefault("edns", 1232)
        return query(self.address, name, kind, **how)

    def follow(self):
        agent = self.agent
        self.start()
        self.assertEqual(self.ask("nothing.service.consul").rcode, NXDOMAIN)
        agent.register("web", ID="w1", Port=8080, Address="192.0.2.7", Tags=["v1"])
        agent.register("web", ID="w2", Port=8081, Address="192.0.2.8")
        both = ["192.0.2.7", "192.0.2.8"]
        for tcp in (False, True):
            answer = self.ask("web.service.consul", tcp=tcp)
            self.assertEqual((answer.rcode, answer.data("A")), (NOERROR, both))
            answer = self.ask("web.service.consul", "SRV", tcp=tcp)
            self.assertEqual(answer.data("SRV"),
                             [(1, 1, 8080, "c0000207.addr.dc1.consul."),
                              (1, 1, 8081, "c0000208.addr.dc1.consul.")])
        # What an SRV record names can be asked for.
        self.assertEqual(self.ask("c0000207.addr.dc1.consul").data("A"), ["192.0.2.7"])
        self.assertEqual(self.ask("v1.web.service.consul").data("A"), ["192.0.2.7"])
        self.assertEqual(self.ask("_web._tcp.service.consul", "SRV").data("SRV")[0][2], 8080)
        answer = self.ask("web.service.consul", "AAAA")
        self.assertEqual((answer.rcode, answer.answers), (NOERROR, []))
        self.assertEqual(self.ask("n1.node.consul").data("A"), [agent.ip])

        # Answers live for 0 s: nothing between holds on to them.
        agent.deregister("w1")
        self.assertEqual(self.ask("web.service.consul").data("A"), ["192.0.2.8"])
        agent.deregister("w2")
        self.assertEqual(self.ask("web.service.consul").rcode, NXDOMAIN)
        agent.register("web", ID="w3", Port=8082, Address="192.0.2.9")
        self.until(self.process, lambda: self.ask("web.service.consul").data("A")
                   == ["192.0.2.9"], "a name that was not there is seen again")
        agent.deregister("w3")
