"""What the end-to-end tests share: an agent in a process of its own, clients of its two wires, and
a service to be checked. Traffic stays on loopback; only processes started here are ended."""

import http.client
import http.server
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

BINARY = os.environ.get("CAIRN_BINARY", "")
# The program's; a sanitizer ends it with a code that no test expects.
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:exitcode=66",
                   UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:exitcode=66")
DEADLINE_S = 120  # generous: a test that runs into it fails, none measures speed
ASK_AGAIN_S = 5  # a datagram may be lost: a client asks again

SANITIZER_REPORT = re.compile(
    rb"AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|ThreadSanitizer|runtime error:"
    rb"|invariant broken|rows are not those of most servers", re.IGNORECASE)

# What a group of several answers while it elects a leader.
ELECTION = re.compile(r"No cluster leader|leadership lost while committing log"
                      r"|rpc error making call: the (leader|server) was lost\b.*")


class Unled(ValueError):
    """An answer has no JSON because of an election."""


def eventually(condition, what, deadline_s=DEADLINE_S, pause_s=0.02):
    """Polls until condition() is true, and returns what it returned."""
    end = time.monotonic() + deadline_s
    while True:
        result, why = None, ""
        try:
            result = condition()
        except Unled as unled:
            why = ", but: %s" % unled
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError("not within %s s: %s%s" % (deadline_s, what, why))
        time.sleep(pause_s)


# ---- addresses ----

_next_address = itertools.count(1)


def new_ip():
    """An address of 127.0.0.0/8 that no other run uses: its ports are all free."""
    pid = os.getpid()
    return "127.%d.%d.%d" % (64 + (pid >> 8) % 128, pid & 0xff, next(_next_address) % 254 + 1)


_ports = set()


def new_port(ip):
    """A port of ip that is free for TCP and UDP, and that nobody was given before. It is none of those
    that the system gives to clients, of which any may be taken before an agent binds it."""
    while True:
        address = (ip, random.randrange(10000, 32000))
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(address)
                udp.bind(address)
            except OSError:
                continue
            if address not in _ports:
                _ports.add(address)
                return address[1]


# ---- HTTP ----

class Reply:
    def __init__(self, status, reason, headers, body):
        self.status = status
        self.reason = reason
        self.headers = headers  # an email.message.Message: get() ignores case
        self.body = body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        if self.unled:
            raise Unled(self.text)
        return json.loads(self.body)

    @property
    def unled(self):
        return self.status == 500 and bool(ELECTION.fullmatch(self.text))

    @property
    def index(self):
        return int(self.headers["X-Consul-Index"])

    def __repr__(self):
        return "<%s %s>" % (self.status, self.body[:200])


def _send(connection, method, path, body, headers):
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    connection.request(method, path, body, headers or {})


def _receive(connection):
    response = connection.getresponse()
    return Reply(response.status, response.reason, response.headers, response.read())


class Client:
    """One kept connection."""

    def __init__(self, address, timeout=DEADLINE_S, source=None):
        self.connection = http.client.HTTPConnection(
            *address, timeout=timeout, source_address=(source, 0) if source else None)

    def send(self, method, path, body=None, headers=None):
        _send(self.connection, method, path, body, headers)

    def receive(self):
        return _receive(self.connection)

    def request(self, method, path, body=None, headers=None):
        self.send(method, path, body, headers)
        return self.receive()

    def get(self, path, headers=None):
        return self.request("GET", path, None, headers)

    def put(self, path, body=None, headers=None):
        return self.request("PUT", path, body, headers)

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Raw:
    """A socket on which a test says exactly which bytes go out."""

    def __init__(self, address, timeout=DEADLINE_S, source=None):
        self.socket = socket.create_connection(address, timeout, (source, 0) if source else None)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def head(self):
        """The head of the next answer; None: the peer closed the connection without one."""
        line = self.file.readline()
        if not line:
            return None
        _, status, reason = (line.decode().rstrip("\r\n") + "  ").split(" ", 2)
        return Reply(int(status), reason.strip(), http.client.parse_headers(self.file), b"")

    def reply(self, method="GET"):
        """The next answer on the connection; None: the peer closed it without one."""
        reply = self.head()
        if reply is None:
            return None
        headers, status, body = reply.headers, reply.status, b""
        if headers.get("Transfer-Encoding") == "chunked":
            while True:
                size = int(self.file.readline(), 16)
                body += self.file.read(size)
                self.file.readline()
                if size == 0:
                    break
        elif method != "HEAD" and status >= 200:
            body = self.file.read(int(headers.get("Content-Length", "0")))
        reply.body = body
        return reply

    def closed(self):
        """True once the peer has closed; what it still sends is thrown away."""
        try:
            while self.file.read1(65536):
                pass
        except ConnectionError:
            pass
        return True

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---- the agent ----

