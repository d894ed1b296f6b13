"""The commands of keys, locks and watches: what they print, how they end, and that their locks
exclude those of other clients."""

import json
import os
import signal
import subprocess
import tempfile
import unittest

import cairn
from cairn import eventually
from test_commands import ENVIRONMENT, run
from test_kv import KvTest


class CommandTest(KvTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.address = "%s:%d" % cls.agent.http_address
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)

    def run_command(self, *args, **how):
        return run(*args, address=self.address, **how)

    def good(self, *args, **how):
        code, out, err = self.run_command(*args, **how)
        self.assertEqual((code, err), (0, ""), out)
        return out

    def bad(self, *args, **how):
        code, out, err = self.run_command(*args, **how)
        self.assertEqual((code, out), (1, ""), err)
        return err

    def start(self, *args):
        process = subprocess.Popen([cairn.BINARY, *args], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True,
                                   env=dict(ENVIRONMENT, CONSUL_HTTP_ADDR=self.address,
                                            SHELL="/bin/sh"))
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def file(self, name):
        return os.path.join(self.folder.name, name)

    def exists(self, name):
        return lambda: os.path.exists(self.file(name))


class Kv(CommandTest):
    def test_put_and_get(self):
        self.assertEqual(self.good("kv", "put", "c/a", "hello"), "Success! Data written to: c/a\n")
        self.assertEqual(self.good("kv", "get", "/c/a"), "hello\n")
        self.assertEqual(self.good("kv", "get", "-base64", "c/a"), "aGVsbG8=\n")
        self.assertEqual(self.bad("kv", "get", "c/none"), "Error! No key exists at: c/none\n")
        self.assertEqual(self.bad("kv", "get"), "Error! Missing KEY argument\n")
        self.assertEqual(self.bad("kv", "put"), "Error! Missing KEY argument\n")
        self.good("kv", "put", "c/in", "-", stdin="from input")
        path = self.file("value")
        with open(path, "w", encoding="utf-8") as file:
            file.write("from file")
        self.good("kv", "put", "-flags=18446744073709551615", "c/file", "@" + path)
        self.good("kv", "put", "-base64", "c/base", "AP8=")
        self.assertEqual(self.get("c/base", "?raw").body, b"\0\xff")
        self.good("kv", "put", "c/b/1")
        self.assertEqual(self.good("kv", "get", "-recurse", "c/i"), "c/in:from input\n")
        self.assertEqual(self.good("kv", "get", "-keys", "c/"),
                         "c/a\nc/b/\nc/base\nc/file\nc/in\n")
        self.assertEqual(self.good("kv", "get", "-keys", "-recurse", "c/b"), "c/b/1\nc/base\n")
        self.assertEqual(self.good("kv", "get", "-keys", "nothing"), "")
        index = self.get("c/file").index
        self.assertEqual(self.good("kv", "get", "-detailed", "c/file"), (
            "CreateIndex      %d\nFlags            18446744073709551615\nKey              c/file\n"
            "LockIndex        0\nModifyIndex      %d\nSession          -\n"
            "Value            from file\n" % (index, index)))
        self.good("kv", "put", "odd /x//y?z", "1")
        self.assertEqual(self.good("kv", "get", "odd /x//y?z"), "1\n")
        self.assertTrue(self.bad("kv", "put", "/x", "1").startswith("Error! Failed writing data: "))

    def test_cas(self):
        self.good("kv", "put", "-cas", "cas", "1")
        self.assertEqual(self.bad("kv", "put", "-cas", "cas", "1"), (
            "Error! Did not write to cas: CAS performed with index=0 and key already exists.\n"))
        self.assertEqual(self.bad("kv", "put", "-cas", "-modify-index=1", "cas", "1"),
                         "Error! Did not write to cas: CAS failed\n")
        self.assertEqual(self.bad("kv", "delete", "-cas", "-modify-index=1", "cas"),
                         "Error! Did not delete key cas: CAS failed\n")
        for args, text in ((("-cas",), "Cannot delete a key that does not exist. Provide a "
                                       "-modify-index greater than than 0."),
                           (("-modify-index=1",), "Cannot specify -modify-index without -cas!"),
                           (("-cas", "-recurse"), "Cannot specify both -cas and -recurse!")):
            self.assertEqual(self.bad("kv", "delete", *args, "cas"), text + "\n")
        index = "-modify-index=%d" % self.get("cas").index
        self.assertEqual(self.good("kv", "delete", "-cas", index, "cas"),
                         "Success! Deleted key: cas\n")
        self.assertEqual(self.good("kv", "delete", "cas"), "Success! Deleted key: cas\n")
        self.assertEqual(self.good("kv", "delete", "-recurse", "c"),
                         "Success! Deleted keys with prefix: c\n")

    def test_locks(self):
        session = self.agent.must_put("/v1/session/create", {"LockDelay": "0s"}).json["ID"]
        self.assertEqual(self.bad("kv", "put", "-acquire", "l"),
                         "Error! Missing -session (required with -acquire and -release)\n")
        self.assertEqual(self.good("kv", "put", "-acquire", "-session=" + session, "l", "x"),
                         "Success! Lock acquired on: l\n")
        other = self.agent.must_put("/v1/session/create", None).json["ID"]
        self.assertEqual(self.bad("kv", "put", "-acquire", "-session=" + other, "l"),
                         "Error! Did not acquire lock\n")
        self.assertEqual(self.bad("kv", "put", "-release", "-session=" + other, "l"),
                         "Error! Did not release lock\n")
        self.assertEqual(self.good("kv", "put", "-release", "-session=" + session, "l"),
                         "Success! Lock released on: l\n")

    def test_export_and_import(self):
        self.good("kv", "put", "-flags=7", "ex/a", "hello")
        self.good("kv", "put", "ex/b/", "")
        out = self.good("kv", "export", "ex/")
        self.assertEqual(out, (
            '[\n\t{\n\t\t"key": "ex/a",\n\t\t"flags": 7,\n\t\t"value": "aGVsbG8="\n\t},\n'
            '\t{\n\t\t"key": "ex/b/",\n\t\t"flags": 0,\n\t\t"value": ""\n\t}\n]\n'))
        self.assertEqual(self.good("kv", "export", "nothing"), "[]\n")
        self.assertEqual(self.good("kv", "import", "-prefix=copy", "-", stdin=out),
                         "Imported: copy/ex/a\nImported: copy/ex/b/\n")
        entry = self.get("copy/ex/a").json[0]
        self.assertEqual((entry["Flags"], entry["Value"]), (7, "aGVsbG8="))

    def test_no_agent(self):
        for args in (("kv", "get", "a"), ("kv", "export"), ("watch", "-type=key", "-key=a")):
            code, _, err = run(*args, address="127.0.0.1:1")
            self.assertEqual(code, 1)
            self.assertTrue(err.startswith("Error querying Consul agent: Get "), err)


