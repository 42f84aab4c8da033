"""The series of a result in a few long arrays, so that hundreds of thousands of them are no burden.

An object for each series, its labels and its numbers would take five times as much memory, and the garbage collector
would walk over all of them again and again.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import orjson


@dataclass(frozen=True, slots=True)
class Series:
    """One series: labels, and its points as Unix milliseconds and numbers, ascending."""

    labels: dict[str, str]
    times: list[int]
    values: list[float]


class PackedSeries(Sequence[Series]):
    """Series that are made when they are looked at; those with the same times share them."""

    def __init__(self) -> None:
        # Points of the longest series.
        self.longest = 0
        self._metrics = bytearray()
        self._values = array("d")
        self._times = array("q")
        # For each series where its labels and values end, and where its times begin.
        self._metrics_end = array("Q", [0])
        self._values_end = array("Q", [0])
        self._times_begin = array("Q")

    def __len__(self) -> int:
        return len(self._times_begin)

    def append(self, labels: dict[str, str], times: Sequence[int] | None, values: Sequence[float]) -> None:
        """Add a series; its times are None where they are those of the series before it."""
        if times is None:
            self._times_begin.append(self._times_begin[-1])
        else:
            self._times_begin.append(len(self._times))
            self._times.extend(times)
        self._metrics += orjson.dumps(labels)
        self._metrics_end.append(len(self._metrics))
        self._values.extend(values)
        self._values_end.append(len(self._values))
        self.longest = max(self.longest, len(values))

    @overload
    def __getitem__(self, index: int) -> Series: ...
    @overload
    def __getitem__(self, index: slice) -> list[Series]: ...
    def __getitem__(self, index: int | slice) -> Series | list[Series]:
        """One series, or some."""
        places = range(len(self))[index]
        return self._make(places) if isinstance(places, int) else [self._make(place) for place in places]

    def __iter__(self) -> Iterator[Series]:
        return map(self._make, range(len(self)))

    def _make(self, place: int) -> Series:
        metric = self._metrics[self._metrics_end[place] : self._metrics_end[place + 1]]
        begin, end = self._values_end[place], self._values_end[place + 1]
        first = self._times_begin[place]
        times = self._times[first : first + end - begin]
        return Series(orjson.loads(metric), times.tolist(), self._values[begin:end].tolist())
