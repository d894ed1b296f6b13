"""The official Go client, and the official helper of test suites that start a server."""

import os
import subprocess

from clients import INSTALLED, WAIT_S, ClientTest, program


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

    def test_keys_sessions_and_locks(self):
        suite = program("go-testserver", INSTALLED)
        done = subprocess.run([suite, "-test.v", "-test.run", "Tour$"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT_S * 2,
                              check=False,
                              env=dict(os.environ, CAIRN_ADDRESS="%s:%d" % self.agent.http_address))
        output = done.stdout.decode(errors="replace")
        self.assertEqual(done.returncode, 0, output)
        self.assertNotIn("--- SKIP", output)

    def test_helper_of_test_suites(self):
        suite = program("go-testserver", INSTALLED)
        folder = self.folder()
        os.symlink(os.path.abspath(self.agent.binary), os.path.join(folder, "consul"))
        done = subprocess.run([suite, "-test.v"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=WAIT_S * 2, check=False,
                              env=dict(os.environ, PATH=folder + os.pathsep + os.environ["PATH"]))
        self.assertEqual(done.returncode, 0, done.stdout.decode(errors="replace"))


del ClientTest
