"""20 seconds of tests/chaos.py, and a judge that can say no."""
import os
import sys
import unittest

import cairn

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import chaos  # noqa: E402
from history import CAS, CAS_FAILED, OPEN, PUT, READ, STALE, Op, judge  # noqa: E402

SECONDS = 20


def op(kind, begin, end, value, expected=None):
    return Op("k", kind, begin, end, expected, value, end != OPEN, "")


class Judge(unittest.TestCase):
    def judged(self, *ops):
        verdict = judge(ops)
        self.assertEqual(verdict.undecided, 0)
        return not verdict.violations

    def test_what_can_be_explained(self):
        self.assertTrue(self.judged(op(PUT, 1, 2, "a"), op(READ, 3, 4, "a")))
        # at the same time: either order
        self.assertTrue(self.judged(op(PUT, 1, 5, "a"), op(READ, 2, 3, None), op(READ, 4, 6, "a")))
        # nobody knows whether it happened: it did, and it did not
        self.assertTrue(self.judged(op(PUT, 1, OPEN, "a"), op(READ, 8, 9, "a")))
        self.assertTrue(self.judged(op(PUT, 1, OPEN, "a"), op(READ, 8, 9, None)))
        self.assertTrue(self.judged(op(PUT, 1, 2, "a"), op(CAS, 3, 4, "b", "a"),
                                    op(CAS_FAILED, 3, 4, "c", "a"), op(READ, 5, 6, "b")))
        # only an open write that nobody read explains why the cas failed
        self.assertTrue(self.judged(op(PUT, 1, 2, "a"), op(PUT, 2, OPEN, "b"),
                                    op(CAS_FAILED, 5, 6, "c", "a")))
        self.assertTrue(self.judged(op(PUT, 1, 2, "a"), op(PUT, 3, 4, "b"), op(STALE, 5, 6, "a")))

    def test_what_cannot(self):
        for ops in (
                (op(PUT, 1, 2, "a"), op(READ, 3, 4, None)),                       # lost
                (op(PUT, 1, 2, "a"), op(PUT, 3, 4, "b"), op(READ, 5, 6, "a")),    # old
                (op(PUT, 1, 9, "a"), op(READ, 2, 3, "a"), op(READ, 4, 5, None)),  # back in time
                (op(PUT, 1, 2, "a"), op(CAS, 3, 4, "b", "a"), op(CAS, 3, 4, "c", "a")),
                (op(PUT, 1, 2, "a"), op(CAS_FAILED, 3, 4, "b", "a")),
                (op(READ, 1, 2, "x"),),
                (op(PUT, 5, 6, "a"), op(STALE, 1, 2, "a"))):                      # before it began
            self.assertFalse(self.judged(*ops), ops)


class Chaos(unittest.TestCase):
    def test_a_minority_is_harmed_while_clients_write(self):
        lines = []
        try:
            violations, summary = chaos.chaos(SECONDS, binary=cairn.BINARY, say=lines.append)
        except BaseException:
            print("\n".join(lines))
            raise
        print(summary)
        self.assertEqual(violations, [], "%s\n%s" % (summary, "\n".join(lines)))


if __name__ == "__main__":
    unittest.main()
