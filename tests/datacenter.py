"""A datacenter on one machine: servers and client agents, each on a host of its own (tests/netns.py),
for tests, for tests/bench/failover.py and for deploy/datacenter.sh. Needs root.

    with datacenter.Datacenter("build/release/cairn", clients=50) as dc:
        dc.start()
        dc.clients[7].isolate()
        dc.gone(dc.clients[7], begin)

Who uses it moves into the network of the hosts' bridge, so that it reaches all of them directly."""
import ctypes
import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

import netns

NEWNET = 0x40000000  # CLONE_NEWNET
OWN_IP, OWN_MAC = "10.77.255.254", "02:63:6e:01:00:00"
DEADLINE_S = 120


def enter(path):
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path, encoding="ascii") as file:
        if libc.setns(file.fileno(), NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns " + path)


def eventually(condition, what, deadline_s=DEADLINE_S, pause_s=0.02):
    end = time.monotonic() + deadline_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError("not within %s s: %s" % (deadline_s, what))
        time.sleep(pause_s)


class Machine:
    """One host with its agent."""

    def __init__(self, dc, host, name, server):
        self.dc, self.host, self.name, self.server = dc, host, name, server
        self.ip = host.ip
        self.folder = os.path.join(dc.folder, name)
        self.process = None
        self.arguments = []
        os.makedirs(self.folder)

    def command(self):
        command = [self.dc.binary, "agent", "-node=" + self.name, "-bind=" + self.ip,
                   "-client=0.0.0.0", "-data-dir=" + os.path.join(self.folder, "data"),
                   "-retry-interval=1s", "-log-level=" + self.dc.log_level]
        command += ["-retry-join=" + s.ip for s in self.dc.servers]
        if self.server:
            command += ["-server", "-bootstrap-expect=%d" % len(self.dc.servers)]
        return command + self.arguments

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as out:
            self.process = self.host.popen(self.command(), stdout=out, stderr=out,
                                           stdin=subprocess.DEVNULL)
        return self

    def log(self):
        with open(os.path.join(self.folder, "log"), "rb") as file:
            return file.read().decode(errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.host.processes.remove(self.process)

    def ended(self, deadline_s=DEADLINE_S):
        code = self.process.wait(deadline_s)
        self.host.processes.remove(self.process)
        return code

    def isolate(self):
        self.host.isolate()

    def heal(self):
        self.host.heal()

    def request(self, method, path, body=None, timeout=10):
        """(status, headers, text); None: nobody answers."""
        connection = http.client.HTTPConnection(self.ip, 8500, timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read().decode()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def get(self, path, timeout=10):
        """The JSON of a good answer; None: there is none."""
        reply = self.request("GET", path, timeout=timeout)
        return json.loads(reply[2]) if reply is not None and reply[0] == 200 else None

    def put(self, path, body=None):
        reply = self.request("PUT", path, body)
        return reply is not None and reply[0] == 200

    def serve(self):
        """A service that only this host has, so that one question tells."""
        return self.put("/v1/agent/service/register", {"Name": "of-" + self.name, "Port": 80})

    def resolves(self, name, timeout=1):
        """The number of addresses behind a name; 0: none or no such name; None: no answer."""
        question = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"
        request = os.urandom(2) + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + question + \
            struct.pack(">HH", 1, 1)
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.settimeout(timeout)
            try:
                udp.sendto(request, (self.ip, 8600))
                while True:
                    reply = udp.recv(65536)
                    if reply[:2] == request[:2]:
                        break
            except OSError:
                return None
        return struct.unpack(">H", reply[6:8])[0] if reply[3] & 15 in (0, 3) else None


class Datacenter:
    def __init__(self, binary, servers=3, clients=50, log_level="INFO"):
        self.binary = os.path.abspath(binary)
        self.log_level = log_level
        self.network = netns.Network(servers + clients)
        self.folder = tempfile.mkdtemp(prefix="cairn-datacenter-")
        hosts = self.network.hosts
        self.servers, self.clients = [], []
        for i in range(servers):
            self.servers.append(Machine(self, hosts[i], "server-%d" % (i + 1), True))
        for i in range(clients):
            self.clients.append(Machine(self, hosts[servers + i], "host-%d" % (i + 1), False))
        self.home = None

    def __enter__(self):
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            self.network.__enter__()
            name = self.network.name
            netns.run("ip", "-n", name, "link", "set", "br0", "address", OWN_MAC)
            netns.run("ip", "-n", name, "addr", "add", OWN_IP + "/16", "dev", "br0")
            for host in self.network.hosts:
                host.learn([(OWN_IP, OWN_MAC)])
            netns.run("ip", "-n", name, "-batch", "-", text="".join(
                "neigh replace %s lladdr %s dev br0 nud permanent\n" % (host.ip, host.mac)
                for host in self.network.hosts))
            netns.run("ip", "-n", name, "link", "set", "lo", "up")
            enter("/var/run/netns/" + name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        enter("/proc/self/fd/%d" % self.home)
        os.close(self.home)
        self.network.destroy()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- as a whole --

    def start(self):
        """Returns once all are members and every host's service is found."""
        for machine in self.servers:
            machine.start()
        eventually(self.leader, "a leader")
        for machine in self.clients:
            machine.start()
        self.settle()

    def settle(self):
        for machine in self.clients:
            eventually(machine.serve, "%s registers its service" % machine.name)
        for machine in self.clients:
            self.shown(machine)

    def leader(self):
        leader = self.servers[0].get("/v1/status/leader")
        return next((s for s in self.servers if leader and leader.startswith(s.ip + ":")), None)

    def members(self):
        """{status: number} as the first server sees it."""
        names = {1: "alive", 2: "leaving", 3: "left", 4: "failed"}
        counts = {}
        for member in self.servers[0].get("/v1/agent/members") or []:
            status = names.get(member["Status"], "none")
            counts[status] = counts.get(status, 0) + 1
        return counts

    # -- one host's service, in DNS at all servers and in a blocking query at one --

    def answers(self, machine):
        """At how many servers DNS may still show it: silence is no proof that it is gone."""
        return sum(1 for s in self.servers
                   if s.resolves("of-%s.service.consul" % machine.name) != 0)

    def shown(self, machine):
        eventually(lambda: all(s.resolves("of-%s.service.consul" % machine.name) == 1
                               for s in self.servers), "%s is in DNS" % machine.name)

    def watch(self, machine):
        """A blocking query that waits for the host to go. Returns what tells when it did."""
        server = self.servers[-1]
        path = "/v1/health/service/of-%s?passing" % machine.name
        index = server.request("GET", path)[1]["X-Consul-Index"]
        told = {}

        def wait():
            rows, at = True, index
            while rows:
                reply = server.request("GET", path + "&wait=60s&index=" + at, timeout=90)
                rows, at = json.loads(reply[2]), reply[1]["X-Consul-Index"]
            told["at"] = time.monotonic()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()

        def result():
            thread.join(DEADLINE_S)
            return told["at"]

        return result

    def gone(self, machine, begin, watched):
        """Seconds from begin until it is out of all DNS answers, and of the blocking query."""
        eventually(lambda: self.answers(machine) == 0, "%s is out of DNS" % machine.name,
                   pause_s=0.005)
        dns_s = time.monotonic() - begin
        return dns_s, watched() - begin
