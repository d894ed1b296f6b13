"""Transactions over HTTP. What each verb does is told by tests/transcripts/kv/txn.txt."""

import json
import threading
import unittest

from test_kv import KvTest, b64


def kv(verb, key, value=None, **fields):
    op = dict({"Verb": verb, "Key": key}, **fields)
    if value is not None:
        op["Value"] = b64(value)
    return {"KV": op}


class Txn(KvTest):
    def txn(self, *ops, query=""):
        return self.agent.put("/v1/txn" + query, list(ops))

    def test_answers(self):
        reply = self.txn(kv("set", "t/a", "1", Flags=18446744073709551615), kv("get", "t/a"))
        index = self.get("t/a").index
        row = ('"LockIndex":0,"Key":"t/a","Flags":18446744073709551615,"Value":%s,'
               '"CreateIndex":%d,"ModifyIndex":%d')
        self.assertEqual((reply.status, reply.text), (200, (
            '{"Results":[{"KV":{' + row % ("null", index, index) + '}},{"KV":{' +
            row % ('"MQ=="', index, index) + '}}],"Errors":null}')))
        reply = self.txn(kv("get", "t/a"), kv("get", "t/none"))
        self.assertEqual(reply.status, 409)
        self.assertEqual(reply.json["Errors"],
                         [{"OpIndex": 1, "What": 'key "t/none" doesn\'t exist'}])
        self.assertIsNone(reply.json["Results"])

    def test_read_path(self):
        self.put("r/a", "1")
        for query in ("", "?stale", "?consistent"):
            reply = self.txn(kv("get-tree", "r/"), query=query)
            self.assertEqual(reply.status, 200)
            self.assertEqual(reply.headers["X-Consul-KnownLeader"], "true")
            self.assertNotIn("X-Consul-Index", reply.headers)
            self.assertEqual(reply.json["Index"], 1)
        self.assertEqual(self.agent.put("/v1/txn", "[]").json["Results"], [])
        reply = self.txn(kv("get", "r/a"), query="?stale&consistent")
        self.assertEqual(reply.status, 400)

    def test_nothing_is_applied_of_one_that_fails(self):
        self.put("n/a", "1")
        parked = self.park("n/", "?recurse")
        reply = self.txn(kv("delete-tree", "n/"), kv("set", "n/b", "2"), kv("cas", "n/c", "3", Index=9))
        self.assertEqual((reply.status, reply.json["Errors"]), (409, [
            {"OpIndex": 2, "What": 'failed to set key "n/c", index is stale'}]))
        self.assertEqual([row["Key"] for row in self.get("n/", "?recurse").json], ["n/a"])
        self.assertFalse(parked.told())
        self.put("n/a", "2")
        self.assertEqual(parked.reply().status, 200)

    def test_limits(self):
        reply = self.agent.put("/v1/txn", [kv("get", "a")] * 129)
        self.assertEqual((reply.status, reply.text),
                         (413, "Transaction contains too many operations (129 > 128)"))
        self.assertEqual(self.txn(*[kv("set", "lim/%d" % i, "x") for i in range(128)]).status, 200)
        body = json.dumps([kv("set", "big", "x" * 600000)])
        reply = self.agent.put("/v1/txn", body)
        self.assertEqual((reply.status, reply.text), (413, (
            "Request body(%d bytes) too large, max size: 524288 bytes. See "
            "https://developer.hashicorp.com/docs/agent/config/config-files#txn_max_req_len."
            % len(body))))
        for body, text in (("[{", "Failed to parse body: unexpected EOF"),
                           ('[{"X":1}]', 'Failed to parse body: json: unknown field "X"')):
            reply = self.agent.put("/v1/txn", body)
            self.assertEqual((reply.status, reply.text), (400, text))

    def test_catalog(self):
        reply = self.txn({"Node": {"Verb": "set", "Node": {"Node": "tn", "Address": "192.0.2.9"}}},
                         {"Service": {"Verb": "set", "Node": "tn", "Service": {"Service": "ts"}}},
                         {"Check": {"Verb": "set", "Check": {
                             "Node": "tn", "Name": "tc", "ServiceID": "ts", "Status": "passing"}}})
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual([list(row)[0] for row in reply.json["Results"]],
                         ["Node", "Service", "Check"])
        self.assertEqual(self.agent.passing("ts"), ["ts"])
        reply = self.txn({"Node": {"Verb": "delete", "Node": {"Node": "tn"}}},
                         {"Node": {"Verb": "get", "Node": {"Node": "tn"}}})
        self.assertEqual((reply.status, reply.json["Errors"]),
                         (409, [{"OpIndex": 1, "What": 'node "tn" doesn\'t exist'}]))
        self.assertEqual(self.agent.passing("ts"), ["ts"])

    def test_counters_add_up(self):
        """Clients move units between two keys by cas in transactions; none is lost or made."""
        self.put("bank/a", "1000")
        self.put("bank/b", "0")

        def move():
            done = 0
            with self.agent.client() as client:
                while done < 10:
                    rows = client.put("/v1/txn", [kv("get", "bank/a"), kv("get", "bank/b")]).json
                    a, b = (row["KV"] for row in rows["Results"])
                    values = [int(__import__("base64").b64decode(x["Value"])) for x in (a, b)]
                    reply = client.put("/v1/txn", [
                        kv("cas", "bank/a", str(values[0] - 1), Index=a["ModifyIndex"]),
                        kv("cas", "bank/b", str(values[1] + 1), Index=b["ModifyIndex"])])
                    done += reply.status == 200
        threads = [threading.Thread(target=move) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.get("bank/a", "?raw").text, "960")
        self.assertEqual(self.get("bank/b", "?raw").text, "40")


if __name__ == "__main__":
    unittest.main()
