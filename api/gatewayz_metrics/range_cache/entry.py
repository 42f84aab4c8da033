"""An entry of the range cache."""

from collections.abc import Generator
from dataclasses import dataclass, replace

from gatewayz_metrics.promql.cacheability import CacheTraits
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.matrix import Matrix
from gatewayz_metrics.range_cache.plan import Coverage, Extent, Lifetime, add_extent, clip, find_runs, unexpired
from gatewayz_metrics.range_cache.timeline import NO_POINTS, Timeline

# Bytes, about: an entry without series, its key and its place in the store.
_OVERHEAD = 2000


@dataclass(frozen=True, slots=True, weakref_slot=True)
class CacheEntry:
    """What is known of one expression on one step grid: the parts that were read, and the points in them.

    Immutable, so that a response can be rendered from it while other results are stored.
    """

    coverage: Coverage = ()
    points: Timeline = NO_POINTS
    # What the expression was judged by; kept here so that a hit need not read it again.
    traits: CacheTraits | None = None

    @property
    def size(self) -> int:
        """Its approximate size in bytes."""
        traits = 40 * len(self.traits.at_ms) if self.traits else 0
        return _OVERHEAD + traits + 100 * len(self.coverage) + self.points.size

    def with_piece(
        self, piece: Matrix, grid: StepGrid, read_at: float, lifetime: Lifetime
    ) -> Generator[None, None, "CacheEntry"]:
        """The entry with a piece added, which replaces what it overlaps; `read_at` is monotonic seconds.

        Yields after pieces of the work.
        """
        whole = Extent(piece.points.first, piece.points.last, read_at, piece.notes)
        is_large = 2 * whole.steps > sum(extent.steps for extent in self.coverage)
        coverage = self.coverage
        for extent in lifetime.divide(whole, is_large=is_large):
            coverage = add_extent(coverage, extent, lifetime.slack)
        points = yield from self.points.overlaid(piece.series, piece.points)
        return replace(self, coverage=coverage, points=(yield from points.settled(grid)))

    def until(self, last: int) -> "CacheEntry":
        """The entry without what lies after a place of the grid."""
        if not self.coverage or self.coverage[-1].last <= last:
            return self
        first = self.coverage[0].first
        return replace(self, coverage=clip(self.coverage, first, last), points=self.points.within(first, last))

    def pruned(self, grid: StepGrid, now: float) -> Generator[None, None, "CacheEntry"]:
        """The entry without what is no longer believed at `now` (monotonic seconds); yields after some rows."""
        coverage = unexpired(self.coverage, now)
        if coverage == self.coverage or not coverage:
            return self if coverage else CacheEntry()
        segments = [part for run in find_runs(coverage) for part in self.points.within(*run).segments]
        points = yield from replace(self.points, segments=tuple(segments)).without_empty(grid)
        return replace(self, coverage=coverage, points=(yield from points.settled(grid)))
