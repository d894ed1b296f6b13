"""Judges what clients saw of registers: is there, for each key, one order of all that was done that
explains every answer, in which what ended before something else began stands before it (Herlihy and
Wing; searched as by Wing and Gong, with the states remembered that led nowhere, as by Lowe).

Values of one key differ, so a value is as good as its index: a cas names the value it expects."""
import collections
import math

PUT, CAS, CAS_FAILED, READ, STALE = "put", "cas", "cas failed", "read", "stale read"
OPEN = math.inf           # the end of what was never answered: it happened at any time, or never
STEPS_MAX = 200000        # of the search of one key

# key, kind, when it began and ended, what a cas expected, the value written or read (None: the key
# is not there), whether it was answered, who says so.
Op = collections.namedtuple("Op", "key kind begin end expected value done who")
Verdict = collections.namedtuple("Verdict", "violations keys undecided")


def after(op, value):
    """(possible, value afterwards)"""
    if op.kind == READ:
        return value == op.value, value
    if op.kind == PUT:
        return True, op.value
    if op.kind == CAS:
        return value == op.expected, op.value
    return value != op.expected, value


def linearizable(ops):
    """True, False, or None: too many steps."""
    ops = sorted(ops, key=lambda op: op.begin)
    required = sum(1 << i for i, op in enumerate(ops) if op.done)
    seen = set()
    stack = [(0, None)]
    steps = 0
    while stack:
        state = stack.pop()
        done, value = state
        if done & required == required:
            return True
        if state in seen:
            continue
        seen.add(state)
        steps += 1
        if steps > STEPS_MAX:
            return None
        # Only what began before the first end among the rest can be next.
        first_end = min(op.end for i, op in enumerate(ops) if not done >> i & 1)
        for i, op in enumerate(ops):
            if op.begin > first_end:
                break
            if not done >> i & 1:
                possible, next_value = after(op, value)
                if possible:
                    stack.append((done | 1 << i, next_value))
    return False


def judge_key(ops):
    judged = [op for op in ops if op.kind != STALE]
    # What was open and whose value nobody saw most likely never happened: try that first.
    seen = {op.value for op in judged if op.kind == READ}
    seen |= {op.expected for op in judged if op.kind in (CAS, CAS_FAILED)}
    likely = [op for op in judged if op.done or op.value in seen]
    verdict = linearizable(likely)
    if verdict is False and len(likely) < len(judged):
        verdict = linearizable(judged)
    return verdict


def show(op, zero):
    return "    %8.3f %8.3f  %-10s %s%s  %s" % (
        op.begin - zero, op.end - zero, op.kind, "%s -> " % op.expected if op.kind in (
            CAS, CAS_FAILED) else "", op.value, op.who)


def judge(ops):
    keys = collections.defaultdict(list)
    for op in ops:
        keys[op.key].append(op)
    violations, undecided = [], 0
    zero = min((op.begin for op in ops), default=0)
    for key, of_key in sorted(keys.items()):
        written = {op.value: op.begin for op in of_key if op.kind in (PUT, CAS)}
        for op in of_key:
            if op.kind in (READ, STALE) and op.value is not None and (
                    written.get(op.value, OPEN) > op.end):
                violations.append("%s: a value that nobody had written\n%s" % (key, show(op, zero)))
        verdict = judge_key(of_key)
        undecided += verdict is None
        if verdict is False:
            violations.append("%s: no order explains what was seen\n%s" % (key, "\n".join(
                show(op, zero) for op in sorted(of_key, key=lambda op: op.begin))))
    return Verdict(violations, len(keys), undecided)
