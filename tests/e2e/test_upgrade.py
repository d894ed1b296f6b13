"""What earlier versions have written is read by this one: a data directory with a snapshot and a log.
The folders of tests/fixtures are made by tests/fixtures/make.py, once for each format."""
import json
import os
import sys
import tarfile
import unittest

from cairn import Agent, eventually

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")
sys.path.insert(0, FIXTURES)
import make  # noqa: E402


class Upgrade(unittest.TestCase):
    maxDiff = None

    def folders(self):
        found = sorted(n for n in os.listdir(FIXTURES) if os.path.isdir(os.path.join(FIXTURES, n))
                       and not n.startswith("__"))
        self.assertIn("v1", found)
        return found

    def start(self, folder):
        agent = Agent()
        self.addCleanup(agent.discard)
        os.makedirs(agent.data_dir, mode=0o700)
        with tarfile.open(os.path.join(FIXTURES, folder, "data.tar.xz")) as tar:
            tar.extractall(agent.data_dir)
        return agent.start()

    def test_each_row_is_there(self):
        for folder in self.folders():
            with self.subTest(folder):
                agent = self.start(folder)
                with open(os.path.join(FIXTURES, folder, "rows.json"), encoding="ascii") as file:
                    expected = json.load(file)
                found = make.rows_of(agent)
                for question in expected:
                    self.assertEqual(found.get(question), expected[question], question)
                agent.must_put("/v1/kv/after", "1")  # and it goes on
                agent.stop()
                agent.start()
                self.assertEqual(agent.get("/v1/kv/after?raw").text, "1")
                eventually(lambda: make.rows_of(agent)["/v1/session/list"] ==
                           expected["/v1/session/list"], "the sessions")
                agent.stop()


if __name__ == "__main__":
    unittest.main()
