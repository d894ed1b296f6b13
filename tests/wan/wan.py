"""Regions on one machine: a network namespace each, joined by a router of ours (router.c) that adds
delay, jitter, loss, bandwidth and cuts to each link. Needs root, iproute2 and /dev/net/tun.

    with wan.Wan(["a", "b", "c"], router) as w:
        w.link("*", "*", delay_ms=40)
        w.regions["a"].popen(["agent", ...])
        w.cut("a", "b")

A region has the addresses 10.78.N.1 to .20. Whoever uses it moves into a namespace beside all of them,
which reaches every region directly: what is asked and told from there passes no link. All that was made
is taken away at the end, or at the next start of something like it (tests/netns.py)."""
import contextlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import datacenter  # noqa: E402
import netns  # noqa: E402

ADDRESSES = 20
TUN = "/dev/net/tun"


def missing():
    """Why there can be no regions here; "": nothing is missing."""
    if os.geteuid() != 0:
        return "needs root"
    if not netns.available():
        return "needs network namespaces, ip and nft"
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        return "needs %s: %s" % (TUN, error.strerror)
    return ""


def router_beside(cairn):
    """The router that was built with this program: by CMake, or by a script for a release build."""
    folder = os.path.dirname(os.path.abspath(cairn))
    built = os.path.join(folder, "tests", "wan", "wan_router")
    return built if os.path.exists(built) else os.path.join(folder, "wan_router")


class Region(netns.Spaced):
    def __init__(self, name, number):
        super().__init__("%s%d-%s" % (netns.PREFIX, os.getpid(), name))
        self.region, self.number = name, number
        self.prefix = "10.78.%d.0/24" % number

    def ip(self, number):
        return "10.78.%d.%d" % (self.number, number)

    def create(self, control):
        """The way to who uses it; the device of the router is not there yet."""
        netns.run("ip", "netns", "add", self.name)
        end = "to-%s" % self.region
        netns.run("ip", "-n", control, "link", "add", end, "type", "veth", "peer", "name", "user0",
                  "netns", self.name)
        netns.run("ip", "-n", control, "-batch", "-", text=(
            "addr add 10.79.%d.1/24 dev %s\nlink set %s up\nroute add %s dev %s via 10.79.%d.2 onlink\n"
            % (self.number, end, end, self.prefix, end, self.number)))
        self.ip_batch("".join("addr add %s/32 dev lo\n" % self.ip(i + 1) for i in range(ADDRESSES)) +
                      "link set lo up\naddr add 10.79.%d.2/24 dev user0\nlink set user0 up\n"
                      % self.number)

    def connect(self):
        """What names no address leaves as .250, so that answers find back."""
        self.ip_batch("link set wan0 txqueuelen 10000\naddr add %s/32 dev wan0\n"
                      "route add 10.78.0.0/16 dev wan0 src %s\n" % (self.ip(250), self.ip(250)))

    def ip_batch(self, text):
        netns.run("ip", "-n", self.name, "-batch", "-", text=text)

    @contextlib.contextmanager
    def inside(self):
        """Sockets that are made in it belong to the region. Holds for the calling thread."""
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            datacenter.enter("/var/run/netns/" + self.name)
            yield
        finally:
            datacenter.enter("/proc/self/fd/%d" % back)
            os.close(back)


class Wan:
    def __init__(self, names, router):
        self.name = "%s%d-wan" % (netns.PREFIX, os.getpid())
        self.router_program = router
        self.regions = {name: Region(name, i + 1) for i, name in enumerate(names)}
        self.router = self.home = None

    def __enter__(self):
        netns.sweep()
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            netns.run("ip", "netns", "add", self.name)
            for region in self.regions.values():
                region.create(self.name)
            self.router = subprocess.Popen(
                [self.router_program] + ["%s=/var/run/netns/%s=%s" % (r.region, r.name, r.prefix)
                                         for r in self.regions.values()],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
            if self.router.stdout.readline() != "ready\n":
                raise AssertionError("the router did not start")
            for region in self.regions.values():
                region.connect()
            netns.run("ip", "-n", self.name, "link", "set", "lo", "up")
            datacenter.enter("/var/run/netns/" + self.name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        datacenter.enter("/proc/self/fd/%d" % self.home)
        os.close(self.home)
        if self.router is not None:
            self.router.stdin.close()
            self.router.stdout.close()
            self.router.wait()
        for region in self.regions.values():
            region.end_all()
        for name in [region.name for region in self.regions.values()] + [self.name]:
            netns.run("ip", "netns", "delete", name, check=False)

    # -- links: an ordered pair each; "*" is every region --

    def command(self, *words):
        self.router.stdin.write(" ".join(words) + "\n")
        self.router.stdin.flush()
        answer = self.router.stdout.readline().strip()
        if not answer.startswith("ok"):
            raise ValueError("%s: %s" % (" ".join(words), answer))
        return answer

    def link(self, one, other, **settings):
        """delay_ms, jitter_ms, loss, rate_kbit, queue_ms: router.c tells what they mean."""
        self.command("link", one, other, *("%s=%s" % pair for pair in settings.items()))

    def cut(self, one="*", other="*"):
        """Both ways."""
        self.command("cut", one, other)
        self.command("cut", other, one)

    def heal(self, one="*", other="*"):
        self.command("heal", one, other)
        self.command("heal", other, one)

    def stats(self, one, other):
        """{"sent", "lost", "overrun", "cut", "bytes"} of one way."""
        return {name: int(value) for name, value in
                (word.split("=") for word in self.command("stats", one, other).split()[1:])}
