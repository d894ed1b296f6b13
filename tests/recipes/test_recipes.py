"""The recipes at work against an agent, with holders that die, pause and come late."""

import os
import signal
import subprocess
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]

from barrier import Barrier  # noqa: E402
from cairn import DEADLINE_S, AgentTest, eventually  # noqa: E402
from client import Client, Session  # noqa: E402
from config_watch import ConfigWatch  # noqa: E402
from election import Election  # noqa: E402
from group import Group  # noqa: E402
from lock import FencedStore, Lock  # noqa: E402
from read_write_lock import ReadWriteLock  # noqa: E402
from work_queue import Queue  # noqa: E402


class RecipeTest(AgentTest):
    config = {"session_ttl_min": "1s"}

    def client(self):
        return Client(self.agent.http_address)

    def session(self, **how):
        session = Session(self.client(), **how)
        self.addCleanup(session.close)
        return session

    def background(self, function, *args):
        """A thread whose result is asked for."""
        result = []

        def run():
            result.append(function(*args))
        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def join():
            thread.join(DEADLINE_S)
            self.assertTrue(result, "%s did not end" % function)
            return result[0]
        join.thread = thread
        join.done = lambda: bool(result)
        return join


# The holder of the example in docs/LOCKS.md, as a process that can be paused.
HOLDER = """
import sys
sys.path.insert(0, %r)
from client import Client, Session
from lock import Lock
client = Client((%r, %d))
session = Session(client, ttl_s=4)
lock = Lock(client, session, "job/lock")
print(lock.acquire(), flush=True)
sys.stdin.readline()            # it works, and is paused here for longer than its TTL
print(lock.write("job/result", "late"), flush=True)
"""


class Fencing(RecipeTest):
    def test_paused_holder(self):
        """Paused after it got the lock, it comes back when another has it: its write is refused,
        by cairn and by a store outside."""
        program = HOLDER % (HERE, *self.agent.http_address)
        holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(holder.stdin.close)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        store = FencedStore()
        first = int(holder.stdout.readline())
        self.assertTrue(store.write(first, "first"))
        holder.send_signal(signal.SIGSTOP)

        lock = Lock(self.client(), self.session(), "job/lock")
        second = lock.acquire()  # once the TTL of the paused one is over
        self.assertGreater(second, first)
        self.assertTrue(store.write(second, "second"))
        self.assertTrue(lock.write("job/result", "second"))

        holder.send_signal(signal.SIGCONT)
        holder.stdin.write("\n")
        holder.stdin.flush()
        self.assertEqual(holder.stdout.readline(), "False\n")
        self.assertFalse(store.write(first, "late"))
        self.assertEqual(store.value, "second")
        self.assertEqual(self.client().get("job/result")[0].value, "second")


class Coordination(RecipeTest):
    def test_lock_excludes(self):
        inside, most = [], []

        def work(number):
            client = self.client()
            lock = Lock(client, self.session(), "ex/lock")
            for _ in range(5):
                lock.acquire()
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)
                lock.release()
            return True
        for join in [self.background(work, number) for number in range(4)]:
            join()
        self.assertEqual(max(most), 1)

    def test_election(self):
        first, second = self.session(), self.session()
        a = Election(self.client(), first, "el/leader")
        b = Election(self.client(), second, "el/leader")
        term = a.campaign("10.0.0.1")
        waiting = self.background(b.campaign, "10.0.0.2")
        self.assertEqual(b.leader(), "10.0.0.1")
        first.close()  # it dies
        self.assertGreater(waiting(), term)
        self.assertEqual(b.leader(), "10.0.0.2")
        b.resign()
        self.assertIsNone(b.leader())

    def test_read_write_lock(self):
        def lock():
            return ReadWriteLock(self.client(), self.session(behavior="delete"), "rw")
        readers, writer, late = [lock(), lock()], lock(), lock()
        for reader in readers:
            reader.acquire_read()  # both at once
        writing = self.background(writer.acquire_write)
        eventually(lambda: len(self.client().list("rw/")[0]) == 3, "the writer stands in the line")
        reading = self.background(late.acquire_read)  # behind the writer: none starves
        eventually(lambda: len(self.client().list("rw/")[0]) == 4, "the reader stands behind it")
        self.assertFalse(writing.done() or reading.done())
        readers[0].release()
        self.assertFalse(writing.done())
        readers[1].session.close()  # it dies: its place goes with it
        writing()
        self.assertFalse(reading.done())
        writer.release()
        reading()

    def test_barrier(self):
        def barrier():
            return Barrier(self.client(), self.session(behavior="delete"), "barrier", 3)
        all_of_them = [barrier() for _ in range(3)]
        entering = [self.background(one.enter) for one in all_of_them[:2]]
        eventually(lambda: len(self.client().list("barrier/")[0]) == 2, "two are there")
        self.assertFalse(any(join.done() for join in entering))
        all_of_them[2].enter()
        for join in entering:
            join()
        leaving = [self.background(one.leave) for one in all_of_them[:2]]
        eventually(lambda: len(self.client().list("barrier/here/")[0]) == 1, "two have left")
        self.assertFalse(any(join.done() for join in leaving))
        all_of_them[2].leave()
        for join in leaving:
            join()

    def test_queue(self):
        queue = Queue(self.client(), "queue")
        for number in range(3):
            queue.put(str(number))
        self.assertEqual([queue.take() for _ in range(3)], ["0", "1", "2"])
        taken, lock = [], threading.Lock()

        def work():
            mine = Queue(self.client(), "queue")
            while (value := mine.take()) != "end":
                with lock:
                    taken.append(value)
            return True
        workers = [self.background(work) for _ in range(3)]
        for number in range(30):
            queue.put(str(number))
        eventually(lambda: len(taken) == 30, "all are taken")
        for _ in workers:
            queue.put("end")
        for join in workers:
            join()
        self.assertEqual(sorted(taken, key=int), [str(number) for number in range(30)])

    def test_group(self):
        group = Group(self.client(), "group")
        self.assertEqual(group.members(), {})
        a = self.session(behavior="delete")
        b = self.session(ttl_s=4, behavior="delete", renew=False)  # it will die in silence
        self.assertTrue(group.join(a, "a", "10.0.0.1"))
        self.assertEqual(group.changed(), {"a": "10.0.0.1"})
        self.assertTrue(group.join(b, "b"))
        self.assertEqual(group.changed(), {"a": "10.0.0.1", "b": ""})
        self.assertEqual(group.changed(), {"a": "10.0.0.1"})
        a.close()
        self.assertEqual(group.changed(), {})

    def test_config_watch(self):
        watch = ConfigWatch(self.client(), "config")
        self.assertEqual(watch.next(), {})
        writer = ConfigWatch(self.client(), "config")
        waiting = self.background(watch.next)
        self.assertTrue(writer.publish({"size": "1", "color": "red"}))
        self.assertEqual(waiting(), {"size": "1", "color": "red"})  # never half of it
        self.client().put("elsewhere", "x")
        waiting = self.background(watch.next)
        self.assertTrue(writer.publish({"size": "2"}))
        self.assertEqual(waiting(), {"size": "2", "color": "red"})


if __name__ == "__main__":
    unittest.main()
