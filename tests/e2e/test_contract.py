"""Requests and their answers to the byte, as text in tests/transcripts/http/*.txt: for every route of
docs/API.md at least one that succeeds (ok), one that is malformed (bad), and one that asks for what
is not there (unknown).

    == ok: the leader is this server
    GET /v1/status/leader
        200 OK
        Content-Type: application/json
        Vary: Accept-Encoding
        X-Consul-Default-ACL-Policy: allow
        | "<ip>:<server port>"

To add a case, write its title and request, at the left edge, and run this test with CAIRN_REWRITE=1:
it writes the answers, indented. Then read the diff: it is the review. Behind the request line stand
headers, then the body, each line behind '> '. A file's agent is new, and its cases run in order.

What an answer shows: all headers but Date and Content-Length, which are judged and left out; JSON
that is compact and long is broken into lines. What differs from run to run has a name in <>: the
agent's address, ports and node id, in requests too, and indexes above 1.

Lines that begin with '@' are orders. Before the first case:
    @ config {...}     keys of the agent's configuration
    @ ends N           the agent ends by itself, with exit code N
Within a case:
    @ any KEY...       values of these keys are shown by their type
    @ shape N          below depth N of the JSON every value is shown by its type
    @ stream           the answer does not end: its head alone is judged
    @ keep KEY NAME    the answer's value of KEY is <NAME> in it and in all that follows
    @ until N          is asked again until the status is N: what was written shows a while later"""

import difflib
import glob
import json
import os
import re
import unittest
from urllib.parse import unquote

from cairn import Agent, Raw, eventually

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FILES = sorted(glob.glob(os.path.join(ROOT, "tests/transcripts/http/*.txt")))
REWRITE = bool(os.environ.get("CAIRN_REWRITE"))
KINDS = ("ok", "bad", "unknown")
DATE = re.compile(r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$")
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|<[a-z ]+>|[\[\]{},:]')
INDEX = re.compile(r'("(?:CreateIndex|ModifyIndex|LockIndex|LastIndex|Index)": ?)([1-9]\d*)')
LINE = 96


# ---- the text ----

class Case:
    def __init__(self, title):
        self.title = title
        self.lines = [title]  # as written, without the answer
        self.request = None
        self.headers = []
        self.body = []
        self.any = []
        self.shape = None
        self.stream = False
        self.keep = None
        self.until = None
        self.answer = []  # as written
        self.after = []  # blanks and comments up to the next case

    @property
    def kind(self):
        return self.title[3:].split(":")[0]

    @property
    def has_body(self):
        return not self.stream and self.method != "HEAD"

    @property
    def method(self):
        return self.request.split(" ")[0]

    @property
    def target(self):
        return self.request.split(" ", 1)[1]

    def read(self, line):
        if line.startswith("    "):
            self.answer.append(line)
            return
        if line.startswith("#") or not line:
            self.after.append(line)
            return
        self.lines += self.after + [line]
        self.after = []
        if line.startswith("@ any "):
            self.any = line.split()[2:]
        elif line.startswith("@ shape "):
            self.shape = int(line.split()[2])
        elif line == "@ stream":
            self.stream = True
        elif line.startswith("@ keep "):
            self.keep = line.split()[2:]
        elif line.startswith("@ until "):
            self.until = int(line.split()[2])
        elif line.startswith(">"):
            self.body.append(line[2:])
        elif self.request is None:
            self.request = line
        elif ": " in line:
            self.headers.append(line)
        else:
            raise ValueError("not understood: " + line)


class Transcript:
    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path)[:-len(".txt")]
        self.head = []
        self.cases = []
        self.config = {}
        self.ends = None
        with open(path, encoding="utf-8") as file:
            self.text = file.read()
        for line in self.text.splitlines():
            if line.startswith("== "):
                self.cases.append(Case(line))
            elif self.cases:
                self.cases[-1].read(line)
            else:
                self.head.append(line)
                if line.startswith("@ config "):
                    self.config = json.loads(line[len("@ config "):])
                elif line.startswith("@ ends "):
                    self.ends = int(line.split()[2])

    def with_answers(self, answers):
        lines = list(self.head)
        for case, answer in zip(self.cases, answers):
            lines += case.lines + answer + (case.after or [""])
        while lines and not lines[-1]:
            lines.pop()
        return "\n".join(lines) + "\n"


# ---- JSON as text ----

def tokens_of(text):
    """The tokens of compact JSON, or None when it is not compact, or no JSON."""
    tokens = TOKEN.findall(text)
    return tokens if "".join(tokens) == text else None


