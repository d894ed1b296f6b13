"""What the leader does for the members of its pool: hosts that die, leave, are removed and come back,
as DNS and blocking queries show it; and user events among all agents."""
import base64
import http.client
import os
import shutil
import signal
import subprocess
import time
import unittest
import urllib.parse

from cairn import DEADLINE_S, ENVIRONMENT, NXDOMAIN, Agent, eventually, new_ip, new_port
from servers import CALM, Group

ALIVE, LEFT, FAILED = 1, 3, 4


class Host(Agent):
    """A client agent with a service of its own."""

    in_group = True

    def __init__(self, name, group, config=None):
        super().__init__(dict({"server": None, "bootstrap": None, "node_name": name,
                               "retry_join": [s.ip for s in group.servers],
                               "retry_interval": "1s", "log_level": "DEBUG",
                               "leave_on_terminate": False}, **(config or {})))
        self.name = name

    def leads(self):
        """Ready: a server answers through it, and knows it."""
        if self.process.poll() is not None:
            raise AssertionError("%s ended: %s" % (self.name, self.output()))
        try:
            reply = self.get("/v1/catalog/node/" + self.name)
            return reply.status == 200 and reply.json is not None
        except (OSError, http.client.HTTPException):
            return False

    def move(self):
        """To an address that it never had."""
        self.ip = new_ip()
        self.http_address = (self.ip, new_port(self.ip))
        self.dns_address = (self.ip, new_port(self.ip))

    def serve(self, name="web"):
        self.must_put("/v1/agent/service/register",
                      {"Name": name, "ID": "%s-%s" % (name, self.name), "Port": 80})


def health(agent, node):
    """The status of the node's serfHealth as an agent shows it; None: there is none."""
    reply = agent.get("/v1/health/node/%s" % node)
    rows = reply.json if reply.status == 200 else []
    return next((row["Status"] for row in rows if row["CheckID"] == "serfHealth"), None)


def members(agent):
    try:
        return {row["Name"]: row["Status"] for row in agent.get("/v1/agent/members").json}
    except OSError:
        return {}


def states(agent, name):
    """Of all members that carry the name."""
    rows = agent.get("/v1/agent/members").json
    return sorted(row["Status"] for row in rows if row["Name"] == name)


def addresses(agent, name="web"):
    answer = agent.resolve("%s.service.consul" % name)
    return sorted(answer.data("A")) if answer.rcode == 0 else []


class DutiesTest(unittest.TestCase):
    def setUp(self):
        self.group = Group(3, CALM)
        self.addCleanup(self.group.discard)
        self.group.start()
        self.servers = self.group.servers

    def host(self, name, **how):
        host = Host(name, self.group, **how)
        self.addCleanup(host.discard)
        return host.start()

    def two_hosts(self):
        hosts = [self.host("h1"), self.host("h2")]
        for host in hosts:
            host.serve()
        self.shown(hosts)
        return hosts

    def shown(self, hosts):
        """The service is these hosts', in DNS and over HTTP, at every server that runs."""
        wanted = sorted(host.ip for host in hosts)
        for server in self.servers:
            if server.runs_now:
                eventually(lambda: addresses(server) == wanted, "DNS shows %s" % wanted)
                eventually(lambda: sorted(server.passing("web")) ==
                           sorted("web-" + h.name for h in hosts), "HTTP shows them")


