"""Blocking queries: told of what changes their answer, of nothing else, and never forgotten."""

import os
import resource
import select
import threading
import time

from cairn import AgentTest, Raw, eventually


class Parked:
    """A blocking query on a connection of its own."""

    def __init__(self, agent, path, index, wait="600s", source=None):
        self.raw = Raw(agent.http_address, source=source)
        self.send(path, index, wait)

    def send(self, path, index, wait="600s"):
        mark = "&" if "?" in path else "?"
        self.raw.send(("GET %s%sindex=%d&wait=%s HTTP/1.1\r\nHost: x\r\n\r\n"
                       % (path, mark, index, wait)).encode())

    def told(self):
        """True if an answer has come already."""
        poll = select.poll()  # select stops at descriptor 1024
        poll.register(self.raw.socket, select.POLLIN)
        return bool(poll.poll(0))

    def reply(self):
        return self.raw.reply()

    def close(self):
        self.raw.close()


class BlockingTest(AgentTest):
    def park(self, path, index=None, **how):
        if index is None:
            index = self.agent.get(path).index
        parked = Parked(self.agent, path, index, **how)
        self.addCleanup(parked.close)
        parked.index = index
        return parked

    def assert_told(self, parked):
        reply = parked.reply()
        self.assertEqual(reply.status, 200)
        self.assertGreater(reply.index, parked.index)
        return reply

    def flush(self):
        """Returns once a watcher has been told of a change that is younger than all others."""
        self.agent.register("flush", node="flush")
        last = self.park("/v1/health/service/flush")
        self.agent.register("flush", node="flush", Port=int(time.monotonic() * 1000) % 60000)
        self.assert_told(last)

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.agent.process.pid))


