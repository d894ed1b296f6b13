"""What the tests of real clients share: an agent behind a recorder of requests, and programs."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

from cairn import (  # noqa: E402
    Agent, AgentTest, DEADLINE_S, NOERROR, NXDOMAIN, Service, eventually, new_ip, new_port, query)
from servers import ClientAgent, Group  # noqa: E402

# Where run.sh put what is no Debian package.
INSTALLED = os.path.join(ROOT, "build", "clients")
# How long a client blocks. A query that is woken does not last so long; one that is not comes back
# without the news that its test demands.
WAIT_S = 60


class Recorder:
    """Passes connections on to the agent, and keeps the request line of each request."""

    LINE = re.compile(rb"(?:^|\r\n)((?:GET|PUT|POST|DELETE|HEAD) \S+) HTTP/1\.[01]\r\n")

    def __init__(self, target):
        self.target = target
        self.before = None  # (pattern, call): called once, before a request that matches is passed on
        self.requests = []
        self.changed = threading.Condition()
        ip = new_ip()
        self.listener = socket.create_server((ip, 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client):
        with client, socket.create_connection(self.target) as server:
            back = threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True)
            back.start()
            self._pass_on(client, server, True)
            back.join()

    def _pass_on(self, source, sink, record):
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65536)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                lines = [line.decode() for line in self.LINE.findall(data)] if record else []
                self._call_before(lines)
                sink.sendall(data)
                if lines:
                    with self.changed:
                        self.requests += lines
                        self.changed.notify_all()

    def _call_before(self, lines):
        with self.changed:
            before = self.before
            if before is None or not any(re.search(before[0], urllib.parse.unquote(line))
                                         for line in lines):
                return
            self.before = None
        before[1]()

    def wait(self, pattern, first=0):
        """Waits for a request that matches, not counting the first ones; returns it."""
        found = []

        def matched():
            found[:] = [line for line in self.requests[first:] if re.search(pattern, line)]
            return found

        with self.changed:
            if not self.changed.wait_for(matched, DEADLINE_S):
                raise AssertionError("nobody asked for %s: %s" % (pattern, self.requests[first:]))
        return found[0]

    def paths(self):
        """Each route that was asked for, without its query."""
        return sorted({line.split("?")[0] for line in self.requests})

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def program(name, *folders):
    """The path of a program; skips the test if it is not installed."""
    path = shutil.which(name, path=os.pathsep.join(folders + (os.environ.get("PATH", ""),
                                                              "/usr/sbin", "/sbin")))
    if path is None:
        raise unittest.SkipTest("%s is not installed; tests/clients/run.sh installs what it can"
                                % name)
    return path


class Tools:
    """What a test of a client does with self.recorder and self.agent, the agent behind it."""

    def folder(self):
        path = tempfile.mkdtemp(prefix="cairn-clients-")
        self.addCleanup(shutil.rmtree, path, True)
        return path

    def checked_service(self):
        service = Service().start()
        self.addCleanup(service.stop)
        return service

    def change_when_asked(self, pattern, change):
        """Makes a change as soon as the client waits for it."""
        first = len(self.recorder.requests)
        errors = []

        def run():
            try:
                self.recorder.wait(pattern, first)
                change()
            except Exception as error:  # shown by the cleanup, on the thread of the test
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def judge():
            thread.join(DEADLINE_S)
            self.assertEqual(errors, [])

        self.addCleanup(judge)

    def run_program(self, *command, deadline_s=WAIT_S + DEADLINE_S):
        """Runs a client that judges for itself what it gets, and shows its words if it failed."""
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=deadline_s, check=False,
                              env=dict(os.environ, NO_PROXY="*", no_proxy="*"))
        if done.returncode != 0:
            self.fail("%s: exit code %d\n%s" % (command[0], done.returncode,
                                                done.stdout.decode(errors="replace")))

    def start_daemon(self, *command):
        """Starts a server that lives as long as the test. Its words are in the returned file."""
        output = os.path.join(self.folder(), "output")
        with open(output, "wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=subprocess.STDOUT)

        def end():
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        self.addCleanup(end)
        process.output = output
        return process

    def until(self, process, condition, what):
        """As eventually(), for something that a daemon is to do."""
        def alive():
            if process.poll() is not None:
                raise AssertionError("ended with %s:\n%s" % (process.returncode,
                                                             self.said(process)))
            return condition()
        try:
            return eventually(alive, what)
        except AssertionError as error:
            raise AssertionError("%s\n%s" % (error, self.said(process))) from None

    @staticmethod
    def said(process, last=4000):
        """The last characters of what a daemon printed; None: all of it."""
        with open(process.output, encoding="utf-8", errors="replace") as file:
            return file.read()[-last if last else None:]


class ClientTest(Tools, AgentTest):
    """An agent for the class, and a recorder in front of it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.recorder = Recorder(cls.agent.http_address)
        cls.addClassCleanup(cls.recorder.close)


