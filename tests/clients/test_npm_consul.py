"""The npm package consul."""

import os
import unittest

from clients import INSTALLED, ClientTest, GroupTest, program


def command():
    """Node and the script that it is to run."""
    node = program("node")
    script = os.path.join(INSTALLED, "npm", "client.js")
    if not os.path.exists(script):
        raise unittest.SkipTest("the npm package consul is not installed; "
                                "tests/clients/run.sh does it where npm is")
    return node, script


class NpmConsul(ClientTest):
    def test_tour(self):
        node, script = command()
        service = self.checked_service()

        def register_both():
            self.agent.register("woken", ID="w1", Port=1)
            self.change_when_asked("/v1/health/service/woken.*index=[1-9]",
                                   lambda: self.agent.register("woken", ID="w2", Port=2))

        self.change_when_asked("/v1/catalog/service/woken.*index=[1-9]", register_both)
        host, port = self.recorder.address
        self.run_program(node, script, host, str(port),
                         "%s:%d" % (self.agent.ip, self.agent.server_port),
                         service.address[0], str(service.address[1]), service.url)


class NpmConsulGroup(GroupTest):
    """Keys, sessions, locks and semaphores while the leader of three servers is killed."""

    def test_tour(self):
        node, script = command()
        host, port = self.recorder.address
        self.through_deaths(
            ["PUT /v1/kv/npm/a", r"PUT .*cas=\d\d", "GET .*woken", "PUT /v1/txn", "DELETE ",
             "PUT /v1/session/create", "PUT .*/renew/", "PUT .*npm/lock.*acquire=",
             "GET /v1/kv/npm/lock", "PUT .*/destroy/", "PUT .*npm/sem.*acquire=",
             "PUT .*sem.*cas=0", "GET .*sem.*index="],
            lambda: self.run_program(node, script, host, str(port)))


del ClientTest, GroupTest
