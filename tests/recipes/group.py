"""Group membership: who is there, told as it changes. In ZooKeeper: the group membership recipe
(ephemeral children of a node). In etcd: keys under leases, watched by their prefix."""


class Group:
    def __init__(self, client, prefix):
        self.client = client
        self.prefix = prefix
        self.index = 0

    def join(self, session, name, about=""):
        """Until the session ends. Its behavior must be delete."""
        return self.client.put("%s/%s" % (self.prefix, name), about, acquire=session.id) > 0

    def members(self):
        entries, self.index = self.client.list(self.prefix + "/")
        return self._named(entries)

    def changed(self, wait="300s"):
        """Waits for a change since the last look, and looks."""
        entries, self.index = self.client.list(self.prefix + "/", self.index, wait)
        return self._named(entries)

    def _named(self, entries):
        return {entry.key[len(self.prefix) + 1:]: entry.value for entry in entries
                if entry.session is not None}
