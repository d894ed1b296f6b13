"""What an agent without -server takes on its host: 3 servers, and an agent with 10 services and 20
checks, half over HTTP and half over TCP, at which 100 names are watched by blocking queries.

    client.py --cairn build/release/cairn [--seconds 120]

Each is on a host of its own (a network namespace). Printed are its anonymous memory and the share of a
core."""
import argparse
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import datacenter  # noqa: E402
import netns  # noqa: E402
import usage  # noqa: E402
from datacenter import eventually  # noqa: E402

SERVICES, NAMES = 10, 100
MEMORY_MIB, CORE_PERCENT = 8, 0.3  # the bounds


def register(machine):
    """Two checks a service, each ten seconds."""
    for i in range(SERVICES):
        assert machine.put("/v1/agent/service/register", {
            "Name": "own-%d" % i, "Port": 8080, "Checks": [
                {"HTTP": "http://127.0.0.1:8080/", "Interval": "10s"},
                {"TCP": "127.0.0.1:8080", "Interval": "10s"}]})


class Watcher(threading.Thread):
    """One blocking query after the other, as a client that goes on."""

    def __init__(self, machine, name):
        super().__init__(daemon=True)
        self.machine, self.name = machine, name
        self.answers = 0

    def run(self):
        """Ends with an answer that is none."""
        index, rows = "0", True
        while rows:
            reply = self.machine.request(
                "GET", "/v1/health/service/%s?index=%s&wait=60s" % (self.name, index), timeout=90)
            rows = reply is not None and reply[0] == 200 and json.loads(reply[2])
            if rows:
                index = reply[1]["X-Consul-Index"]
                self.answers += 1


def run(dc, seconds):
    agent, other = dc.clients
    agent.host.popen([sys.executable, "-m", "http.server", "8080", "--bind", "127.0.0.1",
                      "--directory", agent.folder], stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL)
    register(agent)
    for i in range(NAMES):
        assert other.put("/v1/agent/service/register", {"Name": "name-%d" % i, "Port": 80})
        eventually(lambda: agent.get("/v1/health/service/name-%d" % i), "name-%d is there" % i)
    watchers = [Watcher(agent, "name-%d" % i) for i in range(NAMES)]
    for watcher in watchers:
        watcher.start()
    eventually(lambda: all(w.answers > 0 for w in watchers), "every name is watched")
    eventually(lambda: len([c for c in agent.get("/v1/agent/checks").values()
                            if c["Status"] == "passing"]) == 2 * SERVICES, "all checks pass")
    began, used = time.monotonic(), usage.cpu_s(agent.process.pid)
    time.sleep(seconds)
    assert all(w.is_alive() for w in watchers)
    percent = 100 * (usage.cpu_s(agent.process.pid) - used) / (time.monotonic() - began)
    memory = usage.memory_kib(agent.process.pid)[1] / 1024
    print("an agent without -server, %d services, %d checks, %d watched names: %.1f MiB anonymous "
          "(bound %d), %.2f %% of a core (bound %.1f) in %d s" % (
              SERVICES, 2 * SERVICES, NAMES, memory, MEMORY_MIB, percent, CORE_PERCENT, seconds))
    return memory <= MEMORY_MIB


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--seconds", type=int, default=120)
    args = parser.parse_args()
    if not netns.available():
        sys.exit("needs root and network namespaces")
    with datacenter.Datacenter(args.cairn, clients=2) as dc:
        dc.start()
        sys.exit(0 if run(dc, args.seconds) else 1)


if __name__ == "__main__":
    main()
