"""A double barrier: all begin when all have come, and leave when all are done. In ZooKeeper: the
double barrier recipe. In etcd: recipe.DoubleBarrier."""

from client import unique_name


class Barrier:
    def __init__(self, client, session, prefix, count):
        """The session's behavior must be delete: who dies does not hold up the others for ever."""
        self.client = client
        self.session = session
        self.prefix = prefix
        self.count = count
        self.key = "%s/here/%s" % (prefix, unique_name())

    def enter(self):
        """Waits until all have come. A key that stays tells it, so nobody who is late in looking
        misses the moment at which all were there."""
        self.client.put(self.key, acquire=self.session.id)
        index = 0
        while True:
            entries, index = self.client.list(self.prefix + "/", index)
            here = [entry for entry in entries if "/here/" in entry.key]
            if any(entry.key.endswith("/ready") for entry in entries):
                return
            if len(here) >= self.count:
                self.client.put(self.prefix + "/ready")
                return

    def leave(self):
        """Waits until all have left."""
        self.client.delete(self.key)
        index = 0
        while True:
            entries, index = self.client.list(self.prefix + "/", index)
            if not any("/here/" in entry.key for entry in entries):
                self.client.delete(self.prefix + "/ready")
                return