class Agent:
    """A server of a group of one. Its data directory lives as long as the object."""

    in_group = False  # of several: an election may come at any time on a busy machine

    def __init__(self, config=None, args=(), data_dir=None, ip=None, binary=None):
        self.binary = binary or BINARY
        self.ip = ip or new_ip()
        self.folder = tempfile.mkdtemp(prefix="cairn-e2e-")
        self.data_dir = data_dir or os.path.join(self.folder, "data")
        self.http_address = (self.ip, new_port(self.ip))
        self.dns_address = (self.ip, new_port(self.ip))
        self.server_port = new_port(self.ip)
        self.config = dict(config or {})
        self.args = list(args)
        self.process = None
        self.runs = 0

    # -- life --

    def command(self):
        ports = {"http": self.http_address[1], "dns": self.dns_address[1],
                 "server": self.server_port}
        config = {"server": True, "bootstrap": True, "node_name": "n1", "bind_addr": self.ip,
                  "client_addr": self.ip, "data_dir": self.data_dir, "ports": ports}
        config.update(self.config)
        path = os.path.join(self.folder, "config.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({k: v for k, v in config.items() if v is not None}, file)
        return [self.binary, "agent", "-config-file=" + path] + self.args

    def spawn(self):
        if not self.binary:
            raise AssertionError("CAIRN_BINARY must name the program under test")
        self.runs += 1
        with open(self.path("stdout"), "wb") as out, open(self.path("stderr"), "wb") as err:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=err, env=ENVIRONMENT)
        return self

    def start(self):
        """Returns once the agent leads and has registered itself."""
        self.spawn()
        try:
            eventually(self.leads, "the agent leads")
        except AssertionError as failure:
            raise AssertionError("%s\n%s" % (failure, self.output())) from failure
        return self

    def leads(self):
        if self.process.poll() is not None:
            raise AssertionError("the agent ended with %s: %s" % (self.process.returncode,
                                                                  self.output()))
        try:
            with Client(self.http_address, timeout=5) as client:
                reply = client.get("/v1/catalog/service/consul")
                return reply.status == 200 and len(reply.json) == 1
        except (OSError, http.client.HTTPException):
            return False

    def wait(self, deadline_s=DEADLINE_S):
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the agent did not end within %s s: %s" % (
                deadline_s, self.output())) from None

    def stop(self, number=signal.SIGTERM, code=1):
        """Stops the agent and judges how it ended. Told by a signal, it exits with 1."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.ended(code)

    def ended(self, code):
        got = self.wait()
        self.check_output()
        if got != code:
            raise AssertionError("exit code %s, expected %s: %s" % (got, code, self.output()))

    def kill(self):
        """As a power cut ends it, for the process."""
        self.process.kill()
        self.process.wait()
        self.check_output()

    def discard(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what it printed --

    def path(self, name):
        return os.path.join(self.folder, "%s.%d" % (name, self.runs))

    def printed(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def output(self):
        return (self.printed("stdout") + self.printed("stderr")).decode(errors="replace")

    def says(self, text):
        """Waits until it has printed this: a thread of its own writes the lines."""
        eventually(lambda: text in self.output(), "the agent says " + text)

    def check_output(self):
        for name in ("stdout", "stderr"):
            if SANITIZER_REPORT.search(self.printed(name)):
                raise AssertionError("a report of a sanitizer:\n" + self.output())

    # -- requests --

    def client(self, **how):
        return Client(self.http_address, **how)

    def raw(self, **how):
        return Raw(self.http_address, **how)

    def request(self, method, path, body=None, headers=None):
        with self.client() as client:
            return client.request(method, path, body, headers)

    def get(self, path, headers=None):
        return self.request("GET", path, None, headers)

    def put(self, path, body=None, headers=None):
        return self.request("PUT", path, body, headers)

    def must_put(self, path, body=None):
        def put():
            reply = self.put(path, body)
            return None if self.in_group and reply.unled else reply
        reply = eventually(put, "a leader for PUT " + path)
        if reply.status != 200:
            raise AssertionError("PUT %s %s: %s" % (path, body, reply))
        return reply

    def must_get(self, path):
        def get():
            reply = self.get(path)
            return None if self.in_group and reply.unled else reply
        reply = eventually(get, "a leader for GET " + path)
        if reply.status != 200:
            raise AssertionError("GET %s: %s" % (path, reply))
        return reply

    def register(self, name, **fields):
        """An external instance of its own node, straight into the catalog."""
        node = fields.pop("node", "ext")
        address = fields.pop("address", "192.0.2.1")
        service = dict({"Service": name}, **fields)
        return self.must_put("/v1/catalog/register",
                             {"Node": node, "Address": address, "Service": service})

    def deregister(self, service_id, node="ext"):
        return self.must_put("/v1/catalog/deregister", {"Node": node, "ServiceID": service_id})

    def passing(self, name):
        return [row["Service"]["ID"] for row in
                self.get("/v1/health/service/%s?passing" % name).json]

    def resolve(self, name, kind="A", **how):
        return query(self.dns_address, name, kind, **how)

    def cpu_s(self):
        """What it has used: unlike time, no more on a busy machine."""
        with open("/proc/%d/stat" % self.process.pid, encoding="latin-1") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_kib(self):
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


class AgentTest(unittest.TestCase):
    """One agent for all tests of a class; how it ends is part of the class's verdict."""

    config = None
    args = ()

    @classmethod
    def setUpClass(cls):
        cls.agent = Agent(cls.config, cls.args)
        cls.addClassCleanup(cls.agent.discard)
        cls.agent.start()

    @classmethod
    def tearDownClass(cls):
        cls.agent.stop()

    def new_agent(self, config=None, **how):
        agent = Agent(config, **how)
        self.addCleanup(agent.discard)
        return agent


