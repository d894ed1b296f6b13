"""dnsmasq forwards consul. to the agent."""

import dns_forwarder
from clients import program


class Dnsmasq(dns_forwarder.Forwarder):
    def start_forwarder(self, address):
        return self.start_daemon(
            program("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
            "--no-hosts", "--bind-interfaces", "--user=", "--group=", "--pid-file=",
            "--log-facility=-", "--listen-address=" + address[0], "--port=%d" % address[1],
            "--server=/consul/%s#%d" % self.agent.dns_address)

    def test_forwards(self):
        self.follow()


del dns_forwarder
