"""Hosts for tests of real processes: network namespaces joined by a bridge, whose links are cut one
way or both by nft. Needs root, iproute2 and nftables.

    with netns.Network(3) as network:
        network.hosts[0].popen(["agent", ...])
        network.hosts[0].cut(network.hosts[1])

All that was made is taken away at the end, and at the next start if a process of ours was killed
before: names begin with "cn" and the id of the process that made them."""
import os
import re
import shutil
import subprocess

PREFIX = "cn"
# The kernel keeps some 1,000 neighbours that it has asked for, of all namespaces together. Larger
# networks are told theirs.
ASKED_HOSTS = 30


def available():
    """Tried, because a container may have root and still no namespaces: one is made, used, removed."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nft"):
        return False
    name = "%sprobe%d" % (PREFIX, os.getpid())
    tries = (("ip", "netns", "add", name),
             ("ip", "-n", name, "link", "add", "br0", "type", "bridge"),
             ("ip", "-n", name, "link", "add", "a0", "type", "veth", "peer", "name", "a1"),
             ("ip", "netns", "exec", name, "nft", "add", "table", "inet", "probe"))
    works = all(subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               check=False).returncode == 0 for command in tries)
    subprocess.run(("ip", "netns", "delete", name), stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False)
    return works


def run(*command, check=True, text=None):
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError("%s: %s" % (" ".join(command), done.stderr.strip()))
    return done.stdout


def alive(pid):
    return os.path.exists("/proc/%d" % pid)


def sweep():
    """Takes away what runs that were killed have left."""
    for line in run("ip", "netns", "list", check=False).splitlines():
        match = re.match(PREFIX + r"(\d+)-", line)
        if match and not alive(int(match.group(1))):
            run("ip", "netns", "delete", line.split()[0], check=False)


class Spaced:
    """A namespace by its name, and the processes that were started in it."""

    def __init__(self, name):
        self.name = name
        self.processes = []

    def command(self, command):
        return ["ip", "netns", "exec", self.name] + list(command)

    def popen(self, command, **how):
        """exec keeps the process id through `ip netns exec`, so signals reach the program."""
        process = subprocess.Popen(self.command(command), **how)
        self.processes.append(process)
        return process

    def end_all(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.processes = []


class Host(Spaced):
    """A namespace with one interface, eth0."""

    def __init__(self, network, number):
        super().__init__("%s%d-%d" % (PREFIX, os.getpid(), number))
        self.network = network
        self.number = number
        self.ip = "10.77.%d.%d" % (number // 250, number % 250 + 1)
        self.ip6 = "fd77::%x" % (number + 1)
        self.mac = "02:63:6e:00:%02x:%02x" % (number >> 8, number & 0xff)

    def create(self):
        run("ip", "netns", "add", self.name)
        end = "h%d" % self.number
        run("ip", "-n", self.network.name, "link", "add", end, "type", "veth", "peer", "name",
            "eth0", "address", self.mac, "netns", self.name)
        run("ip", "-n", self.network.name, "link", "set", end, "master", "br0", "up")
        self.ip_("addr", "add", self.ip + "/16", "dev", "eth0")
        self.ip_("addr", "add", self.ip6 + "/64", "dev", "eth0", "nodad")
        self.ip_("link", "set", "lo", "up")
        self.ip_("link", "set", "eth0", "up")
        self.nft("add table inet t; add chain inet t in "
                 "{ type filter hook input priority 0; policy accept; }; "
                 "add chain inet t out { type filter hook output priority 0; policy accept; }")

    def learn(self, neighbours):
        """(address, MAC) of others, for good."""
        run("ip", "-n", self.name, "-batch", "-", text="".join(
            "neigh replace %s lladdr %s dev eth0 nud permanent\n" % pair for pair in neighbours))

    def ip_(self, *arguments):
        return run("ip", "-n", self.name, *arguments)

    def nft(self, rules):
        run("ip", "netns", "exec", self.name, "nft", "-f", "-", text=rules.replace("; ", "\n"))

    # -- links --

    def drop_from(self, other):
        """Nothing of other arrives here: a cut of one way."""
        self.nft("add rule inet t in ip saddr %s drop; add rule inet t in ip6 saddr %s drop" % (
            other.ip, other.ip6))

    def cut(self, *others):
        """Both ways."""
        for other in others:
            self.drop_from(other)
            other.drop_from(self)

    def isolate(self):
        self.nft("add rule inet t in iifname eth0 drop; add rule inet t out oifname eth0 drop")

    def heal(self):
        self.nft("flush chain inet t in; flush chain inet t out")

    def sent_bytes(self):
        return int(run("ip", "netns", "exec", self.name, "cat",
                       "/sys/class/net/eth0/statistics/tx_bytes"))


class Network:
    def __init__(self, count):
        self.name = "%s%d-br" % (PREFIX, os.getpid())
        self.hosts = [Host(self, number) for number in range(count)]

    def __enter__(self):
        sweep()
        self.destroy()
        try:
            run("ip", "netns", "add", self.name)
            run("ip", "-n", self.name, "link", "add", "br0", "type", "bridge")
            run("ip", "-n", self.name, "link", "set", "br0", "up")
            for host in self.hosts:
                host.create()
            if len(self.hosts) > ASKED_HOSTS:
                for host in self.hosts:
                    host.learn((other.ip, other.mac) for other in self.hosts if other is not host)
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, *_):
        self.destroy()

    def destroy(self):
        for host in self.hosts:
            host.end_all()
        for name in [host.name for host in self.hosts] + [self.name]:
            run("ip", "netns", "delete", name, check=False)

    def heal(self):
        for host in self.hosts:
            host.heal()
