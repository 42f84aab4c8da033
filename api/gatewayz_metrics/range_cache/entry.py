"""An entry of the range cache."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace

from gatewayz_metrics.promql.cacheability import CacheTraits
from gatewayz_metrics.range_cache.matrix import CachedSeries, Labels, Matrix
from gatewayz_metrics.range_cache.plan import Coverage, Extent, Lifetime, add_extent, clip, find_gaps, unexpired

# Bytes, about: an entry without series, its key and its place in the store.
_OVERHEAD = 2000


@dataclass(frozen=True, slots=True, weakref_slot=True)
class CacheEntry:
    """What is known of one expression on one step grid: the parts that were read, and the series in them.

    Immutable, so that a response can be rendered from it while other results are stored.
    """

    coverage: Coverage = ()
    series: Mapping[Labels, CachedSeries] = field(default_factory=dict)
    # What the expression was judged by; kept here so that a hit need not read it again.
    traits: CacheTraits | None = None

    @property
    def size(self) -> int:
        """Its approximate size in bytes."""
        traits = 40 * len(self.traits.at_ms) if self.traits else 0
        return _OVERHEAD + traits + 100 * len(self.coverage) + sum(series.size for series in self.series.values())

    def overlaid(self, piece: Matrix) -> Generator[None, None, dict[Labels, CachedSeries]]:
        """Its series, with the piece in place of all points in the piece's range; yields after each series."""
        first, last = piece.first, piece.last
        merged: dict[Labels, CachedSeries] = {}
        for labels, series in self.series.items():
            merged[labels] = series.replaced(first, last, piece.series.get(labels))
            yield
        merged |= {labels: series for labels, series in piece.series.items() if labels not in merged}
        return merged

    def with_piece(self, piece: Matrix, read_at: float, lifetime: Lifetime) -> Generator[None, None, "CacheEntry"]:
        """The entry with a piece added, which replaces what it overlaps; `read_at` is monotonic seconds.

        Yields after each series.
        """
        whole = Extent(piece.first, piece.last, read_at, piece.notes)
        is_large = 2 * whole.steps > sum(extent.steps for extent in self.coverage)
        coverage = self.coverage
        for extent in lifetime.divide(whole, is_large=is_large):
            coverage = add_extent(coverage, extent, lifetime.slack)
        overlaid = yield from self.overlaid(piece)
        series = {labels: found for labels, found in overlaid.items() if not found.is_empty}
        return replace(self, coverage=coverage, series=series)

    def until(self, last: int) -> Generator[None, None, "CacheEntry"]:
        """The entry without what lies after a place of the grid; yields after each series."""
        if not self.coverage or self.coverage[-1].last <= last:
            return self
        first = self.coverage[0].first
        left: dict[Labels, CachedSeries] = {}
        for labels, series in self.series.items():
            if not (found := series.only(first, last)).is_empty:
                left[labels] = found
            yield
        return replace(self, coverage=clip(self.coverage, first, last), series=left)

    def pruned(self, now: float) -> Generator[None, None, "CacheEntry"]:
        """The entry without what is no longer believed at `now` (monotonic seconds); yields after each series."""
        coverage = unexpired(self.coverage, now)
        if coverage == self.coverage or not coverage:
            return self if coverage else CacheEntry()
        first, last = coverage[0].first, coverage[-1].last
        gaps = find_gaps(coverage, first, last)
        left: dict[Labels, CachedSeries] = {}
        for labels, series in self.series.items():
            found = series.only(first, last)
            for begin, end in gaps:
                found = found.replaced(begin, end, None)
            if not found.is_empty:
                left[labels] = found
            yield
        return replace(self, coverage=coverage, series=left)
