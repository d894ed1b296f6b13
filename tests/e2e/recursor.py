"""A name server that answers what it is told to, and badly: the first label of a name says how."""

import socket
import struct
import threading

from cairn import encode_name, new_ip, new_port, read_tcp

ADDRESS = "198.51.100.7"
A, CNAME, SOA, TXT, AAAA = 1, 5, 6, 16, 28


def record(name, kind, data, ttl=60):
    return encode_name(name) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


class Asked:
    """A question as it came."""

    def __init__(self, wire, transport, peer):
        self.wire, self.transport, self.peer = wire, transport, peer
        self.number, self.flags = struct.unpack_from(">HH", wire)
        at = 12
        while wire[at]:
            at += 1 + wire[at]
        self.question = wire[12:at + 5]
        labels, at = [], 12
        while wire[at]:
            labels.append(wire[at + 1:at + 1 + wire[at]].decode("latin-1"))
            at += 1 + wire[at]
        self.sent_name = ".".join(labels) + "."
        self.name = self.sent_name.lower()
        self.kind, = struct.unpack_from(">H", wire, at + 1)
        self.edns = len(wire) > 12 + len(self.question)

    def reply(self, answers=(), rcode=0, flags=0x8180, number=None, question=None, authority=()):
        return struct.pack(">HHHHHH", self.number if number is None else number, flags | rcode, 1,
                           len(answers), len(authority), 0) + (question or self.question) \
            + b"".join(answers) + b"".join(authority)


class Recursor:
    def __init__(self, silent=False):
        self.silent = silent
        self.ip = new_ip()
        self.port = new_port(self.ip)
        self.asked = []
        self.udp = socket.socket(type=socket.SOCK_DGRAM)
        self.udp.bind((self.ip, self.port))
        self.tcp = socket.create_server((self.ip, self.port))
        self.threads = [threading.Thread(target=run, daemon=True)
                        for run in (self._serve_udp, self._serve_tcp)]
        for thread in self.threads:
            thread.start()

    @property
    def address(self):
        return "%s:%d" % (self.ip, self.port)

    def names(self, transport="udp"):
        return [a.name for a in self.asked if a.transport == transport]

    def stop(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
            except OSError:
                pass
        for thread in self.threads:
            thread.join(10)
        self.udp.close()
        self.tcp.close()

    def _serve_udp(self):
        while True:
            try:
                wire, peer = self.udp.recvfrom(65535)
            except OSError:
                return
            if not wire:
                return
            for reply in self._replies(Asked(wire, "udp", peer)):
                self.udp.sendto(reply, peer)

    def _serve_tcp(self):
        while True:
            try:
                connection, peer = self.tcp.accept()
            except OSError:
                return
            with connection:
                try:
                    for reply in self._replies(Asked(read_tcp(connection), "tcp", peer)):
                        connection.sendall(struct.pack(">H", len(reply)) + reply)
                except (EOFError, OSError):
                    pass

    def _replies(self, asked):
        self.asked.append(asked)
        how = asked.name.split(".")[0]
        udp = asked.transport == "udp"
        address = record(asked.sent_name, A, socket.inet_aton(ADDRESS))
        good = asked.reply([address])
        other = asked.reply([record("evil.example.", A, socket.inet_aton("192.0.2.66"))])
        if self.silent or how == "drop":
            return []
        if how == "forged":  # by others, before the true one comes
            return [asked.reply([address], number=asked.number ^ 1), other[:4],
                    asked.reply([address], question=b"\4evil\0\0\1\0\1"),
                    asked.reply([address], flags=0x0100), good]
        if how == "fold":
            return [asked.reply([address], question=asked.question.lower()) if udp else good]
        if how == "nx":
            soa = encode_name("ns.example.") + encode_name("h.example.") + b"\0" * 20
            return [asked.reply(rcode=3, flags=0x8580, authority=[record("example.", SOA, soa)])]
        if how == "long":
            many = [record(asked.sent_name, A, socket.inet_aton("198.51.100.%d" % i))
                    for i in range(1, 100)]
            return [asked.reply([many[0][:9]], flags=0x8380)] if udp else [asked.reply(many)]
        if how == "broken":
            return [good[:-2]]
        for name, rcode in (("formerr", 1), ("servfail", 2), ("notimp", 4), ("refused", 5)):
            if how == name:
                return [asked.reply(rcode=rcode)]
        if how == "bare":
            return [struct.pack(">HHHHHH", asked.number, 0x8182, 0, 0, 0, 0)]
        if how == "alias":
            real = encode_name("real.example.")
            if asked.kind == AAAA:
                last = record("real.example.", AAAA, socket.inet_pton(socket.AF_INET6, "2001:db8::7"))
            else:
                last = record("real.example.", A, socket.inet_aton(ADDRESS))
            return [asked.reply([record(asked.sent_name, CNAME, real), last,
                                 record("real.example.", TXT, b"\4text")])]
        return [good]
