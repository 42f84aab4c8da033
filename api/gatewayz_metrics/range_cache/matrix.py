"""Parses the envelope of a range query into columns of points, and renders such columns as an envelope.

The format: https://prometheus.io/docs/prometheus/latest/querying/api/#range-vectors.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import orjson

from gatewayz_metrics.cooperative import sort_in_runs
from gatewayz_metrics.errors import BadAnswer
from gatewayz_metrics.memory import AnswerBuffer
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.range_cache.fast_parse import UnexpectedLayout, format_timestamp, scan_matrix, split_notes
from gatewayz_metrics.range_cache.points import EMPTY, PointColumn
from gatewayz_metrics.upstream.pieces import AnswerPieces
from gatewayz_metrics.upstream.response import NO_NOTES, AnswerNotes, parse_envelope

# Sorting these pairs gives the order in which Prometheus writes a matrix.
Labels = tuple[tuple[str, str], ...]

_HEAD = b'{"status":"success","data":{"resultType":"matrix","result":['
# Warnings and infos of each kind that Prometheus returns; it sums up the others in one sentence.
_MOST_ANNOTATIONS = 10
# Bytes, measured: the objects of a series without points.
SERIES_BYTES = 900


class UnalignedPoints(Exception):  # caught by the range cache alone
    """A result has points at times that were not requested."""


@dataclass(frozen=True, slots=True)
class StepGrid:
    """The times `phase + index * step`, each known by its index."""

    phase_ms: int
    step_ms: int

    @classmethod
    def of(cls, span: TimeRange) -> Self:
        """The grid on which the times of a range stand."""
        return cls(span.start_ms % span.step_ms, span.step_ms)

    def index(self, time_ms: int) -> int:
        """The index of a time, or of the last time on the grid before it."""
        return (time_ms - self.phase_ms) // self.step_ms

    def time_ms(self, index: int) -> int:
        """The time with this index."""
        return self.phase_ms + index * self.step_ms


@dataclass(frozen=True, slots=True)
class CachedSeries:
    """The labels of one series as JSON, and its points: floats and native histograms separately."""

    metric: bytes
    values: PointColumn = EMPTY
    histograms: PointColumn = EMPTY

    @property
    def size(self) -> int:
        """Its approximate size in bytes; the labels count three times, as they are in the key, too, as strings."""
        return 3 * len(self.metric) + self.values.size + self.histograms.size + SERIES_BYTES

    def only(self, first: int, last: int) -> "CachedSeries":
        """The series with the points in a range of grid indices, both ends included."""
        return CachedSeries(self.metric, self.values.only(first, last), self.histograms.only(first, last))

    def replaced(self, first: int, last: int, by: "CachedSeries | None") -> "CachedSeries":
        """The series with the points in a range of grid indices replaced, or removed when `by` is None."""
        values, histograms = (by.values, by.histograms) if by else (EMPTY, EMPTY)
        return CachedSeries(
            self.metric,
            self.values.replaced(first, last, values),
            self.histograms.replaced(first, last, histograms),
        )

    @property
    def is_empty(self) -> bool:
        """Whether it has no points."""
        return not (self.values.text or self.histograms.text)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every series in a range of grid indices, both ends included, and the annotations of the result."""

    first: int
    last: int
    series: Mapping[Labels, CachedSeries]
    notes: AnswerNotes = NO_NOTES

    def until(self, last: int) -> Generator[None, None, dict[Labels, CachedSeries]]:
        """The series up to a grid index; yields after each, so that it can run cooperatively."""
        found: dict[Labels, CachedSeries] = {}
        for labels, series in self.series.items():
            found[labels] = series.only(self.first, last)
            yield
        return found


def parse_matrix(body: bytes, grid: StepGrid, first: int, last: int) -> Generator[None, None, Matrix]:
    """The matrix in a success envelope; yields after each series, so that it can run cooperatively.

    Raises UnalignedPoints for points outside the range or beside the grid, BadAnswer when the body is no matrix.
    """
    indices = {format_timestamp(grid.time_ms(index)): index for index in range(first, last + 1)}
    series: dict[Labels, CachedSeries] = {}
    try:
        data, notes = split_notes(body)
        for number, (metric, labels, values) in enumerate(scan_matrix(data, indices), 1):
            series[_sort_labels(labels)] = CachedSeries(metric, values)
            if len(series) < number:
                # A series that occurs twice: the decoder refuses the body.
                return (yield from _decode_matrix(body, grid, first, last))
            yield
    except UnexpectedLayout:
        return (yield from _decode_matrix(body, grid, first, last))
    return Matrix(first, last, series, notes)


