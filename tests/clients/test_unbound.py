"""unbound forwards consul. to the agent, as a stub zone and as a forward zone."""

import os

import dns_forwarder
from clients import program

CONFIG = """
server:
    interface: %(ip)s@%(port)d
    access-control: 127.0.0.0/8 allow
    do-not-query-localhost: no
    do-daemonize: no
    do-ip6: no
    use-syslog: no
    chroot: ""
    username: ""
    pidfile: ""
    directory: "%(folder)s"
    num-threads: 1
    module-config: "iterator"
    cache-max-negative-ttl: 0
    domain-insecure: "consul."
remote-control:
    control-enable: no
%(kind)s-zone:
    name: "consul."
    %(kind)s-addr: %(dns)s
"""


class Unbound(dns_forwarder.Forwarder):
    kind = "stub"

    def start_forwarder(self, address):
        binary = program("unbound")
        folder = self.folder()
        path = os.path.join(folder, "unbound.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIG % {"ip": address[0], "port": address[1], "folder": folder,
                                 "kind": self.kind, "dns": "%s@%d" % self.agent.dns_address})
        return self.start_daemon(binary, "-d", "-c", path)

    def test_stub_zone(self):
        self.follow()

    def test_forward_zone(self):
        self.kind = "forward"
        self.follow()


del dns_forwarder