class Failures(DutiesTest):
    def test_a_killed_host_leaves_answers_and_comes_back_whole(self):
        dead, other = self.two_hosts()
        server = self.servers[1]
        path = "/v1/health/service/web?passing"
        index = server.get(path).index
        with server.client() as waiting:
            waiting.send("GET", path + "&wait=600s&index=%d" % index)
            dead.kill()
            told = waiting.receive()
            while [row["Node"]["Node"] for row in told.json] != [other.name]:
                # a busy machine may have let it look dead before
                waiting.send("GET", path + "&wait=600s&index=%d" % told.index)
                told = waiting.receive()
        self.shown([other])
        self.assertEqual(health(server, dead.name), "critical")
        self.assertEqual([c["Output"] for c in server.get("/v1/health/node/" + dead.name).json
                          if c["CheckID"] == "serfHealth"], ["Agent not live or unreachable"])
        row = server.get("/v1/catalog/node/" + dead.name).json
        self.assertIn("web-h1", row["Services"])  # the node is kept
        dead.start()
        self.shown([dead, other])
        self.assertEqual(server.get("/v1/catalog/node/" + dead.name).json["Node"]["ID"],
                         row["Node"]["ID"])

    def test_a_host_that_leaves_is_gone(self):
        leaver, other = self.two_hosts()
        leaver.must_put("/v1/agent/leave")
        leaver.ended(0)
        self.shown([other])
        for server in self.servers:
            eventually(lambda: server.get("/v1/catalog/node/h1").json is None, "no node")
        leaver.start()
        self.shown([leaver, other])

    def test_the_leader_dies_with_a_host(self):
        dead, other = self.two_hosts()
        leader = eventually(self.group.leader, "one leader")
        leader.kill()
        dead.kill()
        self.shown([other])
        survivor = next(s for s in self.servers if s is not leader)
        eventually(lambda: health(survivor, "h1") == "critical", "the host is critical")
        eventually(lambda: health(survivor, leader.name) == "critical", "so is the old leader")
        self.assertEqual(health(survivor, "h2"), "passing")

    def test_an_address_changes(self):
        moved = self.host("h1", config={"node_meta": {"rack": "r1"}})
        moved.serve()
        self.shown([moved])
        moved.kill()
        moved.move()
        moved.start()
        self.shown([moved])
        node = self.servers[0].get("/v1/catalog/node/h1").json["Node"]
        self.assertEqual((node["Address"], node["Meta"].get("rack")), (moved.ip, "r1"))


class Removals(DutiesTest):
    def test_a_removed_host_stays_away_until_it_comes_itself(self):
        dead, other = self.two_hosts()
        server = self.servers[2]
        dead.kill()
        eventually(lambda: members(server).get("h1") == FAILED, "it failed")
        server.must_put("/v1/agent/force-leave/h1?prune")
        for s in self.servers:
            eventually(lambda: "h1" not in members(s), "%s does not list it" % s.name)
            eventually(lambda: s.get("/v1/catalog/node/h1").json is None, "no node")
        self.shown([other])
        # A server whose memory of the pool is older than that, on its disk and in its peers.
        self.servers[0].stop()
        self.servers[0].spawn()
        self.group.whole()
        eventually(lambda: members(self.servers[0]).get("h2") == ALIVE, "it is back")
        self.assertNotIn("h1", members(self.servers[0]))
        self.assertIsNone(self.servers[0].get("/v1/catalog/node/h1").json)
        dead.start()
        self.shown([dead, other])
        eventually(lambda: members(self.servers[0]).get("h1") == ALIVE, "it is welcome")

    def test_forced_to_leave_it_is_listed_and_gone_from_the_catalog(self):
        dead, other = self.two_hosts()
        dead.kill()
        eventually(lambda: members(self.servers[0]).get("h1") == FAILED, "it failed")
        self.servers[0].must_put("/v1/agent/force-leave/h1")
        for s in self.servers:
            eventually(lambda: members(s).get("h1") == LEFT, "%s lists it as left" % s.name)
            eventually(lambda: s.get("/v1/catalog/node/h1").json is None, "no node")
        self.shown([other])
        dead.start()
        self.shown([dead, other])

    def test_a_machine_that_was_wiped_has_its_name_at_once(self):
        wiped, other = self.two_hosts()
        began_s = int(time.time())
        wiped.kill()
        eventually(lambda: int(time.time()) > began_s, "its next life has a later boot epoch")
        shutil.rmtree(wiped.data_dir)
        wiped.start()
        wiped.serve()
        self.shown([wiped, other])
        for s in self.servers:
            eventually(lambda: states(s, "h1") == [ALIVE, FAILED], "who it was is known as dead")
            self.assertNotIn("two members have the name", s.output())

    def test_a_machine_that_was_wiped_is_removed_whole_by_a_client_agent(self):
        dead, other = self.two_hosts()
        dead.kill()
        for s in self.servers:
            eventually(lambda: states(s, "h1") == [FAILED], "it failed")
        shutil.rmtree(dead.data_dir)  # and its id
        dead.start()
        dead.serve()
        self.shown([dead, other])
        dead.kill()
        for agent in self.servers + [other]:
            eventually(lambda: states(agent, "h1") == [FAILED, FAILED], "both failed")
        other.must_put("/v1/agent/force-leave/h1")
        for s in self.servers:
            eventually(lambda: states(s, "h1") == [LEFT, LEFT], "%s lists them as left" % s.name)
            eventually(lambda: s.get("/v1/catalog/node/h1").json is None, "no node")
        self.shown([other])