def broken(tokens, at, indent, width):
    """Lines of the value that begins at tokens[at], and where the next token is."""
    if tokens[at] not in "[{":
        return [tokens[at]], at + 1
    items, start, opening = [], at, tokens[at]
    at += 1
    while tokens[at] not in ("]", "}"):
        label = ""
        if opening == "{":
            label = tokens[at] + ": "
            at += 2
        lines, at = broken(tokens, at, indent + 2, width)
        items.append([label + lines[0]] + lines[1:])
        if tokens[at] == ",":
            at += 1
    flat = "".join(tokens[start:at + 1])
    if indent + len(flat) <= width or not items:
        return [flat], at + 1
    out = [opening]
    for number, lines in enumerate(items):
        comma = "," if number + 1 < len(items) else ""
        out += ["  " + line for line in lines[:-1]] + ["  " + lines[-1] + comma]
    return out + [tokens[at]], at + 1


def type_of(value):
    return "<%s>" % {bool: "bool", int: "number", float: "number", str: "string", list: "array",
                     dict: "object", type(None): "null"}[type(value)]


def shape_of(value, depth):
    """The value with everything below the depth as its type; alike elements are shown once."""
    if isinstance(value, dict) and depth > 0:
        return {key: shape_of(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list) and depth > 0:
        unique = []
        for item in value:
            shape = shape_of(item, depth - 1)
            if shape not in unique:
                unique.append(shape)
        return unique
    return type_of(value)


def with_any(value, keys):
    if isinstance(value, dict):
        return {key: type_of(item) if key in keys else with_any(item, keys)
                for key, item in value.items()}
    if isinstance(value, list):
        return [with_any(item, keys) for item in value]
    return value


def value_of(value, key):
    """Of the first member with this key, however deep; None: there is none."""
    if isinstance(value, dict) and key in value:
        return value[key]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    found = (value_of(item, key) for item in inner)
    return next((item for item in found if item is not None), None)


# ---- answers as text ----

class Names:
    """What differs from run to run, by its name."""

    def __init__(self, agent):
        shown = agent.get("/v1/agent/self").json
        tags = shown["Member"]["Tags"]
        self.texts = [(agent.ip, "<ip>"), (shown["Config"]["NodeID"], "<node id>"),
                      (agent.folder, "<folder>"), (tags["cluster"], "<cluster>"),
                      (tags["disk"], "<disk>")]
        self.ports = [(str(agent.http_address[1]), "<http port>"),
                      (str(agent.dns_address[1]), "<dns port>"),
                      (str(agent.server_port), "<server port>")]

    def expand(self, text):
        for value, name in self.texts + self.ports:
            text = text.replace(name, value)
        return text

    def keep(self, case, reply):
        if case.keep is not None:
            key, name = case.keep
            self.texts.append((value_of(reply.json, key), "<%s>" % name))

    def hide(self, text):
        for value, name in self.texts:
            text = text.replace(value, name)
        for value, name in self.ports:
            text = re.sub(r'(?<![\w.-])%s(?![\w.-])' % value, name, text)
        return text


def show_body(case, reply, names):
    text = reply.body.decode(errors="backslashreplace")
    if case.shape is not None:
        text = json.dumps(shape_of(reply.json, case.shape), separators=(",", ":"))
    elif case.any:
        text = json.dumps(with_any(reply.json, case.any), separators=(",", ":"),
                          ensure_ascii=False)
    text = INDEX.sub(lambda m: m.group(1) + ("<index>" if int(m.group(2)) > 1 else "1"), text)
    text = names.hide(text)
    tokens = None
    if reply.headers["Content-Type"] == "application/json" and len(text) > LINE:
        tokens = tokens_of(text)
    lines = broken(tokens, 0, 0, LINE)[0] if tokens else text.split("\n") if text else []
    return [("    | " + line).rstrip(" ") for line in lines]


def show(case, reply, names):
    names.keep(case, reply)
    out = ["    %s %s" % (reply.status, reply.reason)]
    for key, value in reply.headers.items():
        if key == "Date":
            if not DATE.match(value):
                raise AssertionError("no date: " + value)
        elif key == "Content-Length":
            if case.has_body and int(value) != len(reply.body):
                raise AssertionError("Content-Length %s of %d bytes" % (value, len(reply.body)))
        else:
            if key == "X-Consul-Index" and int(value) > 1:
                value = "<index>"
            out.append(names.hide("    %s: %s" % (key, value)))
    if "Date" not in reply.headers:
        raise AssertionError("an answer without a date")
    return out + (show_body(case, reply, names) if case.has_body else [])


def ask(agent, case, names):
    if case.until is not None:
        eventually(lambda: ask_once(agent, case, names).status == case.until, case.title)
    return ask_once(agent, case, names)


def ask_once(agent, case, names):
    body = names.expand("\n".join(case.body)).encode()
    head = [names.expand(case.request) + " HTTP/1.1", "Host: agent"]
    head += [names.expand(header) for header in case.headers]
    if case.body:
        head.append("Content-Length: %d" % len(body))
    with Raw(agent.http_address) as raw:
        raw.send("\r\n".join(head + ["", ""]).encode() + body)
        return raw.head() if case.stream else raw.reply(case.method)


# ---- routes ----

def routes():
    """Of docs/API.md: (method, pattern) and what the row says it is for."""
    found = {}
    with open(os.path.join(ROOT, "docs/API.md"), encoding="utf-8") as file:
        for line in file:
            match = re.match(r"\| ([A-Z]+) \| `(/v1/[^`]*)` \| ([^|]*) \|", line)
            if match:
                found[match.group(1), match.group(2).replace(":name", "")] = match.group(3)
    return found


def fits(path, pattern):
    head, slash, tail = pattern.partition("//")  # a name stands between
    if slash:
        return path.startswith(head + "/") and path.endswith("/" + tail)
    return path == pattern or pattern.endswith("/") and path.startswith(pattern)


def route_of(case, known):
    path = unquote(case.target.split("?")[0])
    fitting = [pattern for method, pattern in known if method == case.method and
               fits(path, pattern)]
    return (case.method, max(fitting, key=len)) if fitting else None


# What one server cannot show as text: it needs several, or its answer is bytes or changes with time.
# test_operator.py has these.
ELSEWHERE = {
    (("DELETE", "/v1/operator/raft/peer"), "ok"),
    (("GET", "/v1/operator/autopilot/health"), "ok"),
    (("GET", "/v1/operator/autopilot/state"), "ok"),
    (("GET", "/v1/snapshot"), "ok"),
    (("PUT", "/v1/snapshot"), "ok"),
    (("POST", "/v1/operator/raft/transfer-leader"), "ok"),
    (("POST", "/v1/operator/raft/transfer-leader"), "bad"),
    (("PUT", "/v1/operator/raft/transfer-leader"), "ok"),
    (("PUT", "/v1/operator/raft/transfer-leader"), "bad"),
}


class Contract(unittest.TestCase):
    maxDiff = None

    def run_transcript(self, path):
        transcript = Transcript(path)
        agent = Agent(transcript.config)
        self.addCleanup(agent.discard)
        agent.start()
        names = Names(agent)
        answers = [show(case, ask(agent, case, names), names) for case in transcript.cases]
        if transcript.ends is not None:
            agent.ended(transcript.ends)
        else:
            agent.stop()
        text = transcript.with_answers(answers)
        if REWRITE:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        elif text != transcript.text:
            self.fail("%s.txt differs (CAIRN_REWRITE=1 writes it anew):\n%s" % (
                transcript.name, "\n".join(difflib.unified_diff(
                    transcript.text.splitlines(), text.splitlines(), "expected", "got",
                    lineterm=""))))

    def test_every_route_has_its_cases(self):
        known = routes()
        self.assertGreater(len(known), 40)
        missing = {(route, kind) for route in known for kind in KINDS}
        for path in FILES:
            for case in Transcript(path).cases:
                route = route_of(case, known)
                if route is None or case.kind not in KINDS:
                    continue
                missing.discard((route, case.kind))
                if case.answer:
                    self.judge(case, known[route])
        self.assertEqual(sorted(missing - ELSEWHERE), [])

    def judge(self, case, purpose):
        """A row that begins with a number always answers with it."""
        status = int(case.answer[0].split()[0])
        where = "%s, %s" % (case.title, case.request)
        if case.kind == "ok" and purpose[:3].isdigit():
            self.assertEqual(status, int(purpose[:3]), where)
        elif case.kind == "ok":
            self.assertLess(status, 400, where)
        elif case.kind == "bad":
            self.assertGreaterEqual(status, 400, where)


def add_test(path):
    name = "test_" + os.path.basename(path)[:-len(".txt")].replace("-", "_")
    setattr(Contract, name, lambda self: self.run_transcript(path))


for FILE in FILES:
    add_test(FILE)

if __name__ == "__main__":
    unittest.main()
