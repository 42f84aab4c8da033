"""The points of many series in a stretch of the grid, as the text that the upstream wrote.

A point is found by its time in the text, which is quicker than any index over millions of points would be to make.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from sys import getsizeof

from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.series_set import ABSENT, Rows
from gatewayz_metrics.range_cache.strides import SMALL_ROWS, strides

# What the value of a point begins with, and what stands between two points: no value has it in it.
_FLOAT = (b'"', b'"],[')
_HISTOGRAM = (b"{", b"}],[")

# The texts of some rows: floats, and native histograms where any series of the segment has one.
RowTexts = tuple[Sequence[bytes], Sequence[bytes] | None]


@dataclass(frozen=True, slots=True)
class Segment:
    """The points of every series of a set from `first` to `last`, places of the grid, both included.

    A text is `[time,"value"],[time,"value"]`. Texts may begin before and end after the stretch and stand in other
    rows than the set's: they are cut and put in order when they are used. Immutable, so that an answer can be written
    from it while the cache moves on.
    """

    first: int
    last: int
    # What is in the texts.
    begin: int
    end: int
    floats: Sequence[bytes] = field(repr=False)
    histograms: Sequence[bytes] | None = field(default=None, repr=False)
    # The row of the texts for each series of the set.
    rows: Rows = field(default=None, repr=False)
    # Bytes of the texts, about.
    size: int = 0

    @classmethod
    def of(
        cls, first: int, last: int, floats: Sequence[bytes], histograms: Sequence[bytes] | None = None
    ) -> Generator[None, None, "Segment"]:
        """A segment of texts that have just its points; yields after some of them."""
        size = 0
        for texts in (floats, histograms or ()):
            for begin, end in strides(len(texts), SMALL_ROWS):
                size += sum(map(getsizeof, filter(None, texts[begin:end]))) + 8 * (end - begin)
                yield
        return cls(first, last, first, last, floats, histograms, size=size)

    @property
    def steps(self) -> int:
        """How many points of the grid it has."""
        return self.last - self.first + 1

    @property
    def is_whole(self) -> bool:
        """Whether its texts are used as they are."""
        return (self.first, self.last) == (self.begin, self.end) and self.rows is None

    def clipped(self, first: int, last: int) -> "Segment":
        """What of it lies in a stretch that it overlaps."""
        if first <= self.first and self.last <= last:
            return self
        return replace(self, first=max(self.first, first), last=min(self.last, last))

    def moved(self, rows: Rows) -> Generator[None, None, "Segment"]:
        """The segment in the rows of another set; yields after some of them."""
        if rows is None or self.rows is None:
            return replace(self, rows=self.rows if rows is None else rows)
        found: list[int] = []
        for begin, end in strides(len(rows), SMALL_ROWS):
            found += [ABSENT if row == ABSENT else self.rows[row] for row in rows[begin:end]]
            yield
        return replace(self, rows=found)

    def texts(self, begin: int, end: int, grid: StepGrid) -> RowTexts:
        """The points of some rows."""
        floats = self._cut(self._in_rows(self.floats, begin, end), grid, *_FLOAT)
        if self.histograms is None:
            return floats, None
        return floats, self._cut(self._in_rows(self.histograms, begin, end), grid, *_HISTOGRAM)

    def copied(self, count: int, grid: StepGrid) -> Generator[None, None, "Segment"]:
        """The segment with texts of its own that have just its points, in `count` rows; yields after some of them."""
        if self.is_whole:
            return self
        floats: list[bytes] = []
        histograms: list[bytes] | None = None if self.histograms is None else []
        for begin, end in strides(count, SMALL_ROWS, self.size):
            found, others = self.texts(begin, end, grid)
            floats += found
            if histograms is not None and others is not None:
                histograms += others
            yield
        return (yield from Segment.of(self.first, self.last, floats, histograms))

    def joined(self, later: "Segment") -> Generator[None, None, "Segment"]:
        """This segment and a later one as one; both are whole. Yields after some rows."""
        floats = yield from _concatenate(self.floats, later.floats, self.size + later.size)
        if self.histograms is None and later.histograms is None:
            return (yield from Segment.of(self.first, later.last, floats))
        nothing = [b""] * len(floats)
        found = _concatenate(self.histograms or nothing, later.histograms or nothing, self.size + later.size)
        return (yield from Segment.of(self.first, later.last, floats, (yield from found)))

    def _in_rows(self, texts: Sequence[bytes], begin: int, end: int) -> Sequence[bytes]:
        if self.rows is None:
            return texts[begin:end]
        return [b"" if row == ABSENT else texts[row] for row in self.rows[begin:end]]

    def _cut(self, texts: Sequence[bytes], grid: StepGrid, opening: bytes, between: bytes) -> Sequence[bytes]:
        if self.first > self.begin:
            mark = b"[%b,%b" % (grid.stamp(self.first), opening)
            starts = [text.find(mark) for text in texts]
            if -1 in starts:
                starts = [
                    seek(text, self.first, grid, between) if at < 0 else at
                    for text, at in zip(texts, starts, strict=True)
                ]
            texts = [text[at:] for text, at in zip(texts, starts, strict=True)]
        if self.last < self.end:
            mark = b"[%b,%b" % (grid.stamp(self.last + 1), opening)
            ends = [text.rfind(mark) for text in texts]
            if -1 in ends:
                ends = [
                    seek(text, self.last + 1, grid, between) if at < 0 else at
                    for text, at in zip(texts, ends, strict=True)
                ]
            # Without the comma before what is cut off.
            texts = [text[: max(0, at - 1)] if at < len(text) else text for text, at in zip(texts, ends, strict=True)]
        return texts


def seek(text: bytes, place: int, grid: StepGrid, between: bytes) -> int:
    """Where the first point at or after a place begins in a text; its length when there is none."""
    low, high = 0, len(text)
    skip = len(between) - 1
    while low < high:
        found = text.rfind(between, low, (low + high) // 2)
        at = low if found < 0 else found + skip
        seconds = float(text[at + 1 : text.index(b",", at)])
        if grid.index(round(1000 * seconds)) >= place:
            high = at
        else:
            found = text.find(between, at, high)
            low = high if found < 0 else found + skip
    return low


def _concatenate(left: Sequence[bytes], right: Sequence[bytes], size: int) -> Generator[None, None, list[bytes]]:
    found: list[bytes] = []
    for begin, end in strides(len(left), SMALL_ROWS, size):
        found += [
            b"%b,%b" % (one, other) if one and other else one or other
            for one, other in zip(left[begin:end], right[begin:end], strict=True)
        ]
        yield
    return found
