"""Several servers that form a group, and agents that join them, each a process with an address of its
own."""
import http.client
import json

from cairn import Agent, eventually, new_ip, new_port


# For tests of something else: a busy machine makes no elections.
CALM = {"performance": {"raft_multiplier": 5}}


class Server(Agent):
    in_group = True

    def __init__(self, name, count, **how):
        super().__init__({"node_name": name, "bootstrap": None, "bootstrap_expect": count,
                          "retry_interval": "1s", "log_level": "DEBUG"}, **how)
        self.name = name

    @property
    def server_address(self):
        return "%s:%d" % (self.ip, self.server_port)

    def move(self):
        """To an address that it never had."""
        self.ip = new_ip()
        self.http_address = (self.ip, new_port(self.ip))
        self.dns_address = (self.ip, new_port(self.ip))
        self.server_port = new_port(self.ip)

    def try_request(self, method, path, body=None, timeout=5):
        """None: nobody answers."""
        try:
            with self.client(timeout=timeout) as client:
                return client.request(method, path, body)
        except (OSError, http.client.HTTPException):
            return None

    def leader(self):
        """The name of the leader that this server knows; "" while it knows none, or not its name."""
        reply = self.try_request("GET", "/v1/catalog/nodes?stale")
        if reply is None or reply.headers["X-Consul-KnownLeader"] != "true":
            return ""
        leader = self.try_request("GET", "/v1/status/leader")
        members = self.try_request("GET", "/v1/agent/members")
        if leader is None or members is None or leader.status != 200 or members.status != 200:
            return ""
        return next((member["Name"] for member in members.json
                     if leader.json.startswith(member["Addr"] + ":")), "")

    def value(self, key, query=""):
        """Of a default read; None: the key is not there or there is no answer."""
        reply = self.try_request("GET", "/v1/kv/%s?raw%s" % (key, query))
        return reply.text if reply is not None and reply.status == 200 else None

    def write(self, key, value):
        """True: acknowledged."""
        reply = self.try_request("PUT", "/v1/kv/" + key, value)
        return reply is not None and reply.status == 200 and reply.text.strip() == "true"

    @property
    def runs_now(self):
        return self.process is not None and self.process.poll() is None


class Group:
    """Servers s1, s2, ... which know each other's addresses."""

    def __init__(self, count=3, config=None, binary=None):
        self.servers = [Server("s%d" % (i + 1), count, binary=binary) for i in range(count)]
        for server in self.servers:
            server.config.update(config or {})
        self.join()

    def join(self):
        for server in self.servers:
            server.config["retry_join"] = [s.ip for s in self.servers]

    def start(self):
        for server in self.servers:
            server.spawn()
        self.whole()
        return self

    def whole(self):
        """Waits until all that run see one leader and one another in the catalog."""
        running = [server for server in self.servers if server.runs_now]
        names = sorted(server.name for server in running)
        try:
            eventually(lambda: all(self.registered(s) == names for s in running), "all are there")
            eventually(self.leader, "one leader")
        except AssertionError as failure:
            raise AssertionError("%s: leaders %s\n%s" % (
                failure, [s.leader() for s in running], self.outputs())) from failure

    @staticmethod
    def registered(server):
        reply = server.try_request("GET", "/v1/catalog/service/consul")
        if reply is None or reply.status != 200:
            return []
        return sorted(row["Node"] for row in reply.json)

    def leader(self):
        """The server that all that run take for the leader; None while they differ."""
        running = [server for server in self.servers if server.runs_now]
        seen = {server.leader() for server in running}
        return next((s for s in running if seen == {s.name}), None)

    def roles(self):
        """(leader, [followers]) of those that run."""
        leader = eventually(self.leader, "one leader")
        return leader, [s for s in self.servers if s.runs_now and s is not leader]

    def outputs(self):
        return "\n".join("---- %s\n%s" % (s.name, s.output()[-6000:]) for s in self.servers)

    def stop(self):
        for server in self.servers:
            if server.runs_now:
                server.stop()

    def discard(self):
        for server in self.servers:
            server.discard()


class ClientAgent(Agent):
    """Of the datacenter of the servers that it joins. Its name is no prefix of any node's id, which
    /v1/catalog/node takes as well."""

    in_group = True

    def __init__(self, name, servers, **how):
        super().__init__(how.pop("config", None), **how)
        self.name = name
        self.config = dict({"server": None, "bootstrap": None, "node_name": name,
                            "retry_join": [s.ip for s in servers], "retry_interval": "1s",
                            "log_level": "DEBUG"}, **self.config)

    def leads(self):
        """Ready: a server answers through it."""
        if self.process.poll() is not None:
            raise AssertionError("the agent ended with %s: %s" % (self.process.returncode,
                                                                  self.output()))
        try:
            reply = self.get("/v1/catalog/node/" + self.name)
            return reply.status == 200 and reply.json is not None
        except (OSError, http.client.HTTPException):
            return False

    def server(self, servers):
        """The server that it is connected to."""
        seen = [line.split("server=")[1].split()[0] for line in self.output().splitlines()
                if "connected to a server: " in line]
        return next(s for s in servers if s.name == seen[-1])


def meta(reply):
    """What an answer says of its age."""
    return (reply.headers["X-Consul-KnownLeader"],
            json.loads(reply.headers["X-Consul-LastContact"]),
            reply.headers["X-Consul-Effective-Consistency"])
