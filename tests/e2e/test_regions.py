"""The demonstration of deploy/regions.sh, by a script: a region's service, links and servers are lost."""
import os
import subprocess
import sys
import unittest

from cairn import BINARY, ENVIRONMENT

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "wan"))
import wan  # noqa: E402

MISSING = wan.missing()
SCRIPT = """
until a web=a           # each waits for what it tells, and fails without it
fail a
until a web=away
cut a *
until a of-b=mirror
until a of-a=live
heal a *
until a of-b=live
kill b
until c of-b=mirror
until c web=c
show
start b
until c of-b=live
pass a
until a web=a
show
quit
"""


@unittest.skipIf(MISSING, MISSING)
class Demonstration(unittest.TestCase):
    def run_script(self, script):
        return subprocess.run(
            [sys.executable, os.path.join(HERE, "..", "..", "deploy", "regions.py"), "--cairn",
             BINARY, "--router", wan.router_beside(BINARY), "--script", "-"], input=script,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
            env=ENVIRONMENT, timeout=1500, check=False)

    def test_script(self):
        done = self.run_script(SCRIPT)
        self.assertEqual(done.returncode, 0, done.stdout)
        lines = [line.split() for line in done.stdout.splitlines()]
        self.assertIn(["b-s1", "dead"], lines)
        self.assertEqual([l[1:] for l in lines if l and l[0] == "a-c1"][-1],
                         ["a", "live", "live", "live"])


if __name__ == "__main__":
    unittest.main()