class Returned(unittest.TestCase):
    """A server that restarts leads before it has heard of its members again."""

    def outlives(self, count, how):
        group = Group(count, CALM)
        self.addCleanup(group.discard)
        group.start()
        server = group.servers[0]
        back = Host("h1", group)
        self.addCleanup(back.discard)
        back.start()
        back.serve()
        eventually(lambda: server.passing("web") == ["web-h1"], "it is there")
        back.kill()
        eventually(lambda: members(server).get("h1") == FAILED, "it failed")
        server.must_put("/v1/agent/force-leave/h1" + how)
        eventually(lambda: server.get("/v1/catalog/node/h1").json is None, "no node")
        back.start()
        eventually(lambda: server.passing("web") == ["web-h1"], "it is back")
        session = back.must_put("/v1/session/create", {"LockDelay": "0s"}).json["ID"]
        back.must_put("/v1/kv/lock?acquire=" + session, "held")
        back.process.send_signal(signal.SIGSTOP)
        group.stop()
        for s in group.servers:
            s.spawn()
        group.whole()
        back.process.send_signal(signal.SIGCONT)
        for s in group.servers:
            eventually(lambda: members(s).get("h1") == ALIVE, "it is a member again")
            eventually(lambda: s.passing("web") == ["web-h1"], "its service is there")
            self.assertEqual(s.get("/v1/kv/lock").json[0].get("Session"), session, s.output())

    def test_pruned(self):
        self.outlives(1, "?prune")

    def test_forced_to_leave(self):
        self.outlives(1, "")

    def test_of_a_group(self):
        self.outlives(3, "?prune")


class Forgotten(unittest.TestCase):
    def test_a_host_that_says_so_is_forgotten_sooner(self):
        group = Group(1, dict(CALM, reconnect_timeout="90s"))
        self.addCleanup(group.discard)
        group.start()
        hosts = [Host("h1", group, config={"advertise_reconnect_timeout": "1s"}),
                 Host("h2", group), Host("h3", group)]
        for host in hosts:
            self.addCleanup(host.discard)
            host.start()
        for agent in (group.servers[0], hosts[2]):
            told = {row["Name"]: row["Tags"].get("rc_tm")
                    for row in agent.get("/v1/agent/members").json}
            self.assertEqual(told, {"s1": None, "h1": "1s", "h2": None, "h3": None})
        hosts[0].kill()
        hosts[1].kill()
        for agent in (group.servers[0], hosts[2]):
            eventually(lambda a=agent: members(a) == {"s1": ALIVE, "h2": FAILED, "h3": ALIVE},
                       "that one alone is forgotten")
        hosts[0].start()
        for agent in (group.servers[0], hosts[2]):
            eventually(lambda a=agent: members(a).get("h1") == ALIVE, "it is welcome again")