class Watch(CommandTest):
    def test_once(self):
        self.put("watch/a", "1")
        out = self.good("watch", "-type=key", "-key=watch/a")
        self.assertEqual(json.loads(out)["Value"], "MQ==")
        self.assertIn('\n    "Key": "watch/a",\n', out)
        self.assertEqual(self.good("watch", "-type=key", "-key=watch/none"), "null\n")
        self.assertEqual(json.loads(self.good("watch", "-type=keyprefix", "-prefix=none/")), [])
        self.assertEqual(self.bad("watch"), "Watch type must be specified\n")
        self.assertEqual(self.bad("watch", "-type=connect_leaf"),
                         "Type connect_leaf is not supported in the CLI tool\n")

    def test_child(self):
        self.put("watch/b/1", "1")
        path = self.file("seen")
        process = self.start("watch", "-type=keyprefix", "-prefix=watch/b/",
                             "cat >> %s; echo $CONSUL_INDEX >> %s" % (path, path))

        def lines():
            if not os.path.exists(path):
                return []
            with open(path, encoding="utf-8") as file:
                return file.read().splitlines()
        eventually(lambda: len(lines()) == 2, "told once")
        self.put("watch/other", "1")
        self.put("watch/b/2", "2")
        eventually(lambda: len(lines()) == 4, "told of the change")
        self.assertEqual([row["Key"] for row in json.loads(lines()[2])],
                         ["watch/b/1", "watch/b/2"])
        self.assertEqual(int(lines()[3]), self.get("watch/b/", "?recurse").index)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(cairn.DEADLINE_S), 0)

    def test_child_that_fails(self):
        process = self.start("watch", "-type=key", "-key=a", "exit 3")
        self.assertEqual(process.wait(cairn.DEADLINE_S), 1)
        self.assertIn("exit status 3", process.stderr.read())