class Blocking(BlockingTest):
    config = {"limits": {"http_max_conns_per_client": 0}}

    def test_told_of_its_own_service_only(self):
        agent = self.agent
        agent.register("mine", node="host", Port=1)
        paths = ("/v1/health/service/mine", "/v1/health/service/mine?passing",
                 "/v1/catalog/service/mine", "/v1/health/checks/mine",
                 "/v1/health/service/MINE?stale", "/v1/health/service/mine?consistent&tag=",
                 "/v1/health/service/never", "/v1/catalog/service/never")
        parked = [self.park(path) for path in paths]
        with agent.client() as client:
            for i in range(1000):
                body = ({"Node": "other", "Address": "192.0.2.1",
                         "Service": {"Service": "other-%d" % (i % 50), "Port": i}}
                        if i % 3 else
                        {"Node": "host", "SkipNodeUpdate": True,
                         "Service": {"Service": "neighbour", "Port": i}}
                        if i % 2 else
                        {"Node": "other", "Address": "192.0.2.1",
                         "Check": {"CheckID": "c", "Status": "passing", "Output": str(i)}})
                self.assertEqual(client.put("/v1/catalog/register", body).status, 200)
        agent.must_put("/v1/catalog/deregister", {"Node": "other", "ServiceID": "other-1"})
        agent.must_put("/v1/catalog/deregister", {"Node": "other"})
        self.flush()
        self.assertEqual([path for path, p in zip(paths, parked) if p.told()], [])

        agent.register("mine", node="host", Port=2)
        for path, one in zip(paths, parked):
            if "never" in path or "checks" in path:
                continue
            reply = self.assert_told(one)
            row, = reply.json
            self.assertEqual(row.get("ServicePort") or row["Service"]["Port"], 2)
            # The index that came is that of the answer: nothing is told twice.
            one.index = reply.index
            one.send(path, reply.index)
        self.flush()
        self.assertEqual([path for path, p in zip(paths, parked) if p.told()], [])
        agent.register("never", node="host")
        for path, one in zip(paths, parked):
            if "never" in path:
                self.assertEqual(len(self.assert_told(one).json), 1)

    def test_told_of_checks(self):
        agent = self.agent
        agent.must_put("/v1/agent/service/register", {
            "Name": "flips", "Check": {"TTL": "10m", "Status": "passing"}})
        every = ("/v1/health/service/flips", "/v1/health/service/flips?passing",
                 "/v1/health/checks/flips", "/v1/health/state/critical", "/v1/health/node/n1")
        parked = [self.park(path) for path in every]
        agent.must_put("/v1/agent/check/fail/service:flips")
        counts = [len(self.assert_told(p).json) for p in parked]
        self.assertEqual(counts, [1, 0, 1, 1, 2])
        parked = self.park("/v1/health/service/flips?passing")
        agent.must_put("/v1/agent/check/pass/service:flips")
        self.assertEqual(len(self.assert_told(parked).json), 1)
        # A check of the node governs every service on it.
        parked = self.park("/v1/health/service/flips?passing")
        agent.must_put("/v1/agent/check/register", {"Name": "disk", "TTL": "10m"})
        self.assertEqual(self.assert_told(parked).json, [])
        parked = self.park("/v1/health/service/flips?passing")
        agent.must_put("/v1/agent/check/deregister/disk")
        self.assertEqual(len(self.assert_told(parked).json), 1)
        agent.must_put("/v1/agent/service/deregister/flips")

    def test_told_of_lists(self):
        agent = self.agent
        agent.register("listed", node="lists", Tags=["a"])
        for path, change in (
                ("/v1/catalog/nodes", {"Node": "lists2", "Address": "192.0.2.7"}),
                ("/v1/catalog/services", {"Node": "lists", "SkipNodeUpdate": True,
                                          "Service": {"Service": "listed2"}}),
                ("/v1/catalog/services", {"Node": "lists", "SkipNodeUpdate": True,
                                          "Service": {"Service": "listed", "Tags": ["b"]}}),
                ("/v1/catalog/node/lists", {"Node": "lists", "SkipNodeUpdate": True,
                                            "Service": {"Service": "listed3"}}),
                ("/v1/catalog/node-services/lists", {"Node": "lists", "SkipNodeUpdate": True,
                                                     "Service": {"Service": "listed4"}}),
                ("/v1/catalog/node/lists", {"Node": "lists", "Address": "192.0.2.8"}),
                ("/v1/health/service/listed", {"Node": "lists", "Address": "192.0.2.9"}),
                ("/v1/health/state/any", {"Node": "lists", "SkipNodeUpdate": True,
                                          "Check": {"CheckID": "c"}}),
                ("/v1/health/node/lists", {"Node": "lists", "SkipNodeUpdate": True,
                                           "Check": {"CheckID": "c2"}}),
                ("/v1/catalog/node/33333333-0000", {
                    "Node": "by-id", "ID": "33333333-0000-4000-8000-000000000001",
                    "Address": "192.0.2.9"}),
                ("/v1/catalog/node/33333333-0000", {"Node": "by-id", "SkipNodeUpdate": True,
                                                    "Service": {"Service": "s"}}),
                ("/v1/catalog/services?node-meta=a:b", {"Node": "lists", "NodeMeta": {"a": "b"},
                                                        "Address": "192.0.2.9"}),
                ("/v1/catalog/node/later", {"Node": "later", "Address": "192.0.2.9"})):
            with self.subTest(path=path, change=change):
                before = agent.get(path)
                parked = self.park(path, before.index)
                agent.must_put("/v1/catalog/register", change)
                self.assertNotEqual(self.assert_told(parked).json, before.json)
        parked = [self.park(p) for p in ("/v1/catalog/node/lists", "/v1/catalog/nodes",
                                         "/v1/health/service/listed")]
        agent.must_put("/v1/catalog/deregister", {"Node": "lists"})
        replies = [self.assert_told(p) for p in parked]
        self.assertEqual(replies[0].body, b"null")
        self.assertNotIn("lists", [n["Node"] for n in replies[1].json])
        self.assertEqual(replies[2].json, [])

    def test_not_told_of_what_its_answer_does_not_show(self):
        self.agent.register("tagged", node="t1", Tags=["blue"], ID="b")
        parked = self.park("/v1/health/service/tagged?tag=blue")
        self.agent.register("tagged", node="t1", Tags=["green"], ID="g")
        self.flush()
        self.assertFalse(parked.told())
        self.agent.register("tagged", node="t1", Tags=["green", "blue"], ID="g")
        self.assertEqual(len(self.assert_told(parked).json), 2)

    def test_names_that_are_gone(self):
        agent = self.agent
        never = agent.get("/v1/health/service/gone").index
        self.assertGreaterEqual(never, 1)
        parked = self.park("/v1/health/service/gone", never)
        agent.register("gone")
        there = self.assert_told(parked)
        parked = self.park("/v1/health/service/gone", there.index)
        agent.deregister("gone")
        gone = self.assert_told(parked)
        self.assertEqual(gone.json, [])
        self.assertEqual(agent.get("/v1/health/service/gone").index, gone.index)
        agent.register("elsewhere", Port=9)
        after = agent.get("/v1/health/service/gone").index
        self.assertGreaterEqual(after, gone.index)
        parked = self.park("/v1/health/service/gone", after)
        self.flush()
        self.assertFalse(parked.told())
        agent.register("gone")
        self.assertEqual(len(self.assert_told(parked).json), 1)
        agent.deregister("gone")

    def test_the_wait_is_kept(self):
        path = "/v1/health/service/consul"
        before = self.agent.get(path)
        for wait, least_s in (("1s", 1), ("250ms", 0.25), ("0.5s", 0.5), ("1ms", 0)):
            start = time.monotonic()
            reply = self.agent.get("%s?index=%d&wait=%s" % (path, before.index, wait))
            self.assertGreaterEqual(time.monotonic() - start, least_s)
            self.assertEqual((reply.status, reply.index, reply.body),
                             (200, before.index, before.body))
        # These wait for the default time, five minutes.
        parked = [self.park(path, before.index, wait=wait) for wait in ("0s", "-1s", "")]
        self.flush()
        self.assertEqual([p.told() for p in parked], [False] * 3)

    def test_an_index_from_the_future_waits(self):
        self.agent.register("future", Port=1)
        path = "/v1/health/service/future"
        start = time.monotonic()
        parked = self.park(path, self.agent.get(path).index + 10 ** 6, wait="4s")
        self.agent.register("future", Port=2)
        reply = parked.reply()
        self.assertGreaterEqual(time.monotonic() - start, 4)
        self.assertEqual((reply.status, reply.json[0]["Service"]["Port"]), (200, 2))
        self.assertLess(reply.index, parked.index)

    def test_an_old_index_is_answered_at_once(self):
        self.agent.register("old", Port=1)
        first = self.agent.get("/v1/health/service/old").index
        self.agent.register("old", Port=2)
        for index in (1, first):
            reply = self.agent.get("/v1/health/service/old?wait=10m&index=%d" % index)
            self.assertGreater(reply.index, index)

    def test_pipelined_queries_are_answered_in_order(self):
        self.agent.register("first", Port=1)
        parked = self.park("/v1/health/service/first")
        parked.raw.send(b"GET /v1/status/peers HTTP/1.1\r\nHost: x\r\n\r\n")
        self.flush()
        self.assertFalse(parked.told())
        self.agent.register("first", Port=2)
        self.assertEqual(self.assert_told(parked).json[0]["Service"]["Port"], 2)
        self.assertEqual(len(parked.reply().json), 1)

    def test_hang_up_frees_the_waiter(self):
        self.agent.register("left", Port=1)
        index = self.agent.get("/v1/health/service/left").index
        before = self.descriptors()
        for _ in range(3):
            parked = [Parked(self.agent, "/v1/health/service/left", index) for _ in range(150)]
            self.flush()
            eventually(lambda: self.descriptors() >= before + 140, "they are connected")
            for one in parked:
                one.close()
            eventually(lambda: self.descriptors() <= before + 10, "closed sockets are given back")

    def test_hang_ups_and_changes_at_once(self):
        """Nothing is forgotten, and nothing touched twice, when both happen together."""
        agent = self.agent
        agent.register("busy", Port=1)
        stop = threading.Event()
        failures = []

        def come_and_go():
            index = 1
            while not stop.is_set():
                parked = [Parked(agent, "/v1/health/service/busy", index) for _ in range(8)]
                for one in parked[::2]:
                    one.close()
                for one in parked[1::2]:
                    if one.told():
                        reply = one.reply()
                        if reply is None or reply.status != 200:
                            failures.append(reply)
                        else:
                            index = reply.index
                    one.close()

        threads = [threading.Thread(target=come_and_go) for _ in range(3)]
        for thread in threads:
            thread.start()
        with agent.client() as client:
            for i in range(400):
                client.put("/v1/catalog/register", {
                    "Node": "ext", "Address": "192.0.2.1",
                    "Service": {"Service": "busy", "Port": 1 + i}})
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.flush()


