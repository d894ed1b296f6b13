"""Leader election: who holds the key leads, and its value tells where the leader is. In ZooKeeper:
the leader election recipe. In etcd: concurrency.Election."""


class Election:
    def __init__(self, client, session, key):
        self.client = client
        self.session = session
        self.key = key
        self.term = 0

    def campaign(self, address):
        """Waits until we lead. Returns the term: the fencing index of all that we do as leader."""
        index = 0
        while True:
            self.term = self.client.put(self.key, address, acquire=self.session.id)
            if self.term:
                return self.term
            entry, index = self.client.get(self.key, index)
            if entry is None or entry.session is None:
                index = 0

    def resign(self):
        self.client.put(self.key, release=self.session.id)

    def leader(self):
        """Its address; None: nobody leads."""
        entry, _ = self.client.get(self.key)
        return entry.value if entry is not None and entry.session is not None else None
