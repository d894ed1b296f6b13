"""What the loss of links and services costs: three regions of three servers, 80 ms from each other
(tests/wan).

    wan.py --cairn build/release/cairn --router build/release/wan_router
           [--only failover|change|cut] [--runs 20] [--cut-s 600] [--per-second 200]

failover: the one instance of a service in a region turns critical; until plain DNS of all three servers
there answers with another region's. And the way home, from the end of the hold-down.
change: from the answer to a write, after its commit, until a mirror on the other side shows it.
cut: all links are cut under lookups and writes in all regions; 10 s after they are whole again every
mirror is compared with its source, record by record. Bounds are printed beside, and how busy the machine
was: clients, nine servers and the router share it."""
import argparse
import os
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "wan"))
import load  # noqa: E402
import regions  # noqa: E402
import wan  # noqa: E402
from cairn import eventually  # noqa: E402
from regions import NAMES  # noqa: E402

HOLD_DOWN_S = 3
CHANGES = 60


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def say(what, *values):
    print((what % values) + "; load %.1f" % os.getloadavg()[0], flush=True)


def until(condition, since):
    """Seconds."""
    eventually(condition, "it happens", pause_s=0.002)
    return time.monotonic() - since


def failover(world, arguments):
    home = world.servers["a"]
    agent = world.clients["a"][0]
    agent.must_put("/v1/agent/service/register", {
        "Name": "shop", "Address": "10.0.9.9", "Check": {
            "CheckID": "shop", "TTL": "1h", "Status": "passing"}})
    for name in "bc":
        world.servers[name][0].put_in("shop")
    away, back = [], []
    for _ in range(arguments.runs):
        eventually(lambda: all(s.place("shop") == "a" for s in home), "all are at home")
        begin = time.monotonic()
        agent.must_put("/v1/agent/check/fail/shop")
        away.append(until(lambda: all(s.place("shop") in ("b", "c") for s in home), begin))
        begin = time.monotonic()
        agent.must_put("/v1/agent/check/pass/shop")
        back.append(until(lambda: all(s.place("shop") == "a" for s in home), begin) - HOLD_DOWN_S)
    say("failover: %d runs: DNS of all servers elsewhere after %.3f s (median), %.3f s (longest), "
        "bound 0.5 s (median)", arguments.runs, statistics.median(away), max(away))
    say("home after the hold-down's end: %.3f s (median), %.3f s (longest), bound 2 s",
        statistics.median(back), max(back))


def change(world, _):
    """Only region b has the service, so plain DNS in a answers from a's mirror of b."""
    there = world.servers["b"][0]
    times = {server.name: [] for server in world.servers["a"]}
    for i in range(CHANGES):
        server = world.servers["a"][i % 3]
        address = "10.1.%d.%d" % (i // 200 + 1, i % 200 + 1)
        there.put_instance("moves", address=address)
        begin = time.monotonic()
        times[server.name].append(until(lambda s=server, a=address: s.resolve(
            "moves.service.consul").data("A") == [a], begin))
    for server in world.servers["a"]:
        say("change: %s, %s: visible after %.3f s (median), %.3f s (longest), bound %.3f s",
            server.name, "leads" if "leader" in server.get("/v1/agent/self").json["Stats"]["raft"]
            ["state"].lower() else "follows", statistics.median(times[server.name]),
            max(times[server.name]), regions.ROUND_TRIP_MS / 2000 + 0.1)


def cut(world, arguments):
    load.fill(world)
    with load.Load(world, arguments.per_second, workers=16) as asked:
        eventually(lambda: len(asked.all) > 100, "lookups run")
        begin = time.monotonic()
        world.wan.cut()
        while time.monotonic() < begin + arguments.cut_s:
            time.sleep(1)
    elapsed = time.monotonic() - begin
    say("cut: %d s, %.0f lookups and writes a second, %d failed", arguments.cut_s,
        len(asked.all) / elapsed, len(asked.failures))
    for failure in asked.failures[:10]:
        print("    %r" % failure)
    for kind in ("http", "dns", "write", "far http", "far dns"):
        these = [a for a in asked.of(kind) if a.began > begin]
        seconds = [a.seconds for a in these]
        say("    %-8s %6d: %.1f ms (median), %.1f ms (99 %%), %.0f ms (longest)%s", kind, len(these),
            1000 * statistics.median(seconds), 1000 * percentile(seconds, 0.99),
            1000 * max(seconds), "" if not kind.startswith("far") else "; without an age: %d of them, "
            "the last after %.1f s" % (
                sum(a.age_ms is None for a in these),
                max([0.0] + [a.began - begin for a in these if a.age_ms is None])))
    world.wan.heal()
    healed = time.monotonic()
    for server in world.machines():
        if server.server:
            world.mirrored(server, 1000)
    say("    every mirror is young again after %.1f s, bound 10 s", time.monotonic() - healed)
    time.sleep(max(0, healed + 10 - time.monotonic()))
    wrong = world.differences()
    say("    10 s after healing: %d answers of mirrors differ from their source's", len(wrong))
    for one in wrong[:10]:
        print("    %s about %s: %s" % one)


KINDS = {"failover": failover, "change": change, "cut": cut}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--router", required=True)
    parser.add_argument("--only", choices=sorted(KINDS))
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--cut-s", type=int, default=600)
    parser.add_argument("--per-second", type=int, default=200)
    arguments = parser.parse_args()
    missing = wan.missing()
    if missing:
        print("wan: %s; left out" % missing)
        return
    config = {"failover": {"hold_down": "%ds" % HOLD_DOWN_S}}
    with regions.Regions(arguments.cairn, servers=3, clients=1, config=config,
                         router=arguments.router) as world:
        world.start()
        for name in [arguments.only] if arguments.only else KINDS:
            KINDS[name](world, arguments)


if __name__ == "__main__":
    main()
