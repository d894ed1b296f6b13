"""The demonstration of deploy/datacenter.sh: hosts that are lost and come back, as a live table."""
import argparse
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
import datacenter  # noqa: E402
import netns  # noqa: E402

COLUMNS = ("%7s", "%6s", "%7s", "%5s", "%-9s", "%-10s", "%-22s")
HEAD = ("seconds", "alive", "failed", "left", "host", "in DNS of", "health in the catalog")
EVERY_S = 0.25


class Table:
    """Rows that follow one host. On a terminal the last one is written over until it says more."""

    def __init__(self, dc):
        self.dc = dc
        self.live = sys.stdout.isatty()
        self.shown = None

    def head(self, what):
        print("\n== %s\n" % what)
        print("  ".join(c % h for c, h in zip(COLUMNS, HEAD)).rstrip(), flush=True)
        self.shown = None

    def health(self, machine):
        for server in self.dc.servers:
            rows = server.get("/v1/health/node/%s?stale" % machine.name, timeout=2)
            if rows is not None:
                return next((r["Status"] for r in rows if r["CheckID"] == "serfHealth"), "no node")
        return "no answer"

    def row(self, machine, begin):
        """Prints one if it differs from the last; returns what it says of the host."""
        counts = self.dc.members()
        answers = self.dc.answers(machine)
        health = self.health(machine)
        cells = (counts.get("alive", 0), counts.get("failed", 0), counts.get("left", 0),
                 machine.name, "%d servers" % answers if answers else "nobody", health)
        text = "  ".join(c % v for c, v in zip(
            COLUMNS, ("%.2f" % (time.monotonic() - begin),) + cells)).rstrip()
        if cells != self.shown:
            print(("\r\033[K" if self.live and self.shown is not None else "") + text, flush=True)
        elif self.live:
            print("\r\033[K" + text, end="", flush=True)
        self.shown = cells
        return answers, health

    def until(self, machine, begin, condition):
        while True:
            answers, health = self.row(machine, begin)
            if condition(answers, health):
                break
            if time.monotonic() - begin > datacenter.DEADLINE_S:
                raise AssertionError("%s: nothing has happened" % machine.name)
            time.sleep(EVERY_S)
        if self.live:
            print("\r\033[K", end="")


def is_gone(answers, _):
    return answers == 0


def is_back(servers):
    return lambda answers, health: answers == servers and health == "passing"


def show(dc, table, machine, what, act, back_what, come_back):
    table.head(what % machine.name)
    table.row(machine, time.monotonic())
    begin = time.monotonic()
    act()
    table.until(machine, begin, is_gone)
    print("   ... out of all DNS answers after %.2f s" % (time.monotonic() - begin))
    table.head(back_what % machine.name)
    begin = time.monotonic()
    come_back()
    table.until(machine, begin, is_back(len(dc.servers)))
    print("   ... back after %.2f s" % (time.monotonic() - begin))


def demonstrate(dc):
    table = Table(dc)
    cut, killed, leaver = (dc.clients[i * len(dc.clients) // 3] for i in range(3))
    show(dc, table, cut, "%s is cut off: nft drops all its packets", cut.isolate,
         "%s is connected again", cut.heal)

    def restart():
        killed.ended()
        killed.start()

    show(dc, table, killed, "the agent of %s is killed with SIGKILL", killed.process.kill,
         "the agent of %s starts again", restart)

    def leave():
        threading.Thread(target=leaver.request, args=("PUT", "/v1/agent/leave"),
                         daemon=True).start()

    def join_again():
        leaver.ended()
        leaver.start()

    show(dc, table, leaver, "%s leaves", leave, "%s joins again", join_again)


def keep(dc):
    space = "ip netns exec %s" % dc.network.name
    print("\nEverything runs until Enter is pressed. From another terminal, as root:\n\n"
          "    %s curl %s:8500/v1/agent/members\n"
          "    %s dig @%s -p 8600 of-%s.service.consul\n"
          "    ip netns exec %s nft add rule inet t in drop    # cuts %s off; undo it with\n"
          "    ip netns exec %s nft flush chain inet t in\n" % (
              space, dc.servers[0].ip, space, dc.clients[0].ip, dc.clients[0].name,
              dc.clients[0].host.name, dc.clients[0].name, dc.clients[0].host.name), flush=True)
    sys.stdin.readline()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    if not netns.available():
        sys.exit("network namespaces and nft are needed, and do not work here")
    with datacenter.Datacenter(arguments.cairn, clients=arguments.clients) as dc:
        begin = time.monotonic()
        print("starting 3 servers and %d client agents, each on a host of its own"
              % arguments.clients, flush=True)
        dc.start()
        print("all are members and all services are found, after %.1f s; %s leads"
              % (time.monotonic() - begin, dc.leader().name), flush=True)
        demonstrate(dc)
        if arguments.keep:
            keep(dc)


if __name__ == "__main__":
    main()
