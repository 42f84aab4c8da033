"""The points of an expression, put together from segments without copying them."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace

from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.segment import Segment
from gatewayz_metrics.range_cache.series_set import NO_SERIES, Rows, SeriesSet
from gatewayz_metrics.range_cache.strides import SMALL_ROWS, strides

# Neighbours are joined unless the earlier is so many times longer: a panel that refreshes would otherwise leave a
# segment behind every time, and a point is copied a few times in all.
_GROWTH = 4


@dataclass(frozen=True, slots=True)
class Timeline:
    """A set of series and their segments, in the order of time; no two overlap."""

    series: SeriesSet = NO_SERIES
    segments: tuple[Segment, ...] = ()

    @property
    def size(self) -> int:
        """Its approximate size in bytes."""
        return self.series.size + sum(segment.size for segment in self.segments)

    @property
    def written_size(self) -> int:
        """The bytes that it takes when it is written, about and rather too many."""
        points = sum(segment.size * segment.steps // (segment.end - segment.begin + 1) for segment in self.segments)
        return self.series.size + points

    def within(self, first: int, last: int) -> "Timeline":
        """What of it lies in a stretch of the grid."""
        return replace(
            self,
            segments=tuple(
                segment.clipped(first, last)
                for segment in self.segments
                if segment.first <= last and segment.last >= first
            ),
        )

    def overlaid(self, series: SeriesSet, new: Segment) -> Generator[None, None, "Timeline"]:
        """The timeline with a segment in place of all points in its stretch; yields after pieces of the work."""
        united, ours, theirs = yield from self.series.unite(series)
        segments = [*self._outside(new.first, new.last)]
        if ours is not None:
            segments = yield from _moved(segments, ours)
        segments.append((yield from new.moved(theirs)))
        return Timeline(united, tuple(sorted(segments, key=lambda segment: segment.first)))

    def settled(self, grid: StepGrid) -> Generator[None, None, "Timeline"]:
        """The same with texts that have just its points, in few segments; yields after some rows."""
        joined: list[Segment] = []
        for segment in self.segments:
            latest = yield from segment.copied(len(self.series), grid)
            while joined and joined[-1].steps < _GROWTH * latest.steps:
                latest = yield from joined.pop().joined(latest)
            joined.append(latest)
        return replace(self, segments=tuple(joined))

    def without_empty(self, grid: StepGrid) -> Generator[None, None, "Timeline"]:
        """The same without series that have no points; yields after some rows."""
        rows: list[int] = []
        for begin, end in strides(len(self.series), SMALL_ROWS, self.size):
            columns = [column for segment in self.segments for column in segment.texts(begin, end, grid) if column]
            rows += [row for row, *texts in zip(range(begin, end), *columns, strict=True) if any(texts)]
            yield
        if len(rows) == len(self.series):
            return self
        series = yield from SeriesSet.of_sorted([self.series.metrics[row] for row in rows])
        return Timeline(series, tuple((yield from _moved(self.segments, rows))))

    def _outside(self, first: int, last: int) -> Iterable[Segment]:
        for segment in self.segments:
            if segment.first < first:
                yield segment.clipped(segment.first, first - 1)
            if segment.last > last:
                yield segment.clipped(last + 1, segment.last)


def _moved(segments: Sequence[Segment], rows: Rows) -> Generator[None, None, list[Segment]]:
    found: list[Segment] = []
    for segment in segments:
        found.append((yield from segment.moved(rows)))
    return found


NO_POINTS = Timeline()
