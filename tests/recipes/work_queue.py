"""A queue: each item is taken once, the oldest first. In ZooKeeper: the queue recipe (sequential
nodes, the smallest deleted). In etcd: recipe.Queue."""

from client import unique_name


class Queue:
    def __init__(self, client, prefix):
        self.client = client
        self.prefix = prefix

    def put(self, value):
        """The item's place is the index of the log at which it was written: nobody counts."""
        self.client.put("%s/%s" % (self.prefix, unique_name()), value)

    def take(self, wait="300s"):
        """The oldest item, waited for; None: there came none. Deleting it by its index takes it, and
        only one can: who wakes and finds nothing was second, and waits again."""
        index = 0
        while True:
            entries, next_index = self.client.list(self.prefix + "/", index, wait)
            for entry in sorted(entries, key=lambda entry: entry.index):
                # True also says that it was gone already, so existence is part of the question.
                if self.client.transact(("check-index", entry.key, {"Index": entry.index}),
                                        ("delete", entry.key, {})):
                    return entry.value
            if not entries and next_index == index:
                return None
            index = next_index if not entries else 0
