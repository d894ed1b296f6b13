"""The official Go client, and the official helper of test suites that start a server."""

import os
import subprocess

from clients import INSTALLED, WAIT_S, ClientTest, GroupTest, program


def tour(test, name):
    """Runs the tests whose name ends so."""
    suite = program("go-testserver", INSTALLED)
    done = subprocess.run([suite, "-test.v", "-test.run", name + "$"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT_S * 2,
                          check=False,
                          env=dict(os.environ, CAIRN_ADDRESS="%s:%d" % test.recorder.address[:2]))
    output = done.stdout.decode(errors="replace")
    test.assertEqual(done.returncode, 0, output)
    test.assertIn("--- PASS", output)
    test.assertNotIn("--- SKIP", output)


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
        tour(self, "Tour")

    def test_helper_of_test_suites(self):
        suite = program("go-testserver", INSTALLED)
        folder = self.folder()
        os.symlink(os.path.abspath(self.agent.binary), os.path.join(folder, "consul"))
        done = subprocess.run([suite, "-test.v"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=WAIT_S * 2, check=False,
                              env=dict(os.environ, PATH=folder + os.pathsep + os.environ["PATH"]))
        self.assertEqual(done.returncode, 0, done.stdout.decode(errors="replace"))


class GoApiGroup(GroupTest):
    """Keys, sessions, locks and semaphores while the leader of three servers is killed."""

    def tours(self, name, *moments):
        self.through_deaths(moments, lambda: tour(self, name))

    def test_keys(self):
        self.tours("KVTour", "PUT /v1/kv/go/kv/a", r"PUT .*cas=\d\d", "GET .*keys", "GET .*index=",
                   "DELETE .*cas=")

    def test_transactions(self):
        self.tours("TxnTour", "PUT /v1/txn")

    def test_sessions(self):
        self.tours("SessionTour", "PUT /v1/session/create", "GET .*/info/", "PUT .*/renew/",
                   "PUT .*/destroy/")

    def test_locks(self):
        # The monitor's consistent query is one that a lock is lost by if it fails.
        self.tours("LockTour", "PUT /v1/session/create", "PUT .*acquire=", "GET .*consistent",
                   "GET .*consistent.*index=", "PUT .*release=", "DELETE .*cas=")

    def test_semaphores(self):
        self.tours("SemaphoreTour", "PUT .*acquire=", "PUT .*cas=0", "GET .*consistent",
                   "GET .*consistent.*index=", "DELETE ")


del ClientTest, GroupTest