class Bounds(BlockingTest):
    config = {"default_query_time": "300ms", "max_query_time": "600ms"}

    def test_configured_bounds(self):
        path = "/v1/health/service/consul"
        index = self.agent.get(path).index
        for wait, least_s in (("", 0.3), ("0s", 0.3), ("10h", 0.6)):
            start = time.monotonic()
            reply = self.park(path, index, wait=wait).reply()
            self.assertGreaterEqual(time.monotonic() - start, least_s)
            self.assertEqual((reply.status, reply.index), (200, index))


class Crowd(BlockingTest):
    config = {"limits": {"http_max_conns_per_client": 0}}

    def test_two_thousand_are_told(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        count = 2000
        before = self.descriptors()
        self.agent.register("crowd", Port=1)
        paths = ["/v1/health/service/crowd", "/v1/health/service/crowd?passing",
                 "/v1/catalog/service/crowd", "/v1/health/service/crowd?tag=t"]
        parked = [self.park(paths[i % 4], index=self.agent.get(paths[i % 4]).index)
                  for i in range(count)]
        eventually(lambda: self.descriptors() >= before + count - 10, "all are connected")
        self.flush()
        self.assertEqual(sum(p.told() for p in parked), 0)
        for port in (2, 3):
            self.agent.register("crowd", Port=port, Tags=["t"])
            for i, one in enumerate(parked):
                reply = self.assert_told(one)
                row, = reply.json
                self.assertEqual(row.get("ServicePort") or row["Service"]["Port"], port)
                one.index = reply.index
                one.send(paths[i % 4], reply.index)
