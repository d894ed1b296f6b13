"""The demonstration of deploy/regions.sh: regions and links that are lost, and who answers then."""
import argparse
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "wan"))
import regions  # noqa: E402
import wan  # noqa: E402
from cairn import eventually  # noqa: E402
from regions import AGE, NAMES  # noqa: E402

HELP = """\
  kill REGION        all servers and agents of it die at once; start REGION brings them back
  cut ONE OTHER      nothing passes between two regions; heal ONE OTHER. * is every region
  link ONE OTHER delay_ms=N loss=PART rate_kbit=N jitter_ms=N
                     what one way between them is like
  fail REGION        the service "web" is ill there; pass REGION
  show               the table, once
  wait SECONDS       for scripts
  until REGION web=PLACE|away or of-REGION=live|mirror|none
                     waits until every agent of REGION sees it so, for at most 180 s; for scripts
  quit

The table has a line an agent. "web" is a service of all regions: which region's instance plain DNS
answers with. "of-a" and so on are services of one region each: whether HTTP answers with what a server
there says (live), from a mirror with its age (mirror 3.2 s), or not at all (none)."""
EVERY_S = 1.0
COLUMN = "%-14s"


class Watcher:
    """Asks every agent again and again, each on a thread of its own: one that is slow holds up none."""

    def __init__(self, world):
        self.world = world
        self.rows, self.stop = {}, threading.Event()

    def start(self):
        for machine in self.world.machines():
            threading.Thread(target=self.run, args=(machine,), daemon=True).start()

    def run(self, machine):
        while not self.stop.is_set():
            self.rows[machine.name] = self.look(machine)
            self.stop.wait(EVERY_S)

    def look(self, machine):
        if not machine.runs_now:
            return ["dead"] * (1 + len(NAMES))
        try:
            return [machine.place("web") or "none"] + [self.lookup(machine, n) for n in NAMES]
        except (OSError, EOFError, AssertionError):
            return ["no answer"] * (1 + len(NAMES))

    @staticmethod
    def lookup(machine, region):
        reply = machine.ask("/v1/health/service/of-%s?passing&dc=%s" % (region, region))
        if reply is None or reply.status != 200 or not reply.json:
            return "none"
        age = reply.headers[AGE]
        return "live" if age is None else "mirror %.1f s" % (int(age) / 1000)

    def look_at_all(self):
        def look(machine):
            self.rows[machine.name] = self.look(machine)
        threads = [threading.Thread(target=look, args=(m,)) for m in self.world.machines()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def table(self):
        lines = ["".join(COLUMN % c for c in ["agent", "web is in"] + ["of-" + n for n in NAMES])]
        for machine in self.world.machines():
            cells = self.rows.get(machine.name, ["..."]) if machine.runs_now else ["dead"]
            lines.append("".join(COLUMN % c for c in [machine.name] + cells).rstrip())
        return lines


class Demonstration:
    def __init__(self, world):
        self.world = world
        self.watcher = Watcher(world)
        self.drawing = threading.Lock()

    # -- commands: their methods' names, their words the arguments --

    def do_kill(self, region):
        self.world.kill_region(region)

    def do_start(self, region):
        for machine in self.world.machines(region):
            if not machine.runs_now:
                machine.spawn()

    def do_cut(self, one, other):
        self.world.wan.cut(one, other)

    def do_heal(self, one, other):
        self.world.wan.heal(one, other)

    def do_link(self, one, other, *settings):
        self.world.wan.command("link", one, other, *settings)

    def put(self, region, status):
        for server in self.world.servers[region]:
            if server.runs_now:
                server.put_in("web", status)
                return
        raise ValueError("no server of %s runs" % region)

    def do_fail(self, region):
        self.put(region, "critical")

    def do_pass(self, region):
        self.put(region, "passing")

    def do_show(self):
        self.watcher.look_at_all()
        print("\n".join(self.watcher.table()), flush=True)

    @staticmethod
    def do_wait(seconds):
        time.sleep(float(seconds))

    def do_until(self, region, what):
        name, wanted = what.split("=")
        column = 0 if name == "web" else 1 + NAMES.index(name.replace("of-", "", 1))
        machines = [m for m in self.world.machines(region) if m.runs_now]
        wanted = [n for n in NAMES if n != region] if wanted == "away" else [wanted]

        def holds():
            return all(self.watcher.look(m)[column].split(" ")[0] in wanted for m in machines)
        eventually(holds, "%s %s" % (region, what), 180)

    @staticmethod
    def do_help():
        print(HELP, flush=True)

    def obey(self, line):
        """False: it is over. Raises ValueError."""
        words = line.split("#")[0].split()
        if not words:
            return True
        if words[0] == "quit":
            return False
        method = getattr(self, "do_" + words[0], None)
        if method is None:
            raise ValueError("not a command: %s; try help" % words[0])
        try:
            method(*words[1:])
        except (TypeError, KeyError) as error:
            raise ValueError("%s: not understood, try help" % line.strip()) from error
        return True

    # -- who commands --

    def run_script(self, lines):
        for line in lines:
            print("> " + line.rstrip(), flush=True)
            if not self.obey(line):
                break

    def draw(self):
        """The table at the top of the terminal; the cursor stays in the lines of the prompt."""
        lines = self.watcher.table()
        with self.drawing:
            text = "".join("\033[%d;1H\033[K%s" % (i + 1, l) for i, l in enumerate(lines))
            sys.stdout.write("\0337" + text + "\0338")
            sys.stdout.flush()

    def run_prompt(self):
        top = len(self.watcher.table()) + 2
        stop = threading.Event()

        def redraw():
            while not stop.wait(EVERY_S):
                self.draw()
        self.watcher.start()
        # Only what is below the table scrolls.
        sys.stdout.write("\033[2J\033[%d;999r\033[%d;1H" % (top, top))
        threading.Thread(target=redraw, daemon=True).start()
        self.draw()
        print(HELP)
        try:
            while True:
                try:
                    if not self.obey(input("> ")):
                        break
                except (ValueError, OSError, AssertionError) as error:
                    print("%s" % error, flush=True)
        except (EOFError, KeyboardInterrupt):
            pass
        finally:
            stop.set()
            sys.stdout.write("\033[r\033[999;1H\n")


def prepare(world):
    for name in NAMES:
        world.servers[name][0].put_in("web")
        world.servers[name][0].put_in("of-" + name)
    for machine in world.machines():
        for name in NAMES:
            eventually(lambda m=machine, n=name: Watcher.lookup(m, n) == "live", "all is found")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--router", required=True)
    parser.add_argument("--script")
    arguments = parser.parse_args()
    missing = wan.missing()
    if missing:
        sys.exit("regions: " + missing)
    config = {"failover": {"hold_down": "5s"}}
    with regions.Regions(arguments.cairn, servers=3, clients=2, config=config,
                         router=arguments.router) as world:
        begin = time.monotonic()
        print("starting three regions of 3 servers and 2 client agents, %d ms apart"
              % regions.ROUND_TRIP_MS, flush=True)
        world.start()
        prepare(world)
        print("all are there after %.1f s" % (time.monotonic() - begin), flush=True)
        shown = Demonstration(world)
        try:
            if arguments.script:
                with (sys.stdin if arguments.script == "-" else
                      open(arguments.script, encoding="utf-8")) as lines:
                    shown.run_script(lines)
            elif sys.stdin.isatty() and sys.stdout.isatty():
                shown.run_prompt()
            else:
                sys.exit("regions: not a terminal; there is --script")
        except (ValueError, AssertionError) as error:
            sys.exit("regions: %s" % error)
        finally:
            shown.watcher.stop.set()


if __name__ == "__main__":
    main()
