"""Three regions on a WAN of one machine (wan.py): servers and client agents as processes, for
tests/e2e/test_wan.py, tests/bench/wan.py and deploy/regions.sh.

    with regions.Regions("build/release/cairn", servers=3) as world:
        world.start()
        world.wan.cut("a")
        world.servers["a"][0].get("/v1/health/service/web?dc=b")

A datacenter is named like its region. Everything that is asked here passes no link."""
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
import cairn  # noqa: E402
import wan  # noqa: E402
from cairn import eventually  # noqa: E402

NAMES = ("a", "b", "c")
ROUND_TRIP_MS = 80
AGE = "X-Cairn-Mirror-Age"
LISTS = ("/v1/catalog/nodes", "/v1/catalog/services", "/v1/health/state/any")


class Machine(cairn.Agent):
    """An agent at an address of its region, with the usual ports."""

    def __init__(self, world, region, number, name, server):  # pylint: disable=super-init-not-called
        self.world, self.region, self.name, self.server = world, region, name, server
        self.binary, self.ip = world.binary, region.ip(number)
        self.folder = tempfile.mkdtemp(prefix="cairn-e2e-")
        self.data_dir = os.path.join(self.folder, "data")
        self.http_address, self.dns_address, self.server_port = (
            (self.ip, 8500), (self.ip, 8600), 8300)
        self.args, self.process, self.runs = [], None, 0
        self.config = dict({"node_name": name, "datacenter": region.region, "server": server,
                            "bootstrap": None, "retry_interval": "1s"}, **world.config)

    def command(self):
        return self.region.command(super().command())

    @property
    def runs_now(self):
        return self.process is not None and self.process.poll() is None

    def ask(self, path, timeout=10):
        """None: nobody answers."""
        try:
            with self.client(timeout=timeout) as client:
                return client.get(path)
        except (OSError, cairn.http.client.HTTPException):
            return None

    def rows(self, path):
        """Of a good answer; else None."""
        reply = self.ask(path)
        return reply.json if reply is not None and reply.status == 200 else None

    def gauge(self, name, datacenter):
        """Of its mirror of a datacenter; None: there is none."""
        for row in (self.rows("/v1/agent/metrics") or {"Gauges": []})["Gauges"]:
            if row["Name"].endswith("mirror." + name) and \
                    row["Labels"].get("datacenter") == datacenter:
                return row["Value"]
        return None

    def every_record(self):
        """{path: (rows, index)} of all that a mirror shows of its region."""
        paths = list(LISTS)
        paths += ["/v1/health/service/" + s for s in self.get("/v1/catalog/services").json]
        paths += ["/v1/catalog/node/" + n["Node"] for n in self.get("/v1/catalog/nodes").json]
        return {path: (reply.json, reply.index) for path in paths for reply in [self.get(path)]}

    def place(self, service):
        """The region that plain DNS names; None: nobody has it. For instances of put_in()."""
        addresses = self.resolve(service + ".service.consul", edns=1232).data("A")
        return NAMES[int(addresses[0].split(".")[1])] if addresses else None

    def put_in(self, service, status="passing"):
        """Its one instance in this region, whose address tells the region."""
        self.put_instance(service, status, address="10.%d.9.9" % NAMES.index(self.region.region))

    def put_instance(self, service, status="passing", node=None, address="10.1.0.1"):
        """Of a node that is no agent, with a check of its own."""
        self.must_put("/v1/catalog/register", {
            "Node": node or "n-" + service, "Address": address,
            "Service": {"ID": service, "Service": service, "Port": 80},
            "Check": {"CheckID": service, "Name": "c", "Status": status, "ServiceID": service}})


class Regions:
    def __init__(self, binary, servers=1, clients=0, config=None, router=None):
        self.binary = os.path.abspath(binary)
        self.config = config or {}
        self.wan = wan.Wan(NAMES, router or wan.router_beside(binary))
        self.servers, self.clients = {}, {}
        regions = self.wan.regions
        for name, region in regions.items():
            all_servers = [region.ip(i + 1) for i in range(servers)]
            far = [r.ip(1) for r in regions.values() if r is not region]
            self.servers[name], self.clients[name] = [], []
            for i in range(servers + clients):
                is_server = i < servers
                shown = "%s-s%d" % (name, i + 1) if is_server else "%s-c%d" % (name, i - servers + 1)
                machine = Machine(self, region, i + 1, shown, is_server)
                machine.config["retry_join"] = all_servers
                if is_server:
                    machine.config.update(bootstrap_expect=servers, retry_join_wan=far,
                                          retry_interval_wan="1s")
                (self.servers if is_server else self.clients)[name].append(machine)

    def machines(self, *names):
        return [m for name in (names or NAMES) for m in self.servers[name] + self.clients[name]]

    def __enter__(self):
        self.wan.__enter__()
        self.wan.link("*", "*", delay_ms=ROUND_TRIP_MS / 2)
        return self

    def __exit__(self, *_):
        for machine in self.machines():
            machine.discard()
        self.wan.__exit__()

    # -- as a whole --

    def start(self):
        """Returns once every server mirrors the other regions and every agent is in its catalog."""
        for machine in self.machines():
            machine.spawn()
        try:
            self.settle()
        except AssertionError as failure:
            raise AssertionError("%s\n%s" % (failure, self.outputs())) from failure
        return self

    def settle(self, *names):
        names = names or NAMES
        for machine in self.machines(*names):
            region = machine.region.region
            running = sorted(m.name for m in self.machines(region) if m.runs_now)
            eventually(lambda m=machine, r=running: sorted(
                row["Node"] for row in m.rows("/v1/catalog/nodes") or []
                if row["Meta"] is not None and row["Node"].startswith(
                    m.region.region + "-")) == r, "%s sees its region" % machine.name)
        for name in names:
            for server in self.servers[name]:
                self.mirrored(server)

    def mirrored(self, server, young_ms=2000):
        """Its mirrors of the other regions are whole and young."""
        for other in NAMES:
            if other != server.region.region:
                eventually(lambda o=other: (server.gauge("service_instances", o) or 0) > 0 and
                           0 <= server.gauge("age_ms", o) < young_ms,
                           "%s mirrors %s" % (server.name, other))

    def differences(self):
        """Cuts all links, so that only mirrors answer, and compares each with its source, record by
        record, indexes included. Nobody may write meanwhile. [(server, region, path)]"""
        sources = {name: self.servers[name][0].every_record() for name in NAMES}
        self.wan.cut()
        wrong = []
        for name in NAMES:
            for server in (s for other in NAMES if other != name for s in self.servers[other]):
                for path, told in sources[name].items():
                    reply = server.get("%s?dc=%s" % (path, name))
                    if reply.headers[AGE] is None or (reply.json, reply.index) != told:
                        wrong.append((server.name, name, path))
        self.wan.heal()
        return wrong

    def kill_region(self, name, clients=True):
        """All at once, as a fire would."""
        machines = [m for m in self.servers[name] + (self.clients[name] if clients else [])
                    if m.runs_now]
        for machine in machines:
            machine.process.kill()
        for machine in machines:
            machine.process.wait()

    def outputs(self):
        return "\n".join("---- %s\n%s" % (m.name, m.output()[-3000:]) for m in self.machines())
