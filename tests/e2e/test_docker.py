"""Docker checks, with an engine that this test is: it keeps what it was asked, and answers for
containers by their names."""

import http.server
import json
import os
import shutil
import socketserver
import struct
import tempfile
import threading
import unittest
from unittest import mock

import cairn
from cairn import Agent, eventually

# The program's output, by container, and its exit code.
PROGRAMS = {"well": ([(1, b"all "), (2, b"good")], 0), "warns": ([(1, b"hm")], 1),
            "ill": ([(2, b"bad\0news")], 3), "long": ([(1, b"x" * 3000)] * 3, 0)}


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path):
        self.asked = []
        self.hanging = threading.Event()
        super().__init__(path, Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        _, kind, name, _ = self.path.split("/")
        if kind == "containers":
            if name == "gone":
                self.answer(404, {"message": "no such container"})
            elif name == "stopped":
                self.answer(409, {"message": "is not running"})
            else:
                self.answer(201, {"Id": name})
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.docker.raw-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        if name == "hangs":
            self.wfile.write(struct.pack(">BxxxI", 1, 5) + b"still")
            self.wfile.flush()
            self.server.hanging.wait()
            return
        for stream, data in PROGRAMS[name][0]:
            frame = struct.pack(">BxxxI", stream, len(data)) + data
            self.wfile.write(frame[:5])
            self.wfile.flush()
            self.wfile.write(frame[5:])

    def do_GET(self):
        name = self.path.split("/")[2]
        self.answer(200, {"ID": "x", "Running": False, "ExitCode": PROGRAMS[name][1]})


class Docker(unittest.TestCase):
    def setUp(self):
        folder = tempfile.mkdtemp(prefix="cairn-docker-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        path = os.path.join(folder, "engine.sock")
        self.engine = Engine(path)
        self.addCleanup(self.engine.server_close)
        self.addCleanup(self.engine.shutdown)
        self.addCleanup(self.engine.hanging.set)
        with mock.patch.dict(cairn.ENVIRONMENT, DOCKER_HOST="unix://" + path):
            self.agent = Agent({"enable_script_checks": True,
                                "http_config": {"allow_write_http_from": ["127.0.0.0/8"]}})
            self.addCleanup(self.agent.discard)
            self.agent.start()
        self.addCleanup(self.agent.stop)

    def register(self, container, **fields):
        self.agent.must_put("/v1/agent/check/register", dict(
            {"ID": container, "Name": container, "DockerContainerID": container,
             "Args": ["/bin/test", "a b"], "Interval": "1s"}, **fields))

    def becomes(self, name, status, *outputs):
        def check():
            row = self.agent.get("/v1/agent/checks").json[name]
            return row["Status"] == status and all(text in row["Output"] for text in outputs)
        eventually(check, "%s is %s: %s, %s" % (name, status, outputs,
                                                self.agent.get("/v1/agent/checks").json))

    def test_what_a_program_in_a_container_says(self):
        for name in (*PROGRAMS, "gone", "stopped"):
            self.register(name)
        self.register("hangs", Timeout="1s")
        self.assertEqual(self.agent.get("/v1/agent/checks").json["well"]["Type"], "docker")
        self.becomes("well", "passing", "all good")
        self.becomes("warns", "warning", "hm")
        self.becomes("ill", "critical", "bad?news")
        self.becomes("long", "passing", "Captured 4096 of 9000 bytes\n...\nxxx")
        self.becomes("gone", "critical", "create exec failed for unknown container gone")
        self.becomes("stopped", "critical",
                     "create exec failed for container stopped with status 409", "is not running")
        self.becomes("hangs", "critical", "Timed out (1s) running check", "still")
        made = [body for path, body in self.engine.asked if path == "/containers/well/exec"]
        self.assertEqual(made[0], {"AttachStdin": False, "AttachStdout": True,
                                   "AttachStderr": True, "Tty": False,
                                   "Cmd": ["/bin/test", "a b"]})
        for name in (*PROGRAMS, "gone", "stopped", "hangs"):
            self.agent.must_put("/v1/agent/check/deregister/" + name)

    def test_an_engine_that_is_not_there(self):
        self.engine.shutdown()
        self.engine.server_close()
        os.unlink(self.engine.server_address)
        self.register("well")  # nobody is asked for that
        self.becomes("well", "critical", "create exec failed for container well: ")


if __name__ == "__main__":
    unittest.main()
