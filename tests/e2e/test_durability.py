"""kill -9 at random moments while clients write: what was acknowledged is there after the restart,
and what was deregistered stays away.

The file is a program too: `test_durability.py --rounds 200 [--seed N]`."""

import argparse
import http.client
import os
import random
import sys
import threading
import time
import unittest

import cairn
from cairn import Agent, Client, eventually

WRITERS = 4  # of each kind
NAMES = 40   # of each writer


class Writer(threading.Thread):
    """Owns some names and writes them one after the other. A value is (port, has a check), None
    is absent."""

    def __init__(self, agent, number, seed, known):
        super().__init__(daemon=True)
        self.agent = agent
        self.number = number
        self.random = random.Random(seed)
        self.known = known   # name -> value, as acknowledged
        self.pending = None  # (name, value) of the request that has no answer
        self.acknowledged = 0
        self.failure = None

    def run(self):
        try:
            with Client(self.agent.http_address) as client:
                while True:
                    self.step(client)
        except (OSError, http.client.HTTPException):
            pass  # the agent is gone: pending says what is not known
        except AssertionError as failure:
            self.failure = failure

    def step(self, client):
        name = "w%d-%d" % (self.number, self.random.randrange(NAMES))
        value = None
        if self.known.get(name) is None or self.random.random() < 0.6:
            value = (self.random.randrange(1, 65536), self.random.random() < 0.3)
        value = self.merge(self.known.get(name), value)
        self.pending = (name, value)
        reply = client.put(*self.request(name, value))
        if reply.status != 200:
            raise AssertionError("%s %s: %s" % (name, value, reply))
        self.known[name] = value
        self.pending = None
        self.acknowledged += 1

    def allowed(self, name):
        before = self.known.get(name)
        values = [before]
        if self.pending is not None and self.pending[0] == name:
            values.append(self.pending[1])
            values.extend(self.between(before, self.pending[1]))
        return values

    def merge(self, before, value):
        """What is there once the request for value is answered."""
        return value

    def between(self, before, value):
        """What may be there of a request that was cut off, beside all of it and nothing."""
        return []


class AgentWriter(Writer):
    def request(self, name, value):
        if value is None:
            return "/v1/agent/service/deregister/" + name, None
        body = {"Name": name, "Port": value[0]}
        if value[1]:
            body["Checks"] = [{"CheckID": "c-" + name, "TTL": "10m", "Status": "passing"}]
        return "/v1/agent/service/register?replace-existing-checks", body


    def between(self, before, value):
        if before is None or value is None:
            port = (before or value)[0]
            return [(port, False), (port, True)]
        return [(before[0], value[1]), (value[0], before[1])]  # a file each


class CatalogWriter(Writer):
    def merge(self, before, value):
        """A register request names checks to add; others stay while the service does."""
        return (value[0], before[1] or value[1]) if before and value else value

    @property
    def node(self):
        return "ext-%d" % self.number

    def request(self, name, value):
        if value is None:
            return "/v1/catalog/deregister", {"Node": self.node, "ServiceID": name}
        body = {"Node": self.node, "Address": "192.0.2.1",
                "Service": {"Service": name, "Port": value[0]}}
        if value[1]:
            body["Check"] = {"CheckID": "c-" + name, "ServiceID": name, "Status": "passing"}
        return "/v1/catalog/register", body


class Story:
    """One data directory, killed again and again."""

    def __init__(self, seed):
        self.seed = seed
        self.random = random.Random(seed)
        self.agent = Agent()
        self.known = {}  # (writer's class, number) -> its names
        self.acknowledged = 0
        self.unanswered = 0
        self.restarts_in_start = 0

    def play(self, rounds):
        self.agent.start()
        for number in range(rounds):
            try:
                self.round()
            except AssertionError as failure:
                raise AssertionError("seed %d, round %d: %s" % (self.seed, number, failure)) \
                    from failure
        self.agent.stop()

    def round(self):
        writers = []
        for kind in (AgentWriter, CatalogWriter):
            for number in range(WRITERS):
                known = self.known.setdefault((kind, number), {})
                writers.append(kind(self.agent, number, self.random.random(), known))
        for writer in writers:
            writer.start()
        time.sleep(self.random.uniform(0, 0.4))  # the random moment
        self.agent.kill()
        for writer in writers:
            writer.join()
            if writer.failure is not None:
                raise writer.failure
            self.acknowledged += writer.acknowledged
            self.unanswered += writer.pending is not None
        if self.random.random() < 0.25:  # and again while it starts
            self.agent.spawn()
            time.sleep(self.random.uniform(0, 0.2))
            self.agent.kill()
            self.restarts_in_start += 1
        self.agent.start()
        strays = [c for c in self.agent.get("/v1/health/node/n1").json
                  if not c["ServiceID"] and c["CheckID"] != "serfHealth"]
        if strays:
            raise AssertionError("checks that have lost their service: %s" % strays)
        eventually(lambda: self.agent.passing("consul") == ["consul"], "the agent itself is well")
        for writer in writers:
            self.judge(writer)

    def found_at_agent(self):
        checks = {c["ServiceID"] for c in self.agent.get("/v1/agent/checks").json.values()}
        services = self.agent.get("/v1/agent/services").json
        if not checks <= set(services):
            raise AssertionError("checks without a service: %s" % (checks - set(services)))
        return {name: (row["Port"], name in checks) for name, row in services.items()}

    def found_in_catalog(self, node):
        got = self.agent.get("/v1/catalog/node/" + node).json or {"Services": {}}
        checks = {c["ServiceID"] for c in self.agent.get("/v1/health/node/" + node).json}
        return {name: (row.get("Port", 0), name in checks)
                for name, row in got["Services"].items() if name != "consul"}

    def judge(self, writer):
        if isinstance(writer, AgentWriter):
            every = self.found_at_agent()
            eventually(lambda: self.found_in_catalog("n1") == every,
                       "the catalog holds what the agent does")
        else:
            every = self.found_in_catalog(writer.node)
        prefix = "w%d-" % writer.number
        found = {name: value for name, value in every.items() if name.startswith(prefix)}
        for name in set(found) | set(writer.known):
            allowed = writer.allowed(name)
            if found.get(name) not in allowed:
                raise AssertionError("%s %s: found %s, allowed %s" % (
                    type(writer).__name__, name, found.get(name), allowed))
        self.known[type(writer), writer.number] = found

    def summary(self):
        return ("seed %d: %d writes acknowledged, %d cut off, %d killed while starting"
                % (self.seed, self.acknowledged, self.unanswered, self.restarts_in_start))


class Durability(unittest.TestCase):
    def test_kill_and_restart(self):
        story = Story(random.randrange(1 << 32))
        self.addCleanup(story.agent.discard)
        story.play(15)
        self.assertGreater(story.acknowledged, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--binary", default=os.environ.get("CAIRN_BINARY", ""))
    options = parser.parse_args()
    cairn.BINARY = options.binary
    story = Story(options.seed)
    try:
        story.play(options.rounds)
    finally:
        story.agent.discard()
    print("%d rounds, %s: nothing lost, nothing back" % (options.rounds, story.summary()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
