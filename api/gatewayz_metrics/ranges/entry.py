"""What is known of one expression on one grid."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gatewayz_metrics.ranges.extents import Coverage, Extent, alive, covered, gaps
from gatewayz_metrics.ranges.matrix import Labels, Matrix, Series

_OVERHEAD = 2000


@dataclass(frozen=True, slots=True)
class Entry:
    """Coverage and series; never changed, so that an answer can be made from it while others are stored."""

    coverage: Coverage = ()
    series: Mapping[Labels, Series] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes that it takes, about."""
        return _OVERHEAD + 100 * len(self.coverage) + sum(series.size for series in self.series.values())

    def overlaid(self, piece: Matrix) -> dict[Labels, Series]:
        """Its series with a piece in place of whatever stood there, which is right for merging and for storing."""
        first, last = piece.first, piece.last
        merged = {
            labels: series.replaced(first, last, piece.series.get(labels)) for labels, series in self.series.items()
        }
        merged |= {labels: series for labels, series in piece.series.items() if labels not in merged}
        return merged

    def with_piece(self, piece: Matrix, read_at: float, slack: float) -> "Entry":
        """It with a piece stored, newer than whatever it overlaps."""
        extent = Extent(piece.first, piece.last, read_at, piece.infos)
        series = {labels: found for labels, found in self.overlaid(piece).items() if not found.is_empty}
        return Entry(covered(self.coverage, extent, slack), series)

    def pruned(self, since: float) -> "Entry":
        """It without what was read before that."""
        coverage = alive(self.coverage, since)
        if coverage == self.coverage or not coverage:
            return self if coverage else Entry()
        first, last = coverage[0].first, coverage[-1].last
        left = {labels: series.only(first, last) for labels, series in self.series.items()}
        for begin, end in gaps(coverage, first, last):
            left = {labels: series.replaced(begin, end, None) for labels, series in left.items()}
        return Entry(coverage, {labels: series for labels, series in left.items() if not series.is_empty})