# ---- a service to be checked ----

class Service:
    """Answers every GET with self.status, at one address, between start() and stop()."""

    def __init__(self, ip=None):
        ip = ip or new_ip()
        self.address = (ip, new_port(ip))
        self.status = 200
        self.requests = 0
        self.server = None

    def start(self):
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                service.requests += 1
                body = b"I am well\n"
                self.send_response(service.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(self.address, Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @property
    def url(self):
        return "http://%s:%d/health" % self.address


# ---- DNS ----

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28,
         "SRV": 33, "OPT": 41, "AXFR": 252, "ANY": 255}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
_next_id = itertools.count(1)


def encode_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            out += bytes([len(label)]) + label.encode()
    return out + b"\0"


def encode_query(name, kind="A", number=1, flags=0x0100, edns=None):
    out = struct.pack(">HHHHHH", number, flags, 1, 0, 0, 0 if edns is None else 1)
    out += encode_name(name) + struct.pack(">HH", TYPES[kind], 1)
    if edns is not None:
        out += b"\0" + struct.pack(">HHIH", TYPES["OPT"], edns, 0, 0)
    return out


class Record:
    def __init__(self, name, kind, ttl, data, dns_class):
        self.name, self.kind, self.ttl, self.data = name, kind, ttl, data
        self.dns_class = dns_class

    def __repr__(self):
        return "%s %s %s %s" % (self.name, self.ttl, self.kind, self.data)

    def __eq__(self, other):
        return repr(self) == repr(other)


class Message:
    """A parsed answer. Raises ValueError if it is not one."""

    def __init__(self, wire):
        self.wire = wire
        self.number, self.flags, questions, answers, authority, additional = struct.unpack_from(
            ">HHHHHH", wire)
        self.rcode = self.flags & 15
        self.qr, self.aa, self.tc, self.rd, self.ra = (
            bool(self.flags & bit) for bit in (0x8000, 0x0400, 0x0200, 0x0100, 0x0080))
        self.compressed = False
        at = 12
        self.question = []
        for _ in range(questions):
            name, at = self._name(at)
            kind, dns_class = struct.unpack_from(">HH", wire, at)
            at += 4
            self.question.append((name, TYPE_NAMES.get(kind, kind), dns_class))
        self.answers, at = self._records(at, answers)
        self.authority, at = self._records(at, authority)
        self.additional, at = self._records(at, additional)
        if at != len(wire):
            raise ValueError("%d bytes behind the message" % (len(wire) - at))
        self.opt = [r for r in self.additional if r.kind == "OPT"]
        self.additional = [r for r in self.additional if r.kind != "OPT"]

    def _name(self, at):
        labels, end, hops = [], None, 0
        while True:
            size = self.wire[at]
            if size >= 0xc0:
                self.compressed = True
                hops += 1
                target = (size & 0x3f) << 8 | self.wire[at + 1]
                if hops > 64 or target >= at:
                    raise ValueError("a pointer that does not lead back")
                end = at + 2 if end is None else end
                at = target
            elif size == 0:
                return ".".join(labels) + ".", at + 1 if end is None else end
            else:
                labels.append(self.wire[at + 1:at + 1 + size].decode("latin-1"))
                at += 1 + size

    def _records(self, at, count):
        records = []
        for _ in range(count):
            name, at = self._name(at)
            kind, dns_class, ttl, size = struct.unpack_from(">HHIH", self.wire, at)
            at += 10
            data = self._data(TYPE_NAMES.get(kind, kind), at, size)
            records.append(Record(name, TYPE_NAMES.get(kind, kind), ttl, data, dns_class))
            at += size
        return records, at

    def _data(self, kind, at, size):
        wire = self.wire[at:at + size]
        if kind == "A":
            return socket.inet_ntop(socket.AF_INET, wire)
        if kind == "AAAA":
            return socket.inet_ntop(socket.AF_INET6, wire)
        if kind in ("NS", "CNAME", "PTR"):
            return self._name(at)[0]
        if kind == "SRV":
            return struct.unpack_from(">HHH", wire) + (self._name(at + 6)[0],)
        if kind == "SOA":
            mname, next_at = self._name(at)
            rname, next_at = self._name(next_at)
            return (mname, rname) + struct.unpack_from(">IIIII", self.wire, next_at)
        if kind == "TXT":
            texts = []
            while wire:
                texts.append(wire[1:1 + wire[0]].decode())
                wire = wire[1 + wire[0]:]
            return tuple(texts)
        return wire

    def data(self, kind):
        return sorted(r.data for r in self.answers if r.kind == kind)


def lost_datagrams():
    """How many the kernel has dropped for want of room in a socket's buffer."""
    with open("/proc/thread-self/net/snmp", encoding="ascii") as file:
        names, values = (line.split() for line in file if line.startswith("Udp:"))
    counts = dict(zip(names[1:], map(int, values[1:])))
    return counts["RcvbufErrors"] + counts["SndbufErrors"] + counts.get("MemErrors", 0)


def exchange_udp(address, wire, timeout=DEADLINE_S):
    """Asks again only if the kernel has lost datagrams meanwhile: an agent may not lose any."""
    lost, end = lost_datagrams(), time.monotonic() + timeout
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.settimeout(ASK_AGAIN_S)
        udp.connect(address)
        udp.send(wire)
        while True:
            try:
                return udp.recv(65535)
            except socket.timeout:
                if time.monotonic() > end:
                    raise
                if lost_datagrams() != lost:
                    udp.send(wire)


def read_exactly(sock, size):
    out = b""
    while len(out) < size:
        more = sock.recv(size - len(out))
        if not more:
            raise EOFError("the peer closed after %d of %d bytes" % (len(out), size))
        out += more
    return out


def read_tcp(sock):
    return read_exactly(sock, struct.unpack(">H", read_exactly(sock, 2))[0])


def exchange_tcp(address, wire, timeout=DEADLINE_S):
    with socket.create_connection(address, timeout) as tcp:
        tcp.sendall(struct.pack(">H", len(wire)) + wire)
        return read_tcp(tcp)


def query(address, name, kind="A", tcp=False, edns=None, flags=0x0100):
    number = next(_next_id) % 65536
    wire = encode_query(name, kind, number, flags, edns)
    message = Message((exchange_tcp if tcp else exchange_udp)(address, wire))
    if message.number != number or not message.qr:
        raise AssertionError("not the answer to the question: %r" % message.wire)
    return message
