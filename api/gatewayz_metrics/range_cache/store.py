"""The entries of the range cache, bounded by bytes; the least recently used is dropped first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from gatewayz_metrics.range_cache.matrix import CachedSeries, Labels, Matrix
from gatewayz_metrics.range_cache.plan import Coverage, Extent, add_extent, find_gaps, unexpired

# The share of the capacity that one entry may have: one huge panel must not evict all others.
_LARGEST_SHARE = 0.25
# Bytes, about: an entry without series, its key and its place in the store.
_OVERHEAD = 2000


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What is known of one expression on one step grid: the parts that were read, and the series in them.

    Immutable, so that a response can be rendered from it while other results are stored.
    """

    coverage: Coverage = ()
    series: Mapping[Labels, CachedSeries] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Its approximate size in bytes."""
        return _OVERHEAD + 100 * len(self.coverage) + sum(series.size for series in self.series.values())

    def overlaid(self, piece: Matrix) -> dict[Labels, CachedSeries]:
        """Its series, with the piece in place of all points in the piece's range."""
        first, last = piece.first, piece.last
        merged = {
            labels: series.replaced(first, last, piece.series.get(labels)) for labels, series in self.series.items()
        }
        merged |= {labels: series for labels, series in piece.series.items() if labels not in merged}
        return merged

    def with_piece(self, piece: Matrix, read_at: float, slack: float) -> "CacheEntry":
        """The entry with a piece added, which replaces what it overlaps; `read_at` is monotonic seconds."""
        extent = Extent(piece.first, piece.last, read_at, piece.notes.infos)
        series = {labels: found for labels, found in self.overlaid(piece).items() if not found.is_empty}
        return CacheEntry(add_extent(self.coverage, extent, slack), series)

    def pruned(self, since: float) -> "CacheEntry":
        """The entry without what was read before `since` (monotonic seconds)."""
        coverage = unexpired(self.coverage, since)
        if coverage == self.coverage or not coverage:
            return self if coverage else CacheEntry()
        first, last = coverage[0].first, coverage[-1].last
        left = {labels: series.only(first, last) for labels, series in self.series.items()}
        for begin, end in find_gaps(coverage, first, last):
            left = {labels: series.replaced(begin, end, None) for labels, series in left.items()}
        return CacheEntry(coverage, {labels: series for labels, series in left.items() if not series.is_empty})


class EntryStore:
    """Entries by key within a capacity in bytes; `observe` is called with the size after each change."""

    def __init__(self, capacity: int, observe: Callable[[float], None] = lambda _bytes: None) -> None:
        self._capacity = capacity
        self._observe = observe
        self._entries: OrderedDict[Hashable, tuple[CacheEntry, int]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> CacheEntry:
        """The entry of a key, or an empty one."""
        found = self._entries.get(key)
        if found is None:
            return CacheEntry()
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, entry: CacheEntry, key_size: int) -> bool:
        """Store an entry. Returns False, and stores nothing for the key, when it is too large."""
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
        """Drop one entry."""
        if key in self._entries:
            _, size = self._entries.pop(key)
            self.size -= size
            self._observe(self.size)

    def clear(self) -> None:
        """Drop every entry."""
        self._entries.clear()
        self.size = 0
        self._observe(0)
