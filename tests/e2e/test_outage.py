"""All servers cut off from all client agents: lookups at the clients go on, and nothing is lost when the
links are back (tests/bench/outage.py, which runs it for longer)."""
import os
import sys
import unittest

from cairn import BINARY

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "bench")]
import datacenter  # noqa: E402
import netns  # noqa: E402
import outage  # noqa: E402


@unittest.skipUnless(netns.available(), "needs root and network namespaces")
class Outage(unittest.TestCase):
    def test_lookups_go_on(self):
        with datacenter.Datacenter(BINARY, clients=8) as dc:
            dc.start()
            self.assertEqual(outage.run(dc, seconds=20, rate=50, bound_s=None), [])


if __name__ == "__main__":
    unittest.main()
