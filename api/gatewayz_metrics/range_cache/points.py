"""The points of one series: where they stand on the grid, and their text as the upstream wrote it."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self


@dataclass(frozen=True, slots=True)
class PointColumn:
    """Points in time order; never changed, so that whoever holds one keeps what it saw.

    `text` is `[time,"value"],[time,"value"],` and `ends` says where each point's comma ends,
    so a range of points is one slice and no number is ever written again.
    """

    at: "array[int]"
    ends: "array[int]"
    text: bytes

    @classmethod
    def of(cls, at: Sequence[int], points: Sequence[bytes]) -> Self:
        """A column of points, each the text of a JSON list."""
        text = b",".join(points) + b"," if points else b""
        return cls(array("q", at), array("I", list(accumulate(len(point) + 1 for point in points))), text)

    def __len__(self) -> int:
        return len(self.at)

    @property
    def size(self) -> int:
        """The bytes that it takes, about."""
        return len(self.text) + 12 * len(self.at)

    def between(self, first: int, last: int) -> bytes:
        """The text of the points in a range of the grid, each with its comma."""
        begin, end = bisect_left(self.at, first), bisect_right(self.at, last)
        return self.text[self._start(begin) : self._start(end)]

    def only(self, first: int, last: int) -> "PointColumn":
        """The points in a range alone."""
        begin, end = bisect_left(self.at, first), bisect_right(self.at, last)
        if begin == 0 and end == len(self.at):
            return self
        shift = self._start(begin)
        ends = array("I", [place - shift for place in self.ends[begin:end]])
        return PointColumn(self.at[begin:end], ends, self.text[shift : self._start(end)])

    def replaced(self, first: int, last: int, by: "PointColumn") -> "PointColumn":
        """The column with everything in a range exchanged for other points of that range."""
        begin, end = bisect_left(self.at, first), bisect_right(self.at, last)
        if begin == end and not by.at:
            return self
        head, tail = self._start(begin), self._start(end)
        moved = head + len(by.text) - tail
        ends = self.ends[:begin]
        ends.extend([place + head for place in by.ends])
        ends.extend([place + moved for place in self.ends[end:]] if moved else self.ends[end:])
        return PointColumn(self.at[:begin] + by.at + self.at[end:], ends, self.text[:head] + by.text + self.text[tail:])

    def _start(self, point: int) -> int:
        return self.ends[point - 1] if point else 0


EMPTY = PointColumn.of((), ())
