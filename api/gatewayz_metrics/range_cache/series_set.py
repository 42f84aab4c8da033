"""The series of a range query in the order in which Prometheus writes them."""

from bisect import bisect_left
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from sys import getsizeof
from typing import Any

import orjson

from gatewayz_metrics.cooperative import sort_in_runs
from gatewayz_metrics.errors import BadAnswer
from gatewayz_metrics.range_cache.strides import SMALL_ROWS, strides

# Sorting these pairs gives the order in which Prometheus writes a matrix.
Labels = tuple[tuple[str, str], ...]

# For each row of one set of series its row in another; ABSENT where it has none. None where all rows stay as they are.
Rows = Sequence[int] | None
ABSENT = -1
# Up to this share of series that are new to a set, each is put into its place; else all are sorted anew.
_FEW = 1 / 16


@dataclass(frozen=True, slots=True)
class SeriesSet:
    """Label sets as JSON, no two alike, sorted by their labels. Immutable: equal sets are mostly one object."""

    metrics: Sequence[bytes] = field(default=(), repr=False)
    # Bytes, about.
    size: int = 0

    @classmethod
    def of_sorted(cls, metrics: Sequence[bytes]) -> Generator[None, None, "SeriesSet"]:
        """A set of label sets that are known to be sorted; yields after some of them."""
        size = 0
        for begin, end in strides(len(metrics), SMALL_ROWS):
            size += sum(map(getsizeof, metrics[begin:end])) + 8 * (end - begin)
            yield
        return cls(metrics, size)

    def __len__(self) -> int:
        return len(self.metrics)

    def read(self, metrics: Sequence[bytes]) -> Generator[None, None, tuple["SeriesSet", Rows]]:
        """The label sets of an answer as a set, and for each of its rows the place in the answer.

        What is known already is not read again: it is this set when it has the same. Yields after some of them. Raises
        BadAnswer for what is no label set, or when two are alike.
        """
        if (yield from _are_equal(metrics, self.metrics)):
            return self, None
        places = yield from _places(self.metrics)
        ranks = yield from _rows(places, metrics)
        if (yield from _are_sorted(metrics, ranks)):
            return (yield from SeriesSet.of_sorted(metrics)), None
        rows = yield from _sort(metrics, ranks)
        return (yield from SeriesSet.of_sorted([metrics[row] for row in rows])), rows

    def unite(self, other: "SeriesSet") -> Generator[None, None, tuple["SeriesSet", Rows, Rows]]:
        """This set with the series of another, and the rows that each of the two has in it.

        A series that both have is written as it is here. Yields after pieces of the work.
        """
        if self is other or not other.metrics:
            return self, None, None if self is other else [ABSENT] * len(self)
        if not self.metrics:
            return other, [ABSENT] * len(other), None
        if (yield from _are_equal(self.metrics, other.metrics)):
            return self, None, None
        known = yield from _places(self.metrics)
        new: list[bytes] = []
        for begin, end in strides(len(other), SMALL_ROWS):
            new += [metric for metric in other.metrics[begin:end] if metric not in known]
            yield
        # What looks new may be known in another writing, as of two engines behind one address.
        metrics, written = yield from _with_new(self.metrics, new)
        united = self if metrics is self.metrics else (yield from SeriesSet.of_sorted(metrics))
        named = [written.get(metric, metric) for metric in other.metrics] if written else other.metrics
        places = yield from _places(named)
        theirs = yield from _rows(places, metrics)
        ours: Rows = None
        if len(metrics) != len(self.metrics):
            ours = yield from _rows(known, metrics)
        return united, ours, theirs


def _are_equal(left: Sequence[bytes], right: Sequence[bytes]) -> Generator[None, None, bool]:
    if left is right or len(left) != len(right):
        return left is right
    for begin, end in strides(len(left), SMALL_ROWS):
        if left[begin:end] != right[begin:end]:
            return False
        yield
    return True


def _places(metrics: Sequence[bytes]) -> Generator[None, None, dict[bytes, int]]:
    found: dict[bytes, int] = {}
    for begin, end in strides(len(metrics), SMALL_ROWS):
        found.update(zip(metrics[begin:end], range(begin, end), strict=True))
        yield
    return found


def _rows(places: dict[bytes, int], metrics: Sequence[bytes]) -> Generator[None, None, list[int]]:
    found: list[int] = []
    for begin, end in strides(len(metrics), SMALL_ROWS):
        found += [places.get(metric, ABSENT) for metric in metrics[begin:end]]
        yield
    return found


def _are_sorted(metrics: Sequence[bytes], ranks: Sequence[int]) -> Generator[None, None, bool]:
    """Whether label sets rise strictly; those with a rank are mostly not read, as their order is known."""
    before: Labels | None = None
    for number, (rank, metric) in enumerate(zip(ranks, metrics, strict=True)):
        labels: Labels | None = None
        if ABSENT in ranks[max(0, number - 1) : number + 1]:
            labels = read_labels(metric)
            if number and (before or read_labels(metrics[number - 1])) >= labels:
                return False
        elif number and ranks[number - 1] >= rank:
            return False
        before = labels
        if number % 64 == 0:
            yield
    return True


def _sort(metrics: Sequence[bytes], ranks: Sequence[int]) -> Generator[None, None, list[int]]:
    """The places of label sets in their order. Raises BadAnswer when two are alike."""
    keys: list[Any] = []
    if ABSENT in ranks:
        for metric in metrics:
            keys.append(read_labels(metric))
            yield
    else:
        keys += ranks
    rows = yield from sort_in_runs(range(len(keys)), key=keys.__getitem__)
    for number, (left, right) in enumerate(pairwise(rows)):
        if keys[left] == keys[right]:
            raise BadAnswer("a series that occurs twice")
        if number % 64 == 0:
            yield
    while keys:
        # Letting go of all at once would take as long as making them.
        del keys[-SMALL_ROWS:]
        yield
    return rows


def _with_new(
    known: Sequence[bytes], new: Sequence[bytes]
) -> Generator[None, None, tuple[Sequence[bytes], dict[bytes, bytes]]]:
    """Sorted label sets with some more in their places, and those of the new that are known in another writing."""
    if not new:
        return known, {}
    written: dict[bytes, bytes] = {}
    if len(new) <= max(8, _FEW * len(known)):
        found = list(known)
        for metric in new:
            labels = read_labels(metric)
            at = bisect_left(found, labels, key=read_labels)
            if at < len(found) and read_labels(found[at]) == labels:
                written[metric] = found[at]
            else:
                found.insert(at, metric)
            yield
        return found, written
    by_labels: dict[Labels, bytes] = {}
    for metric in (*known, *new):
        first = by_labels.setdefault(read_labels(metric), metric)
        if first is not metric:
            written[metric] = first
        yield
    ordered = yield from sort_in_runs(list(by_labels))
    return [by_labels[labels] for labels in ordered], written


def read_labels(metric: bytes) -> Labels:
    """A label set in the order of its names. Raises BadAnswer for what is none."""
    try:
        labels = orjson.loads(metric)
        # Raises TypeError where one is no text.
        "".join(labels.values())
        return tuple(sorted(labels.items()))
    except (orjson.JSONDecodeError, AttributeError, TypeError) as exc:
        raise BadAnswer("a malformed matrix") from exc


NO_SERIES = SeriesSet()
