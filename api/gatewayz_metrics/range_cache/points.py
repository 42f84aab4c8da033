"""The points of one series: their indices on the step grid, and their text as the upstream wrote it."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

# Bytes of a point beside its text: one number in each of the two arrays.
POINT_BYTES = 12


@dataclass(frozen=True, slots=True)
class PointColumn:
    """Points in time order; immutable, so that a response can be rendered from it while the cache moves on.

    `text` is `[time,"value"],[time,"value"],` and `ends` holds the offset after each point's comma.
    A range of points is therefore one slice, and no number is ever formatted again.
    """

    indices: "array[int]"
    ends: "array[int]"
    text: bytes

    @classmethod
    def of(cls, indices: Sequence[int], points: Sequence[bytes]) -> Self:
        """A column of points, each the text of a JSON array, at ascending grid indices."""
        text = b",".join(points) + b"," if points else b""
        return cls(array("q", indices), array("I", list(accumulate(len(point) + 1 for point in points))), text)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def size(self) -> int:
        """Its approximate size in bytes: the text, and POINT_BYTES per point in the arrays."""
        return len(self.text) + POINT_BYTES * len(self.indices)

    def between(self, first: int, last: int) -> bytes:
        """The text of the points in a range of indices, both ends included, each with its comma."""
        begin, end = bisect_left(self.indices, first), bisect_right(self.indices, last)
        return self.text[self._start(begin) : self._start(end)]

    def only(self, first: int, last: int) -> "PointColumn":
        """A column of the points in a range of indices, both ends included."""
        begin, end = bisect_left(self.indices, first), bisect_right(self.indices, last)
        # Nothing is cut off, and columns are immutable, so no copy is needed.
        if begin == 0 and end == len(self.indices):
            return self
        shift = self._start(begin)
        ends = array("I", [offset - shift for offset in self.ends[begin:end]])
        return PointColumn(self.indices[begin:end], ends, self.text[shift : self._start(end)])

    def replaced(self, first: int, last: int, by: "PointColumn") -> "PointColumn":
        """A column in which the points in a range of indices are replaced by those of another column."""
        begin, end = bisect_left(self.indices, first), bisect_right(self.indices, last)
        if begin == end and not by.indices:
            return self
        head, tail = self._start(begin), self._start(end)
        moved = head + len(by.text) - tail
        ends = self.ends[:begin]
        ends.extend([offset + head for offset in by.ends])
        ends.extend([offset + moved for offset in self.ends[end:]] if moved else self.ends[end:])
        indices = self.indices[:begin] + by.indices + self.indices[end:]
        return PointColumn(indices, ends, self.text[:head] + by.text + self.text[tail:])

    def _start(self, point: int) -> int:
        """The offset at which the text of a point, given by its position in the column, starts."""
        return self.ends[point - 1] if point else 0


EMPTY = PointColumn.of((), ())
