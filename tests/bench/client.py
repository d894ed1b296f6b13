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
from datacenter import eventually  # noqa: E402
from outage import cpu_s  # noqa: E402

SERVICES, NAMES = 10, 100
MEMORY_MIB, CORE_PERCENT = 8, 0.3  # the bounds


def anonymous_mib(machine):
    with open("/proc/%d/smaps_rollup" % machine.process.pid, encoding="ascii") as file:
        line = next(line for line in file if line.startswith("Anonymous:"))
    return int(line.split()[1]) / 1024


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
        index = "0"
        while True:
            reply = self.machine.request(
                "GET", "/v1/health/service/%s?index=%s&wait=60s" % (self.name, index), timeout=90)
            if reply is not None and reply[0] == 200 and json.loads(reply[2]):
                index = reply[1]["X-Consul-Index"]
                self.answers += 1
            else:
                time.sleep(0.2)


def run(dc, seconds):
    agent, other = dc.clients
    agent.host.popen([sys.executable, "-m", "http.server", "8080", "--bind", "127.0.0.1",
                      "--directory", agent.folder], stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL)
    register(agent)
    for i in range(NAMES):
        assert other.put("/v1/agent/service/register", {"Name": "name-%d" % i, "Port": 80})
    watchers = [Watcher(agent, "name-%d" % i) for i in range(NAMES)]
    for watcher in watchers:
        watcher.start()
    eventually(lambda: all(w.answers > 0 for w in watchers), "every name is watched")
    eventually(lambda: len([c for c in agent.get("/v1/agent/checks").values()
                            if c["Status"] == "passing"]) == 2 * SERVICES, "all checks pass")
    began, used = time.monotonic(), cpu_s(agent)
    time.sleep(seconds)
    percent = 100 * (cpu_s(agent) - used) / (time.monotonic() - began)
    memory = anonymous_mib(agent)
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