def _decode_matrix(body: bytes, grid: StepGrid, first: int, last: int) -> Generator[None, None, Matrix]:
    pieces = AnswerPieces(body)
    found: list[tuple[Labels, CachedSeries]] = []
    try:
        for elements in pieces:
            for series in elements:
                found.append(_decode_series(series, grid, first, last))
                yield
        document = parse_envelope(pieces.envelope)
        data = document["data"]
        if data["resultType"] != "matrix":
            raise BadAnswer(f"a {str(data['resultType'])[:20]!r} instead of a matrix")
        for series in data["result"]:
            found.append(_decode_series(series, grid, first, last))
            yield
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
) -> Generator[None, None, bytes]:
    """The envelope of a range of grid indices, series sorted by their labels as Prometheus does.

    Yields after each series, so that it can run cooperatively. Raises MemoryFull.
    """
    body = AnswerBuffer()
    body.write(_HEAD)
    for labels in (yield from sort_in_runs(list(series))):
        if part := _render_series(series[labels], first, last):
            if body.size > len(_HEAD):
                body.write(b",")
            body.write(part)
        yield
    annotations = _render_annotations("warnings", warnings) + _render_annotations("infos", infos)
    body.write(b"]}" + annotations + b"}")
    return body.finish()


def _decode_series(series: dict[str, Any], grid: StepGrid, first: int, last: int) -> tuple[Labels, CachedSeries]:
    metric = series["metric"]
    labels = _sort_labels(metric)
    values, histograms = series.get("values", ()), series.get("histograms", ())
    return labels, CachedSeries(
        # Copied: what orjson returns keeps about 4 kB of memory, measured, however short it is.
        memoryview(orjson.dumps(metric)).tobytes(),
        _decode_points(values, grid, first, last),
        _decode_points(histograms, grid, first, last),
    )


def _sort_labels(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _decode_points(points: list[tuple[float, Any]], grid: StepGrid, first: int, last: int) -> PointColumn:
    phase, step = grid.phase_ms, grid.step_ms
    divided = [divmod(round(1000 * seconds) - phase, step) for seconds, _ in points]
    indices = [index for index, _ in divided]
    if any(remainder for _, remainder in divided) or (indices and (indices[0] < first or indices[-1] > last)):
        raise UnalignedPoints
    if any(left >= right for left, right in pairwise(indices)):
        raise UnalignedPoints
    return PointColumn.of(indices, [orjson.dumps(point) for point in points])


def _render_series(series: CachedSeries, first: int, last: int) -> bytes:
    values, histograms = series.values.between(first, last), series.histograms.between(first, last)
    if not values and not histograms:
        return b""
    parts = [b'{"metric":' + series.metric]
    # Without the comma after the last point.
    if values:
        parts.append(b'"values":[' + values[:-1] + b"]")
    if histograms:
        parts.append(b'"histograms":[' + histograms[:-1] + b"]")
    return b",".join(parts) + b"}"


def _render_annotations(name: str, texts: Iterable[str]) -> bytes:
    """The annotations of several results as one member of the envelope: each once, no more than Prometheus gives."""
    found = list(dict.fromkeys(texts))
    if not found:
        return b""
    # One more is left as it is: Prometheus' own list ends with such a sentence.
    if len(found) > _MOST_ANNOTATIONS + 1:
        found[_MOST_ANNOTATIONS:] = [f"{len(found) - _MOST_ANNOTATIONS} more {name[:-1]} annotations omitted"]
    text = orjson.dumps(found)
    # As Go writes JSON.
    for character in "<>&":
        text = text.replace(character.encode(), f"\\u{ord(character):04x}".encode())
    return f',"{name}":'.encode() + text
