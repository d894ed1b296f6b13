"""The official Go client, and the official helper of test suites that start a server."""

import os
import subprocess

from clients import INSTALLED, WAIT_S, ClientTest, eventually, program

# What keys the helper writes that are not about a thing of their own (addresses, ports, ACLs).
HELPER_CONFIG = {
    "performance": {"raft_multiplier": 1}, "segments": [], "disable_update_check": True,
    "acl": {"tokens": {}}, "connect": {"enabled": True, "ca_config": {"cluster_id": "1"}},
    "skip_leave_on_interrupt": True, "peering": {"enabled": True}, "version": "1.21.4",
}
HELPER_PORTS = ("https", "grpc", "grpc_tls")


class GoApi(ClientTest):
    def test_tour(self):
        client = program("go-client", INSTALLED)
        service = self.checked_service()

        def register_both():
            self.agent.register("woken", ID="w1", Port=1)
            # The client asks again when it has seen the first, now for the health.
            self.change_when_asked("/v1/health/service/woken.*index=",
                                   lambda: self.agent.register("woken", ID="w2", Port=2))

        self.change_when_asked("/v1/catalog/service/woken.*index=", register_both)
        self.run_program(client, "%s:%d" % self.recorder.address[:2],
                         "%s:%d" % (self.agent.ip, self.agent.server_port),
                         service.address[0], str(service.address[1]), service.url)

    def test_helper_of_test_suites(self):
        suite = program("go-testserver", INSTALLED)
        folder = self.folder()
        os.symlink(os.path.abspath(self.agent.binary), os.path.join(folder, "consul"))
        self.skip_unless_configurable()
        done = subprocess.run([suite, "-test.v"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=WAIT_S * 2, check=False,
                              env=dict(os.environ, PATH=folder + os.pathsep + os.environ["PATH"]))
        self.assertEqual(done.returncode, 0, done.stdout.decode(errors="replace"))

    def skip_unless_configurable(self):
        """The helper writes keys that this version may not know yet; it is told which."""
        agent = self.new_agent(dict(HELPER_CONFIG))
        ports = {"http": agent.http_address[1], "dns": agent.dns_address[1],
                 "server": agent.server_port}
        ports.update({name: -1 for name in HELPER_PORTS})
        agent.config["ports"] = ports
        agent.spawn()

        def answered():
            return agent.process.poll() is not None or agent.leads()

        eventually(answered, "the agent starts or refuses to")
        unknown = [line.split()[-1] for line in agent.output().splitlines()
                   if "invalid config key" in line]
        if unknown:
            self.skipTest("the agent does not know these keys yet: %s" % " ".join(unknown))


del ClientTest
