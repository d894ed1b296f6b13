"""What the benchmarks share: an agent in a folder of its own, and numbers about it."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import usage


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Agent:
    """A server agent with a data directory (never -dev, which indents every answer)."""

    def __init__(self, binary, config=None):
        self.binary = binary
        self.folder = tempfile.mkdtemp(prefix="cairn-bench-")
        self.http_port = free_port()
        self.dns_port = free_port()
        self.config = {"limits": {"http_max_conns_per_client": 0}, **(config or {})}
        self.process = None

    def start(self):
        """Returns the seconds from exec to an elected leader."""
        path = os.path.join(self.folder, "config.json")
        with open(path, "w") as f:
            json.dump(self.config, f)
        log = open(os.path.join(self.folder, "log"), "ab")
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [self.binary, "agent", "-server", "-bootstrap-expect=1", "-node=bench",
             "-bind=127.0.0.1", f"-data-dir={self.folder}/data", f"-http-port={self.http_port}",
             f"-dns-port={self.dns_port}", f"-config-file={path}"], stdout=log, stderr=log)
        log.close()
        while time.monotonic() - begin < 30:
            try:
                if self.get("/v1/status/leader")[1] not in (b'""', b""):
                    return time.monotonic() - begin
            except OSError:
                pass
            time.sleep(0.001)
        raise RuntimeError("no leader: see " + self.folder)

    def get(self, path, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response, body

    def memory(self):
        """KiB: (resident, anonymous)."""
        return usage.memory_kib(self.process.pid)

    def cpu_seconds(self):
        return usage.cpu_s(self.process.pid)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        shutil.rmtree(self.folder)


class Writer:
    """Registrations over one kept connection, pipelined in rounds."""

    def __init__(self, agent, pipeline=64):
        self.socket = socket.create_connection(("127.0.0.1", agent.http_port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pipeline = pipeline
        self.waiting = 0
        self.left = b""

    def put(self, path, body):
        data = json.dumps(body).encode()
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        self.socket.sendall(head + data)
        self.waiting += 1
        if self.waiting >= self.pipeline:
            self.finish()

    def finish(self):
        while self.waiting > 0:
            while b"\r\n\r\n" not in self.left:
                self.more()
            head, self.left = self.left.split(b"\r\n\r\n", 1)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            size = int([l for l in head.split(b"\r\n") if l.startswith(b"Content-Length")][0][16:])
            while len(self.left) < size:
                self.more()
            self.left = self.left[size:]
            self.waiting -= 1

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise RuntimeError("the agent closed the connection")
        self.left += data


def instance(number, service, node=None):
    """A registration of one instance with a check of its node and its own. The first is not called
    serfHealth: the leader would take the node for a member of the pool that is gone, and remove it."""
    host = number if node is None else node
    name = f"node{host:05}"
    address = f"10.{host >> 16 & 255}.{host >> 8 & 255}.{host & 255}"
    return {
        "Node": name, "Address": address,
        "Service": {"ID": f"{service}-{number}", "Service": service, "Port": 8080,
                    "Tags": ["v1", "primary"], "Address": address, "Meta": {"version": "1.2.3"}},
        "Checks": [
            {"CheckID": "hostHealth", "Name": "Host Health Status", "Status": "passing",
             "Output": "Agent alive and reachable"},
            {"CheckID": f"service:{service}-{number}", "Name": f"Service '{service}' check",
             "Status": "passing", "ServiceID": f"{service}-{number}",
             "Output": f"HTTP GET http://{address}:8080/health: 200 OK Output: ok"}]}


def wrk(url, connections, seconds):
    """Requests a second."""
    out = subprocess.run(["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", url],
                         capture_output=True, text=True, check=True).stdout
    return float([l for l in out.splitlines() if l.startswith("Requests/sec")][0].split()[1])