class GroupTest(Tools, unittest.TestCase):
    """Three servers for the class; the client speaks to one that follows while the leader dies."""

    @classmethod
    def setUpClass(cls):
        cls.group = Group()
        cls.addClassCleanup(cls.group.discard)
        cls.group.start()
        cls.recorder = Recorder(cls.group.servers[0].http_address)
        cls.addClassCleanup(cls.recorder.close)

    @classmethod
    def tearDownClass(cls):
        cls.group.whole()
        cls.group.stop()

    # Who is killed, in turns.
    victims = ("leader",)

    def choose(self, victim):
        """Sets the agent that the client asks, and returns the server that is killed."""
        leader, followers = self.group.roles()
        self.agent = followers[0]
        return leader

    def through_deaths(self, moments, tour):
        """Runs the tour once for each moment and victim: kill -9 ends it just before a request that
        matches the pattern is passed on to the agent. It is back before the next moment."""
        for moment, victim in [(m, v) for m in moments for v in self.victims]:
            with self.subTest(moment=moment, victim=victim):
                self.group.whole()
                server = self.choose(victim)
                self.recorder.target = self.agent.http_address
                self.recorder.before = (moment, server.kill)
                try:
                    tour()
                    killed = self.recorder.before is None
                    self.assertTrue(killed, "the moment did not come: %s" % self.recorder.requests[-60:])
                except Exception as failure:
                    raise AssertionError("%s was killed:\n%s" % (
                        server.name, self.group.outputs())) from failure
                finally:
                    self.recorder.before = None
                    if not server.runs_now:
                        server.spawn()

    def deaths(self):
        """Kills each victim in turn: one step while it is gone, one once it is back."""
        for victim in self.victims:
            self.group.whole()
            server = self.choose(victim)
            server.kill()
            yield "the %s, %s, is gone" % (victim, server.name)
            server.spawn()
            self.group.whole()
            yield "the %s, %s, is back" % (victim, server.name)


class AgentOfGroupTest(GroupTest):
    """Three servers and an agent without -server, which the client speaks to. The leader dies, then
    the server that the agent is connected to."""

    victims = ("leader", "agent's server")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.agent = ClientAgent("agent1", cls.group.servers)
        cls.addClassCleanup(cls.agent.discard)
        cls.agent.start()
        cls.recorder.target = cls.agent.http_address

    @classmethod
    def tearDownClass(cls):
        cls.agent.stop(code=0)
        super().tearDownClass()

    def choose(self, victim):
        leader, _ = self.group.roles()
        if victim == "leader":
            return leader
        eventually(lambda: self.agent.server(self.group.servers).runs_now, "the agent has a server")
        return self.agent.server(self.group.servers)


__all__ = ["Agent", "AgentOfGroupTest", "ClientTest", "DEADLINE_S", "GroupTest", "INSTALLED", "NOERROR", "NXDOMAIN", "ROOT",
           "Recorder", "Service", "WAIT_S", "eventually", "new_ip", "new_port", "program", "query"]