class Events(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.group = Group(3, CALM)
        cls.addClassCleanup(cls.group.discard)
        cls.group.start()
        cls.servers = cls.group.servers
        cls.host = Host("h1", cls.group)
        cls.addClassCleanup(cls.host.discard)
        cls.host.start()

    def fire(self, agent, name, body=None, **query):
        return agent.must_put("/v1/event/fire/%s?%s" % (name, urllib.parse.urlencode(query)),
                              body).json["ID"]

    @staticmethod
    def kept(agent, name):
        return agent.get("/v1/event/list?name=" + name).json

    def test_all_hear_of_it_once(self):
        agents = self.servers + [self.host]
        ids = [self.fire(agent, "all", "from " + agent.name) for agent in agents]
        for agent in agents:
            eventually(lambda: sorted(e["ID"] for e in self.kept(agent, "all")) == sorted(ids),
                       "all four")
        event = next(e for e in self.kept(self.servers[0], "all") if e["ID"] == ids[2])
        self.assertEqual(base64.b64decode(event["Payload"]).decode(),
                         "from " + self.servers[2].name)
        self.assertGreater(event["LTime"], 0)
        for agent in agents:
            eventually(lambda: int(agent.get("/v1/agent/self").json["Stats"]["serf_lan"][
                "event_time"]) > event["LTime"], "the clock of events is told")

    def test_filters_say_who_keeps_it(self):
        one, two, three = self.servers[0], self.host, self.servers[2]
        for server, tags in ((one, ["v1"]), (two, ["v2"])):
            server.must_put("/v1/agent/service/register", {"Name": "filtered", "Tags": tags})
        by_node = self.fire(two, "some", node="^%s$" % three.name)
        by_service = self.fire(three, "some", service="^filt")
        by_tag = self.fire(one, "some", service="filtered", tag="2$")
        end = self.fire(one, "some-end")
        wanted = {one: [by_service], two: [by_service, by_tag], three: [by_node]}
        for server, ids in wanted.items():
            eventually(lambda: [e["ID"] for e in self.kept(server, "some-end")] == [end], "the end")
            eventually(lambda: sorted(e["ID"] for e in self.kept(server, "some")) == sorted(ids),
                       "what concerns %s" % server.name)

    def test_a_waiting_query_hears_of_the_next(self):
        one, two = self.host, self.servers[1]
        first = one.get("/v1/event/list?name=waited")
        self.assertEqual((first.json, first.index), ([], 1))
        with one.client() as waiting:
            waiting.send("GET", "/v1/event/list?name=waited&wait=600s&index=1")
            self.fire(two, "another")  # of another name: nobody is told
            event_id = self.fire(two, "waited")
            reply = waiting.receive()
        self.assertEqual([e["ID"] for e in reply.json], [event_id])
        number = int(event_id.replace("-", ""), 16)
        self.assertEqual(reply.index, number >> 64 ^ number & (2 ** 64 - 1))

    def test_the_last_256_are_kept(self):
        one, two = self.servers[0], self.host

        def fire(i):
            reply = one.put("/v1/event/fire/many", str(i))
            self.assertIn(reply.status, (200, 429))  # so many are on their way
            return reply.status == 200

        for i in range(300):
            eventually(lambda: fire(i), "there is room again")
        wanted = [str(i) for i in range(44, 300)]
        for server in (one, two):
            eventually(lambda: [base64.b64decode(e["Payload"]).decode() for e in sorted(
                server.get("/v1/event/list").json, key=lambda e: e["LTime"])
                if e["Name"] == "many"][-100:] == wanted[-100:], "%s has the last" % server.name,
                       deadline_s=90)
            self.assertLessEqual(len(server.get("/v1/event/list").json), 256)

    def test_the_command(self):
        environment = dict(ENVIRONMENT, CONSUL_HTTP_ADDR="%s:%d" % self.servers[0].http_address)

        def run(*args):
            done = subprocess.run([os.environ["CAIRN_BINARY"], "event", *args], env=environment,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=DEADLINE_S, check=False)
            return done.returncode, done.stdout, done.stderr

        code, out, err = run("-name=command", "-node=.", "a payload")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"^Event ID: [0-9a-f-]{36}\n$")
        eventually(lambda: [e["ID"] for e in self.kept(self.servers[1], "command")] ==
                   [out.split()[-1]], "it came")
        self.assertEqual(run()[0], 1)
        self.assertIn("-name", run()[2])
        self.assertEqual(run("-name=x", "-tag=v1")[0], 1)
        code, _, err = run("-name=x", "-node=(")
        self.assertEqual(code, 1)
        self.assertIn("Invalid node filter", err)


class Answers(DutiesTest):
    def test_a_lone_host_that_dies_leaves_no_name_to_resolve(self):
        host = self.host("h1")
        host.serve("alone")
        eventually(lambda: addresses(self.servers[0], "alone") == [host.ip], "it is there")
        host.kill()
        eventually(lambda: self.servers[0].resolve("alone.service.consul").rcode == NXDOMAIN,
                   "it is gone")


if __name__ == "__main__":
    unittest.main()
