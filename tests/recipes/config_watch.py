"""Configuration that is followed: each version is seen, or a later one; none is missed for good. In
ZooKeeper: getData with a watch, set anew each time. In etcd: a watch from the revision that was read.

An index that goes back says that the server has lost its place: begin from 0."""


class ConfigWatch:
    def __init__(self, client, prefix):
        self.client = client
        self.prefix = prefix
        self.index = 0

    def next(self, wait="300s"):
        """All settings: at once the first time, then whenever one has changed."""
        entries, index = self.client.list(self.prefix + "/", self.index, wait)
        self.index = index if index >= self.index else 0
        return {entry.key[len(self.prefix) + 1:]: entry.value for entry in entries}

    def publish(self, settings):
        """All or nothing: readers never see half of a change."""
        return self.client.transact(*[("set", "%s/%s" % (self.prefix, name), {"Value": value})
                                      for name, value in settings.items()])
