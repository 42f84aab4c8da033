"""Entries by key within a bound of bytes; what was used longest ago goes first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from gatewayz_metrics.ranges.entry import Entry

# One entry may take this share: a single huge panel must not push everything else out.
_LARGEST_SHARE = 0.25


class Store:
    """A bounded set of entries."""

    def __init__(self, capacity: int, observe: Callable[[float], None] = lambda _bytes: None) -> None:
        self._capacity = capacity
        self._observe = observe
        self._entries: OrderedDict[Hashable, tuple[Entry, int]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Entry:
        """The entry under a key, an empty one when there is none."""
        found = self._entries.get(key)
        if found is None:
            return Entry()
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, entry: Entry, key_size: int) -> bool:
        """Keep an entry; False, with nothing kept under the key, when it is too large."""
        size = entry.size + key_size
        self.drop(key)
        if size > self._capacity * _LARGEST_SHARE:
            return False
        self._entries[key] = (entry, size)
        self.size += size
        while self.size > self._capacity:
            _, (_, freed) = self._entries.popitem(last=False)
            self.size -= freed
        self._observe(self.size)
        return True

    def drop(self, key: Hashable) -> None:
        """Forget one entry."""
        if key in self._entries:
            _, size = self._entries.pop(key)
            self.size -= size
            self._observe(self.size)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.size = 0
        self._observe(0)
