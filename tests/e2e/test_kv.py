"""Keys over HTTP: what is answered, byte by byte where clients look, who is woken, what survives."""

import base64
import json
import os
import random
import threading
import unittest
from urllib.parse import quote

import cairn
from cairn import AgentTest, Client, eventually
from test_blocking import Parked


def b64(text):
    return base64.b64encode(text.encode()).decode()


class KvTest(AgentTest):
    def put(self, key, value="", query=""):
        reply = self.agent.put("/v1/kv/" + quote(key) + query, value)
        self.assertEqual(reply.status, 200, reply)
        return reply.json

    def delete(self, key, query=""):
        reply = self.agent.request("DELETE", "/v1/kv/" + quote(key) + query)
        self.assertEqual(reply.status, 200, reply)
        return reply.json

    def get(self, key, query=""):
        return self.agent.get("/v1/kv/" + quote(key) + query)

    def park(self, key, query="", index=None):
        if index is None:
            index = self.get(key, query).index
        parked = Parked(self.agent, "/v1/kv/" + quote(key) + query, index)
        self.addCleanup(parked.close)
        parked.index = index
        return parked


class Answers(KvTest):
    def test_entry(self):
        self.assertIs(self.put("entry/a", "hello", "?flags=18446744073709551615"), True)
        reply = self.get("entry/a")
        index = reply.index
        self.assertEqual(reply.body.decode(), (
            '[{"LockIndex":0,"Key":"entry/a","Flags":18446744073709551615,"Value":"aGVsbG8=",'
            '"CreateIndex":%d,"ModifyIndex":%d}]' % (index, index)))
        self.assertEqual(reply.headers["X-Consul-KnownLeader"], "true")
        self.put("entry/empty")
        self.assertIsNone(self.get("entry/empty").json[0]["Value"])

    def test_raw(self):
        self.put("raw", b"\x00\xff\n".decode("latin1"))
        reply = self.get("raw", "?raw")
        self.assertEqual(reply.headers["Content-Type"], "text/plain")
        self.assertEqual(reply.headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(reply.headers["Content-Security-Policy"], "sandbox")
        self.agent.put("/v1/kv/raw2", b"\x00\xff\n")
        self.assertEqual(self.get("raw2", "?raw").body, b"\x00\xff\n")

    def test_absent(self):
        for query in ("", "?raw", "?recurse", "?keys"):
            reply = self.get("never/there", query)
            self.assertEqual((reply.status, reply.body), (404, b""))
            self.assertGreaterEqual(reply.index, 1)

    def test_keys_that_are_odd(self):
        for key in ("sp ace", "per%cent", "ü/ß", "a//b", "/leading", "plus+", "q?a&b=c", "./dot",
                    "tail/"):
            path = "/v1/kv/odd%2F" + quote(key, safe="")
            self.assertEqual(self.agent.put(path, key.encode()).status, 200, key)
            self.assertEqual(self.agent.get(path).json[0]["Key"], "odd/" + key)
        self.assertEqual(self.agent.get("/v1/kv/a//b").status, 301)
        self.assertEqual(self.agent.put("/v1/kv/" + "k" * 2001, "").status, 400)
        self.assertIs(self.put("k" * 2000), True)

    def test_lists(self):
        for key in ("l/a", "l/b/1", "l/b/2", "lx", "l"):
            self.put(key, key)
        keys = [row["Key"] for row in self.get("l", "?recurse").json]
        self.assertEqual(keys, ["l", "l/a", "l/b/1", "l/b/2", "lx"])
        self.assertEqual(self.get("l/", "?keys&separator=/").json, ["l/a", "l/b/"])
        self.assertEqual(self.get("l/", "?keys&seperator=/").json, ["l/a", "l/b/"])
        self.assertEqual(self.get("l/b/", "?keys&recurse&raw").json, ["l/b/1", "l/b/2"])

    def test_refusals(self):
        def says(reply, status, text):
            self.assertEqual((reply.status, reply.text), (status, text))

        agent = self.agent
        for method in ("GET", "PUT", "DELETE"):
            says(agent.request(method, "/v1/kv/"), 400, "Missing key name")
        says(agent.put("/v1/kv/a?release=b%20c&cas=0", ""), 400,
             "Conflicting flags: cas=0&release=b+c\n")
        says(agent.request("DELETE", "/v1/kv/a?recurse&cas=1"), 400,
             "Conflicting flags: cas=1&recurse=\n")
        says(agent.put("/v1/kv/a?flags=x", ""), 500,
             'strconv.ParseUint: parsing "x": invalid syntax')
        says(agent.put("/v1/kv/a?cas=18446744073709551616", ""), 500,
             'strconv.ParseUint: parsing "18446744073709551616": value out of range')
        says(agent.put("/v1/kv/a?acquire=", ""), 500, "raft apply failed: missing session")
        says(agent.put("/v1/kv/a?acquire=x", ""), 500, 'raft apply failed: invalid session "x"')
        says(agent.put("/v1/kv/a?dc=other", ""), 500, "No path to datacenter")
        for size in (524289, 9 * 1024 * 1024):
            says(agent.put("/v1/kv/large", b"x" * size), 413,
                 "Request body(%d bytes) too large, max size: 524288 bytes. See "
                 "https://developer.hashicorp.com/docs/agent/config/config-files"
                 "#kv_max_value_size." % size)
        self.assertEqual(agent.put("/v1/kv/large", b"x" * 524288).json, True)
        reply = agent.request("OPTIONS", "/v1/kv/a")
        self.assertEqual((reply.status, reply.headers["Allow"]), (200, "OPTIONS,GET,PUT,DELETE"))
        reply = agent.request("POST", "/v1/kv/a", "")
        self.assertEqual((reply.status, reply.text), (405, "method POST not allowed"))

    def test_cas(self):
        self.assertIs(self.put("cas", "1", "?cas=1"), False)
        self.assertIs(self.put("cas", "1", "?cas=0"), True)
        self.assertIs(self.put("cas", "1", "?cas=0"), False)
        index = self.get("cas").json[0]["ModifyIndex"]
        self.assertIs(self.put("cas", "2", "?cas=%d" % index), True)
        self.assertIs(self.delete("cas", "?cas=%d" % index), False)
        self.assertIs(self.delete("cas", "?cas=%d" % self.get("cas").index), True)
        self.assertIs(self.delete("cas", "?cas=1"), True)


class Watching(KvTest):
    def test_key(self):
        parked = self.park("w/a")  # absent, and waited for
        self.put("w/a/below", "x")
        self.put("w/other", "x")
        self.assertFalse(parked.told())
        self.put("w/a", "1")
        reply = parked.reply()
        self.assertEqual((reply.status, reply.json[0]["Value"]), (200, b64("1")))
        parked = self.park("w/a")
        self.delete("w/a")
        reply = parked.reply()
        self.assertEqual((reply.status, reply.body), (404, b""))
        self.assertGreater(reply.index, parked.index)

    def test_same_value_wakes_nobody(self):
        self.put("same", "1")
        parked = self.park("same")
        self.put("same", "1")
        self.assertEqual(self.get("same").index, parked.index)
        self.put("same", "2")
        self.assertEqual(parked.reply().json[0]["Value"], b64("2"))

    def test_prefix(self):
        self.put("p/a", "1")
        parked = self.park("p/", "?recurse")
        other = self.park("p/b", "?recurse")
        self.put("q/a", "1")
        self.put("p/a", "2")
        reply = parked.reply()
        self.assertEqual([row["Key"] for row in reply.json], ["p/a"])
        self.assertFalse(other.told())
        parked = self.park("p/", "?recurse")
        self.delete("p/", "?recurse")
        reply = parked.reply()
        self.assertEqual((reply.status, reply.body), (404, b""))
        self.assertGreater(reply.index, parked.index)
        index = reply.index
        self.put("q/b", "1")
        self.assertEqual(self.get("p/", "?recurse").index, index)


class Durability(KvTest):
    """kill -9 in the middle of writes: what was acknowledged is there."""

    def test_kill(self):
        agent = self.new_agent()
        agent.start()
        known, pending = {}, {}
        for life in range(3):
            stop = threading.Event()

            def write(number, life=life):
                source = random.Random(life * 100 + number)
                with Client(agent.http_address) as client:
                    while not stop.is_set():
                        key = "d/%d/%d" % (number, source.randrange(20))
                        value = None if source.random() < 0.3 else str(source.random())
                        pending[number] = (key, value)
                        try:
                            reply = (client.put("/v1/kv/" + key, value) if value is not None
                                     else client.request("DELETE", "/v1/kv/" + key))
                        except (OSError, cairn.http.client.HTTPException):
                            return
                        if reply.status != 200:
                            return
                        known[key] = value
                        del pending[number]

            threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            session = agent.must_put("/v1/session/create", {"Name": "life%d" % life}).json["ID"]
            agent.must_put("/v1/kv/held/%d?acquire=%s" % (life, session), "x")
            eventually(lambda: len(known) > 40, "writes are acknowledged")
            agent.kill()
            stop.set()
            for thread in threads:
                thread.join()
            agent.start()
            found = {row["Key"]: base64.b64decode(row["Value"] or "").decode()
                     for row in agent.get("/v1/kv/d/?recurse").json}
            unknown = dict(pending.values())
            for key, value in known.items():
                if found.get(key) != value:
                    self.assertIn(key, unknown)
                    self.assertEqual(found.get(key), unknown[key])
                known[key] = found.get(key)
            pending.clear()
            self.assertEqual(len(agent.get("/v1/session/list").json), life + 1)
            self.assertEqual(agent.get("/v1/kv/held/%d" % life).json[0]["Session"], session)
        agent.stop()


if __name__ == "__main__":
    unittest.main()
