"""Values by key, bounded by bytes; the least recently used is dropped first. Results of functions, by short texts."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from threading import Lock
from typing import Generic, TypeVar

V = TypeVar("V")
K = TypeVar("K", str, bytes)


class BoundedStore(Generic[V]):
    """A least-recently-used store that is weighed in bytes; threads may share one."""

    def __init__(
        self, capacity: int, largest_share: float, observe: Callable[[float], object] = lambda _bytes: None
    ) -> None:
        self._capacity = capacity
        # One huge value must not evict all others.
        self._largest = int(capacity * largest_share)
        self._observe = observe
        self._lock = Lock()
        self._values: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> V | None:
        """The value of a key, or None."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def has_room(self, size: int) -> bool:
        """Whether a value of `size` bytes may be stored at all."""
        return size <= self._largest

    def put(self, key: Hashable, value: V, size: int) -> bool:
        """Store a value of `size` bytes. Returns False, and stores nothing for the key, when it is too large."""
        with self._lock:
            self._remove(key)
            fits = size <= self._largest
            if fits:
                self._values[key] = (value, size)
                self.size += size
            while self.size > self._capacity:
                self._remove(next(iter(self._values)))
        self._observe(self.size)
        return fits

    def discard(self, key: Hashable) -> None:
        """Drop one value, if it is there."""
        with self._lock:
            self._remove(key)
        self._observe(self.size)

    def clear(self) -> None:
        """Drop every value."""
        with self._lock:
            self._values.clear()
            self.size = 0
        self._observe(0)

    def _remove(self, key: Hashable) -> None:
        _, size = self._values.pop(key, (None, 0))
        self.size -= size


def remember_short(size: int, longest: int = 512) -> Callable[[Callable[[K], V]], Callable[[K], V]]:
    """Remember what a function makes of its last `size` texts, but not of those with more than `longest` characters.

    A cache that is keyed by what callers send would hold megabytes for whoever sends them.
    """

    def decorate(function: Callable[[K], V]) -> Callable[[K], V]:
        remembered = lru_cache(size)(function)

        @wraps(function)
        def answer(text: K) -> V:
            return remembered(text) if len(text) <= longest else function(text)

        return answer

    return decorate
