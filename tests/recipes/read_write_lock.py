"""A read-write lock: readers together, a writer alone, first come first. In ZooKeeper: the shared
locks recipe (nodes read- and write- with a sequence). In etcd: recipe.RWMutex.

Everyone stands in a line: a key of its own, held by its session, so that it goes when its owner
does. A reader waits for the writers before it, a writer for everyone before it."""

from client import ordered, unique_name


class ReadWriteLock:
    def __init__(self, client, session, prefix):
        """The session's behavior must be delete."""
        self.client = client
        self.session = session
        self.prefix = prefix
        self.key = None

    def _acquire(self, kind):
        self.key = "%s/%s-%s" % (self.prefix, kind, unique_name())
        self.client.put(self.key, acquire=self.session.id)
        index = 0
        while True:
            entries, index = self.client.list(self.prefix + "/", index)
            before = []
            for entry in ordered(entries):
                if entry.key == self.key:
                    break
                before.append(entry.key)
            else:
                raise RuntimeError("the session has ended")
            if kind == "read":
                before = [key for key in before if "/write-" in key]
            if not before:
                return

    def acquire_read(self):
        self._acquire("read")

    def acquire_write(self):
        self._acquire("write")

    def release(self):
        self.client.delete(self.key)
