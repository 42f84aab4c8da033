"""A range query's envelope taken apart into columns, and columns put together into an envelope."""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import orjson

from gatewayz_metrics.errors import BadAnswer
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.range_cache.fast_parse import UnexpectedLayout, format_timestamp, scan_matrix
from gatewayz_metrics.range_cache.points import EMPTY, PointColumn
from gatewayz_metrics.upstream.response import NO_NOTES, AnswerNotes, parse_envelope

# Sorting these pairs gives the order in which Prometheus writes a matrix.
Labels = tuple[tuple[str, str], ...]

_OPEN = b'{"status":"success","data":{"resultType":"matrix","result":['
_MOST_NOTES = 10


class UnalignedPoints(Exception):  # a sign to the cache, never seen by callers
    """An answer has points where none were asked for."""


@dataclass(frozen=True, slots=True)
class StepGrid:
    """The times `phase + k * step`, told by `k`."""

    phase_ms: int
    step_ms: int

    @classmethod
    def of(cls, span: TimeRange) -> Self:
        """The grid on which the times of a range stand."""
        return cls(span.start_ms % span.step_ms, span.step_ms)

    def index(self, time_ms: int) -> int:
        """The place of a time on the grid or of the last before it."""
        return (time_ms - self.phase_ms) // self.step_ms

    def time_ms(self, index: int) -> int:
        """The time of a place."""
        return self.phase_ms + index * self.step_ms


@dataclass(frozen=True, slots=True)
class CachedSeries:
    """The points of one series, floats and histograms apart, under its labels as JSON."""

    metric: bytes
    values: PointColumn = EMPTY
    histograms: PointColumn = EMPTY

    @property
    def size(self) -> int:
        """The bytes that it takes, about: its labels stand in the key as well."""
        return 3 * len(self.metric) + self.values.size + self.histograms.size + _OVERHEAD

    def only(self, first: int, last: int) -> "CachedSeries":
        """Its points in a range alone."""
        return CachedSeries(self.metric, self.values.only(first, last), self.histograms.only(first, last))

    def replaced(self, first: int, last: int, by: "CachedSeries | None") -> "CachedSeries":
        """It with the points of a range exchanged."""
        values, histograms = (by.values, by.histograms) if by else (EMPTY, EMPTY)
        return CachedSeries(
            self.metric,
            self.values.replaced(first, last, values),
            self.histograms.replaced(first, last, histograms),
        )

    @property
    def is_empty(self) -> bool:
        """Whether it has no point left."""
        return not (self.values.text or self.histograms.text)


_OVERHEAD = 900  # measured: objects of a series without points


@dataclass(frozen=True, slots=True)
class Matrix:
    """A stretch of the grid with every series in it."""

    first: int
    last: int
    series: Mapping[Labels, CachedSeries]
    notes: AnswerNotes = NO_NOTES


def parse_matrix(body: bytes, grid: StepGrid, first: int, last: int) -> Generator[None, None, Matrix]:
    """A success body as columns, a series at a time. Raises OffGrid, or BadAnswer when it is no matrix at all."""
    places = {format_timestamp(grid.time_ms(place)): place for place in range(first, last + 1)}
    series: dict[Labels, CachedSeries] = {}
    try:
        for number, (metric, labels, values) in enumerate(scan_matrix(body, places), 1):
            series[_sort_labels(labels)] = CachedSeries(metric, values)
            if len(series) < number:
                return _decode_matrix(body, grid, first, last)
            yield
    except UnexpectedLayout:
        return _decode_matrix(body, grid, first, last)
    return Matrix(first, last, series)


def _decode_matrix(body: bytes, grid: StepGrid, first: int, last: int) -> Matrix:
    document = parse_envelope(body)
    try:
        data = document["data"]
        if data["resultType"] != "matrix":
            raise BadAnswer(f"a {str(data['resultType'])[:20]!r} instead of a matrix")
        found = [_decode_series(series, grid, first, last) for series in data["result"]]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        raise BadAnswer("a malformed matrix") from exc
    if len(by_labels := dict(found)) != len(found):
        raise BadAnswer("a series that occurs twice")
    return Matrix(first, last, by_labels, AnswerNotes.of(document))


def render_matrix(
    series: Mapping[Labels, CachedSeries],
    first: int,
    last: int,
    warnings: Iterable[str] = (),
    infos: Iterable[str] = (),
) -> bytes:
    """The envelope of a range, series in the order of their labels."""
    parts = (_render_series(series[labels], first, last) for labels in sorted(series))
    notes = b"".join(_note(name, found) for name, found in (("warnings", warnings), ("infos", infos)))
    return _OPEN + b",".join(part for part in parts if part) + b"]}" + notes + b"}"


def _decode_series(series: dict[str, Any], grid: StepGrid, first: int, last: int) -> tuple[Labels, CachedSeries]:
    metric = series["metric"]
    labels = _sort_labels(metric)
    values, histograms = series.get("values", ()), series.get("histograms", ())
    return labels, CachedSeries(
        memoryview(orjson.dumps(metric)).tobytes(),
        _decode_points(values, grid, first, last),
        _decode_points(histograms, grid, first, last),
    )


def _sort_labels(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _decode_points(points: list[tuple[float, Any]], grid: StepGrid, first: int, last: int) -> PointColumn:
    phase, step = grid.phase_ms, grid.step_ms
    places = [divmod(round(1000 * at) - phase, step) for at, _ in points]
    at = [place for place, _ in places]
    if any(rest for _, rest in places) or (at and (at[0] < first or at[-1] > last)):
        raise UnalignedPoints
    if any(left >= right for left, right in pairwise(at)):
        raise UnalignedPoints
    return PointColumn.of(at, [orjson.dumps(point) for point in points])


def _render_series(series: CachedSeries, first: int, last: int) -> bytes:
    values, histograms = series.values.between(first, last), series.histograms.between(first, last)
    if not values and not histograms:
        return b""
    parts = [b'{"metric":' + series.metric]
    if values:
        parts.append(b'"values":[' + values[:-1] + b"]")
    if histograms:
        parts.append(b'"histograms":[' + histograms[:-1] + b"]")
    return b",".join(parts) + b"}"


def _note(name: str, notes: Iterable[str]) -> bytes:
    """Notes of several answers as one list: each once, as many as Prometheus would give."""
    found = list(dict.fromkeys(notes))
    if not found:
        return b""
    if len(found) > _MOST_NOTES + 1:
        found[_MOST_NOTES:] = [f"{len(found) - _MOST_NOTES} more {name[:-1]} annotations omitted"]
    return f',"{name}":'.encode() + orjson.dumps(found)