class Lock(CommandTest):
    def held(self, prefix):
        rows = self.get(prefix + "/.lock").json if self.get(prefix + "/.lock").status == 200 else []
        return bool(rows) and "Session" in rows[0]

    def test_child(self):
        out = self.good("lock", "lk/a", "echo held=$CONSUL_LOCK_HELD")
        self.assertEqual(out, "held=true\n")
        self.assertEqual(self.get("lk/a/.lock").status, 404)  # nobody uses it: removed
        self.assertEqual(self.agent.get("/v1/session/list").json, [])
        self.assertEqual(self.run_command("lock", "lk/a", "exit 3")[0], 0)
        self.assertEqual(self.run_command("lock", "-child-exit-code", "lk/a", "exit 3")[0], 2)
        self.assertEqual(self.run_command("lock", "-child-exit-code", "lk/a", "true")[0], 0)
        out = self.good("lock", "-shell=false", "lk/a", "echo", "$HOME", "b c")
        self.assertEqual(out, "$HOME b c\n")
        self.assertEqual(self.good("lock", "-pass-stdin", "lk/a", "cat", stdin="in"), "in")
        self.assertEqual(self.good("lock", "lk/a", "cat", stdin="in"), "")

    def test_arguments(self):
        self.assertEqual(self.bad("lock", "lk/a"),
                         "Key prefix and child command must be specified\n")
        self.assertEqual(self.bad("lock", "-n=0", "lk/a", "true"),
                         "Lock holder limit must be positive\n")

    def test_exclusion(self):
        first = self.start("lock", "lk/b", "touch %s; while [ ! -e %s ]; do sleep 0.05; done"
                           % (self.file("b1"), self.file("b-go")))
        eventually(self.exists("b1"), "the first holds it")
        entry = self.get("lk/b/.lock").json[0]
        self.assertEqual(entry["Flags"], 0x2ddccbc058a50c18)
        session = self.agent.get("/v1/session/info/" + entry["Session"]).json[0]
        self.assertTrue(session["Name"].startswith("Consul lock for 'touch "), session)
        self.assertEqual(session["TTL"], "15s")
        self.assertEqual(self.bad("lock", "-timeout=300ms", "lk/b", "true"),
                         "Shutdown triggered or timeout during lock acquisition\n")
        second = self.start("lock", "lk/b", "touch %s" % self.file("b2"))
        eventually(lambda: len(self.agent.get("/v1/session/list").json) == 2, "the second waits")
        self.assertFalse(os.path.exists(self.file("b2")))
        with open(self.file("b-go"), "w", encoding="utf-8"):
            pass
        for process in (first, second):
            self.assertEqual(process.wait(cairn.DEADLINE_S), 0, process.stderr.read())
        self.assertTrue(os.path.exists(self.file("b2")))

    def test_lost(self):
        process = self.start("lock", "lk/c", "trap 'touch %s; exit 0' TERM; touch %s; "
                             "while :; do sleep 0.05; done" % (self.file("c-end"), self.file("c1")))
        eventually(self.exists("c1"), "it is held")
        self.agent.must_put("/v1/session/destroy/" + self.get("lk/c/.lock").json[0]["Session"])
        self.assertEqual(process.wait(cairn.DEADLINE_S), 0)
        self.assertTrue(os.path.exists(self.file("c-end")))
        self.assertIn("Lock lost, killing child", process.stderr.read())

    def test_signals(self):
        process = self.start("lock", "lk/d", "trap 'touch %s; exit 0' INT; touch %s; "
                             "while :; do sleep 0.05; done" % (self.file("d-end"), self.file("d1")))
        eventually(self.exists("d1"), "it is held")
        process.send_signal(signal.SIGINT)
        code = process.wait(cairn.DEADLINE_S)
        said = process.stderr.read()
        self.assertEqual((code, said), (0, ""))
        self.assertTrue(os.path.exists(self.file("d-end")))
        self.assertFalse(self.held("lk/d"))
        held = self.agent.must_put("/v1/session/create", None).json["ID"]
        self.agent.must_put("/v1/kv/lk/d/.lock?acquire=%s&flags=%d" % (held, 0x2ddccbc058a50c18),
                            "")
        waiting = self.start("lock", "lk/d", "true")
        eventually(lambda: len(self.agent.get("/v1/session/list").json) == 2, "it waits")
        waiting.send_signal(signal.SIGTERM)
        self.assertEqual(waiting.wait(cairn.DEADLINE_S), 1)
        self.assertEqual(waiting.stderr.read(),
                         "Shutdown triggered or timeout during lock acquisition\n")
        self.agent.must_put("/v1/session/destroy/" + held)

    def test_semaphore(self):
        def child(number):
            return self.start("lock", "-n=2", "sem", "touch %s; while [ ! -e %s ]; do sleep 0.05; "
                              "done" % (self.file("s%d" % number), self.file("s-go%d" % number)))
        processes = [child(number) for number in (1, 2)]
        for number in (1, 2):
            eventually(self.exists("s%d" % number), "both hold it")
        processes.append(child(3))
        eventually(lambda: len(self.get("sem/", "?recurse").json) == 4, "three contend")
        record = self.get("sem/.lock").json[0]
        self.assertEqual(record["Flags"], 0xe0f69a2baa414de0)
        value = json.loads(self.get("sem/.lock", "?raw").text)
        self.assertEqual((value["Limit"], len(value["Holders"])), (2, 2))
        self.assertFalse(os.path.exists(self.file("s3")))
        self.assertIn("semaphore limit conflict (lock: 2, local: 3)",
                      self.bad("lock", "-n=3", "sem", "true"))
        for number in (1, 3, 2):
            if number == 3:
                eventually(self.exists("s3"), "a place became free")
            with open(self.file("s-go%d" % number), "w", encoding="utf-8"):
                pass
        for process in processes:
            self.assertEqual(process.wait(cairn.DEADLINE_S), 0, process.stderr.read())
        self.assertEqual(self.get("sem/", "?recurse").status, 404)


if __name__ == "__main__":
    unittest.main()
