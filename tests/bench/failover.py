"""How soon a host that is lost is out of answers: 3 servers and client agents in network namespaces.

    failover.py --cairn build/release/cairn [--clients 50] [--runs 10] [--only cut|kill|leave]

Each run takes another host: it is cut off by nft, or its agent is killed, or leaves. Time counts from
before that until the DNS of all three servers has no address of its service any more, and until a
blocking query for it has been told so; then the host comes back. Bounds are printed beside."""
import argparse
import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import datacenter  # noqa: E402
import netns  # noqa: E402


def cut(machine):
    machine.isolate()


def come_back_from_cut(machine):
    machine.heal()


def kill(machine):
    machine.process.kill()


def start_again(machine):
    machine.ended()
    machine.start()


def leave(machine):
    """Its answer comes once the members know; the time does not wait for it."""
    threading.Thread(target=machine.request, args=("PUT", "/v1/agent/leave"), daemon=True).start()


# name: what is done, what brings the host back, bounds of the median and the 99th percentile
KINDS = {"cut": (cut, come_back_from_cut, "4 s, 8 s"),
         "kill": (kill, start_again, "1.5 s"),
         "leave": (leave, start_again, "0.3 s")}


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def run(dc, name, runs):
    act, come_back, bounds = KINDS[name]
    dns, blocking = [], []
    for i in range(runs):
        machine = dc.clients[(7 * i + 3) % len(dc.clients)]
        watched = dc.watch(machine)
        time.sleep(0.1)  # it has parked
        begin = time.monotonic()
        act(machine)
        one, other = dc.gone(machine, begin, watched)
        dns.append(one)
        blocking.append(other)
        come_back(machine)
        if name == "leave":
            datacenter.eventually(machine.serve, "it registers again")
        dc.shown(machine)
    print("%-6s %d runs: out of DNS after %.2f s (median), %.2f s (99 %%); blocking query %.2f s, "
          "%.2f s; bound %s" % (name, runs, statistics.median(dns), percentile(dns, 0.99),
                                statistics.median(blocking), percentile(blocking, 0.99), bounds),
          flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--only", choices=sorted(KINDS))
    arguments = parser.parse_args()
    if not netns.available():
        print("failover: needs root, ip and nft; left out")
        return
    with datacenter.Datacenter(arguments.cairn, clients=arguments.clients) as dc:
        dc.start()
        for name in [arguments.only] if arguments.only else KINDS:
            run(dc, name, arguments.runs)


if __name__ == "__main__":
    main()
