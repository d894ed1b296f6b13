"""HAProxy fills a backend from SRV answers (resolvers, server-template)."""

import os
import socket
import threading
import urllib.request

from clients import AgentOfGroupTest, ClientTest, Service, new_ip, new_port, program

CONFIG = """
global
    stats socket %(stats)s level admin
    maxconn 100
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
resolvers cairn
    nameserver agent %(dns)s
    accepted_payload_size 8192
    resolve_retries 2
    timeout resolve 200ms
    timeout retry 200ms
    hold valid 200ms
    hold obsolete 0s
    hold nx 200ms
frontend entry
    bind %(entry)s
    default_backend found
backend found
    balance roundrobin
    server-template web 4 %(name)s resolvers cairn resolve-prefer ipv4 init-addr none
"""


class Proxy:
    def serve(self, name):
        binary = program("haproxy")
        folder = self.folder()
        ip = new_ip()
        entry = "%s:%d" % (ip, new_port(ip))
        self.stats = os.path.join(folder, "stats")
        self.entry = "http://" + entry
        path = os.path.join(folder, "haproxy.cfg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIG % {"stats": self.stats, "entry": entry, "name": name,
                                 "dns": "%s:%d" % self.agent.dns_address})
        return self.start_daemon(binary, "-db", "-f", path)

    def ask(self, command):
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(self.stats)
            stats.sendall(command.encode() + b"\n")
            out = b""
            while True:
                more = stats.recv(65536)
                if not more:
                    return out.decode()
                out += more

    def servers(self):
        """The addresses of the servers that are in use; None until HAProxy answers."""
        try:
            lines = self.ask("show servers state found").splitlines()
        except OSError:
            return None
        names = lines[1].lstrip("# ").split(" ")
        rows = [dict(zip(names, line.split(" "))) for line in lines[2:] if line]
        # Neither in maintenance nor without an address.
        return sorted((row["srv_addr"], int(row["srv_port"])) for row in rows
                      if row["srv_addr"] != "-" and row["srv_op_state"] == "2")

    def get(self):
        with urllib.request.urlopen(self.entry + "/", timeout=5) as reply:
            return reply.read()

    def register(self, number, service):
        ip, port = service.address
        self.agent.must_put("/v1/agent/service/register", {
            "Name": "web", "ID": "web-%d" % number, "Address": ip, "Port": port,
            "Check": {"HTTP": service.url, "Interval": "1s", "Timeout": "2s"}})


class HAProxy(Proxy, ClientTest):
    def follows(self, services, name):
        for number, service in enumerate(services):
            self.register(number, service)
        process = self.serve(name)
        both = sorted(service.address for service in services)
        self.until(process, lambda: self.servers() == both, "both servers")
        before = [service.requests for service in services]
        for _ in range(4):
            self.assertEqual(self.get(), b"I am well\n")
        for service, requests in zip(services, before):
            self.assertGreater(service.requests, requests)

        services[0].status = 500  # critical: it leaves DNS and so the backend
        self.until(process, lambda: self.servers() == [services[1].address], "one server")
        self.assertEqual(self.get(), b"I am well\n")
        services[0].status = 200
        self.until(process, lambda: self.servers() == both, "both servers again")
        for number in range(2):
            self.agent.must_put("/v1/agent/service/deregister/web-%d" % number)
        self.until(process, lambda: self.servers() == [], "no server")

    def test_srv(self):
        self.follows([self.checked_service(), self.checked_service()], "_web._tcp.service.consul")

    def test_addresses(self):
        """HAProxy asks for SRV only where a name begins with "_"; for others it knows the port."""
        first = self.checked_service()
        second = Service()
        second.address = (second.address[0], first.address[1])
        second.start()
        self.addCleanup(second.stop)
        self.follows([first, second], "web.service.consul:%d" % first.address[1])


class HAProxyThroughDeaths(Proxy, AgentOfGroupTest):
    def test_no_request_is_lost_and_changes_come(self):
        services = [self.checked_service(), self.checked_service()]
        for number, service in enumerate(services):
            self.register(number, service)
        process = self.serve("_web._tcp.service.consul")
        both = [service.address for service in services]
        self.until(process, lambda: self.servers() == sorted(both), "both servers")
        stopped, failed = threading.Event(), []

        def get_again_and_again():
            while not stopped.wait(0.02):
                try:
                    used = self.servers()
                    body = self.get()
                except OSError as error:
                    failed.append(repr(error))
                    continue
                if not set(both) <= set(used) or body != b"I am well\n":
                    failed.append((used, body))

        thread = threading.Thread(target=get_again_and_again)
        thread.start()
        try:
            for moment in self.deaths():
                another = self.checked_service()
                self.register(2, another)
                self.until(process, lambda: self.servers() == sorted(both + [another.address]),
                           "a third server: " + moment)
                self.agent.must_put("/v1/agent/service/deregister/web-2")
                self.until(process, lambda: self.servers() == sorted(both),
                           "it is gone: " + moment)
        finally:
            stopped.set()
            thread.join()
        self.assertEqual(failed, [])


del AgentOfGroupTest, ClientTest
