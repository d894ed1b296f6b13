"""All client agents start again at once: how soon their services are passing, and whether the leader
stays. 3 servers, 200 agents with 50 services each, each on a host of its own (a network namespace).

    restart.py --cairn build/release/cairn [--clients 200] [--services 50] [--killed] [--runs 1]

The agents leave, so that nothing of them is in the catalog, or with --killed they are killed and their
services stay. Then all of them are started at once; the time counts until every service of every host is
passing at a server and every agent has its server. Elections are what the servers' logs tell."""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import datacenter  # noqa: E402
import netns  # noqa: E402
import usage  # noqa: E402
from datacenter import eventually  # noqa: E402

WITHIN_S = 15  # the bound


def write_services(machine, count):
    folder = os.path.join(machine.folder, "config.d")
    os.makedirs(folder)
    with open(os.path.join(folder, "services.json"), "w", encoding="ascii") as file:
        json.dump({"services": [
            {"name": "service-%d" % i, "id": "service-%d" % i, "port": 8000 + i, "tags": ["v1"],
             "check": {"ttl": "10m", "status": "passing"}} for i in range(count)]}, file)
    machine.arguments = ["-config-dir=" + folder]


def prepare(machine):
    """A shell that becomes the agent once it may: starting so many must not take their time."""
    command = ["/bin/sh", "-c", 'read go; exec "$0" "$@" </dev/null'] + machine.command()
    with open(os.path.join(machine.folder, "log"), "ab") as out:
        machine.process = machine.host.popen(command, stdout=out, stderr=out,
                                             stdin=subprocess.PIPE)


def elections(dc):
    return sum(len(re.findall(r"election won|cluster leadership acquired", s.log()))
               for s in dc.servers)


def instances(server):
    usage = server.get("/v1/operator/usage", timeout=30)
    return usage["Usage"]["dc1"]["ServiceInstances"] if usage else -1


def checks(server, query):
    found = server.get("/v1/health/state/" + query, timeout=30)
    return -1 if found is None else len(found)


def all_alive(dc):
    """Every node's own check is passing, and so are all others."""
    server = dc.servers[0]
    return checks(server, 'passing?filter=CheckID+==+"serfHealth"') == \
        len(dc.clients) + len(dc.servers) and checks(server, "any?filter=Status+!=+passing") == 0


def all_passing(dc, count):
    """As clients ask."""
    return all(len(dc.servers[-1].get("/v1/health/service/service-%d?passing" % i, timeout=30)) ==
               len(dc.clients) for i in range(count))


def connected(machine):
    reply = machine.request("GET", "/v1/catalog/node/%s" % machine.name)
    return reply is not None and reply[0] == 200


def stop_all(dc, how):
    for machine in dc.clients:
        machine.process.send_signal(how)
    for machine in dc.clients:
        machine.ended()


def start_all(dc):
    for machine in dc.clients:
        prepare(machine)
    time.sleep(1)
    begin = time.monotonic()
    for machine in dc.clients:
        machine.process.stdin.close()
    return begin


def wait_for_all(dc, count, begin):
    wanted = len(dc.clients) * count
    eventually(lambda: instances(dc.servers[0]) >= wanted, "all are registered", 180, 0.2)
    registered_s = time.monotonic() - begin
    eventually(lambda: all_alive(dc), "all are passing", 180, 0.2)
    passing_s = time.monotonic() - begin
    used = [usage.cpu_s(s.process.pid) for s in dc.servers]
    for machine in dc.clients:
        eventually(lambda m=machine: connected(m), "%s has a server" % machine.name, 180, 0.2)
    connected_s = time.monotonic() - begin
    assert all_passing(dc, count)
    return registered_s, passing_s, connected_s, used


def run(dc, count, killed):
    before = elections(dc)
    if killed:
        stop_all(dc, signal.SIGKILL)
    else:
        stop_all(dc, signal.SIGTERM)
        eventually(lambda: instances(dc.servers[0]) <= len(dc.servers), "all have left", 180, 0.2)
    used = [usage.cpu_s(s.process.pid) for s in dc.servers]
    begin = start_all(dc)
    registered_s, passing_s, connected_s, after = wait_for_all(dc, count, begin)
    agents_s = sum(usage.cpu_s(m.process.pid) for m in dc.clients)
    print("%d agents with %d services, %s: all registered after %.1f s, passing after %.1f s (bound "
          "%d), asked through each by %.1f s; elections %d; CPU of servers %s s, of agents %.1f s; "
          "load %s" % (
              len(dc.clients), count, "killed" if killed else "left", registered_s, passing_s,
              WITHIN_S, connected_s, elections(dc) - before,
              ", ".join("%.1f" % (b - a) for a, b in zip(used, after)), agents_s,
              os.getloadavg()[0]), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--services", type=int, default=50)
    parser.add_argument("--killed", action="store_true")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--keep-logs", help="a folder that takes the servers' logs")
    arguments = parser.parse_args()
    if not netns.available():
        print("restart: needs root, ip and nft; left out")
        return
    with datacenter.Datacenter(arguments.cairn, clients=arguments.clients) as dc:
        for machine in dc.clients:
            write_services(machine, arguments.services)
        for server in dc.servers:
            server.start()
        eventually(dc.leader, "a leader")
        begin = start_all(dc)
        print("the first start: passing after %.1f s" % wait_for_all(
            dc, arguments.services, begin)[1], flush=True)
        for _ in range(arguments.runs):
            run(dc, arguments.services, arguments.killed)
        if arguments.keep_logs:
            for server in dc.servers:
                with open(os.path.join(arguments.keep_logs, server.name), "w",
                          encoding="utf-8") as file:
                    file.write(server.log())


if __name__ == "__main__":
    main()
