"""A lock with a fencing index. In ZooKeeper: the lock recipe, with the zxid of the lock node as its
token. In etcd: concurrency.Mutex, with the lock key's CreateRevision."""


class Lock:
    def __init__(self, client, session, key):
        self.client = client
        self.session = session
        self.key = key
        self.fence = 0

    def acquire(self):
        """Waits until it is ours. Returns the fencing index, which grows with every grant."""
        index = 0
        while True:
            self.fence = self.client.put(self.key, acquire=self.session.id)
            if self.fence:
                return self.fence
            entry, index = self.client.get(self.key, index)
            if entry is None or entry.session is None:
                index = 0  # free, or its lock delay runs: the next attempt tells

    def release(self):
        self.client.put(self.key, release=self.session.id)

    def write(self, key, value):
        """Writes another key, but only while the lock is ours: one transaction says both."""
        return self.client.transact(("check-session", self.key, {"Session": self.session.id}),
                                    ("set", key, {"Value": value}))


class FencedStore:
    """A resource outside of cairn. It keeps the largest fencing index that it has seen and refuses
    whoever comes with a smaller one: a holder that has been overtaken."""

    def __init__(self):
        self.fence = 0
        self.value = None

    def write(self, fence, value):
        if fence < self.fence:
            return False
        self.fence = fence
        self.value = value
        return True
