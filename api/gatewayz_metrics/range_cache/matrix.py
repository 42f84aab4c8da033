"""Parses the envelope of a range query into columns of points, and renders such columns as an envelope.

The format: https://prometheus.io/docs/prometheus/latest/querying/api/#range-vectors.
"""

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import orjson

from gatewayz_metrics.errors import BadAnswer
from gatewayz_metrics.memory import AnswerBuffer, reserve_memory
from gatewayz_metrics.range_cache.fast_parse import Layout, Stamps, UnexpectedLayout, scan_matrix
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.segment import RowTexts, Segment
from gatewayz_metrics.range_cache.series_set import NO_SERIES, SeriesSet
from gatewayz_metrics.range_cache.strides import SMALL_ROWS, strides
from gatewayz_metrics.range_cache.timeline import Timeline
from gatewayz_metrics.upstream.pieces import AnswerPieces
from gatewayz_metrics.upstream.response import NO_NOTES, AnswerNotes, parse_envelope

_HEAD = b'{"status":"success","data":{"resultType":"matrix","result":['
_METRIC = b'{"metric":'
_VALUES = b',"values":['
_CLOSE = b"]}"
_NEXT = b"]}," + _METRIC
# Warnings and infos of each kind that Prometheus returns; it sums up the others in one sentence.
_MOST_ANNOTATIONS = 10
# Bytes of an envelope that is put together in one go, which takes a millisecond.
_IN_ONE_GO = 2**22
_FLOAT = re.compile(r"[0-9.+eINanf-]+")


class UnalignedPoints(Exception):  # caught by the range cache alone
    """A result has points at times that were not requested."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The series of a result with their points in a stretch of the grid, and its annotations."""

    series: SeriesSet
    points: Segment
    notes: AnswerNotes = NO_NOTES


@dataclass(frozen=True, slots=True)
class RenderedMatrix:
    """An envelope, and how many series it has."""

    body: bytes
    series: int


def parse_matrix(
    body: bytes, grid: StepGrid, first: int, last: int, known: SeriesSet = NO_SERIES
) -> Generator[None, None, Matrix]:
    """The matrix in a success envelope; yields after some series, so that it can run cooperatively.

    Labels that are `known` need not be read again. Raises UnalignedPoints for points outside the range or beside the
    grid, BadAnswer when the body is no matrix.
    """
    metrics: list[bytes] = []
    floats: list[bytes] = []
    histograms: list[bytes] = []
    try:
        layout = Layout.of(body)
        stamps = yield from Stamps.of(grid, first, last)
        for rows in scan_matrix(body, layout, stamps):
            metrics += rows.metrics
            floats += rows.floats
            histograms += rows.histograms
            yield
        points = yield from Segment.of(first, last, floats, histograms if any(histograms) else None)
        return (yield from _to_matrix(metrics, points, known, layout.notes))
    except (UnexpectedLayout, BadAnswer):
        return (yield from _decode_matrix(body, grid, first, last, known))


def _decode_matrix(
    body: bytes, grid: StepGrid, first: int, last: int, known: SeriesSet = NO_SERIES
) -> Generator[None, None, Matrix]:
    pieces = AnswerPieces(body)
    metrics: list[bytes] = []
    floats: list[bytes] = []
    histograms: list[bytes] = []

    def add(series: dict[str, Any]) -> None:
        # Copied: what orjson returns keeps about 4 kB of memory, measured, however short it is.
        metrics.append(memoryview(orjson.dumps(series["metric"])).tobytes())
        floats.append(_decode_floats(series.get("values", ()), grid, first, last))
        histograms.append(_decode_histograms(series.get("histograms", ()), grid, first, last))

    try:
        for elements in pieces:
            for series in elements:
                add(series)
                yield
        document = parse_envelope(pieces.envelope)
        data = document["data"]
        if data["resultType"] != "matrix":
            raise BadAnswer(f"a {str(data['resultType'])[:20]!r} instead of a matrix")
        for series in data["result"]:
            add(series)
            yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        raise BadAnswer("a malformed matrix") from exc
    points = yield from Segment.of(first, last, floats, histograms if any(histograms) else None)
    return (yield from _to_matrix(metrics, points, known, AnswerNotes.of(document)))


def _to_matrix(
    metrics: Sequence[bytes], points: Segment, known: SeriesSet, notes: AnswerNotes
) -> Generator[None, None, Matrix]:
    series, rows = yield from known.read(metrics)
    return Matrix(series, replace(points, rows=rows), notes)


def render_matrix(
    timeline: Timeline, grid: StepGrid, warnings: Iterable[str] = (), infos: Iterable[str] = ()
) -> Generator[None, None, RenderedMatrix]:
    """The envelope of a timeline, series sorted by their labels as Prometheus does; those without points are left out.

    Yields after some series, so that it can run cooperatively. Raises MemoryFull.
    """
    points = sum(segment.size for segment in timeline.segments)
    body = _Body(timeline.written_size)
    count = 0
    for begin, end in strides(len(timeline.series), SMALL_ROWS, points):
        texts = [segment.texts(begin, end, grid) for segment in timeline.segments]
        rows, parts = _render_rows(timeline.series.metrics[begin:end], texts)
        if rows:
            body.add([b"," + _METRIC if count else _METRIC, *parts])
            count += rows
        yield
    annotations = _render_annotations("warnings", warnings) + _render_annotations("infos", infos)
    body.add([b"]}" + annotations + b"}"])
    return RenderedMatrix(body.finish(), count)


class _Body:
    """The parts of an envelope: put together in one go where they are few bytes, else as they come."""

    def __init__(self, expected: int) -> None:
        """Raises MemoryFull."""
        self._parts = [_HEAD]
        self._buffer = AnswerBuffer(expected) if expected > _IN_ONE_GO else None
        if self._buffer is None:
            reserve_memory(expected)

    def add(self, parts: list[bytes]) -> None:
        """Write some more. Raises MemoryFull."""
        self._parts += parts
        if self._buffer is not None:
            self._buffer.write(b"".join(self._parts))
            self._parts.clear()

    def finish(self) -> bytes:
        """All parts."""
        return b"".join(self._parts) if self._buffer is None else self._buffer.finish()


def _render_rows(metrics: Sequence[bytes], segments: Sequence[RowTexts]) -> tuple[int, list[bytes]]:
    """How many of some series have points, and the parts of these from their labels on."""
    if not segments or any(histograms is not None or b"" in floats for floats, histograms in segments):
        return _render_uneven(metrics, segments)
    # All have points everywhere. One list for one join: nothing is done for each series but what C does.
    width = 2 * len(segments) + 2
    parts: list[bytes] = [b","] * (width * len(metrics))
    parts[0::width] = metrics
    parts[1::width] = [_VALUES] * len(metrics)
    for number, (floats, _) in enumerate(segments, 1):
        parts[2 * number :: width] = floats
    parts[width - 1 :: width] = [_NEXT] * len(metrics)
    parts[-1] = _CLOSE
    return len(metrics), parts


def _render_uneven(metrics: Sequence[bytes], segments: Sequence[RowTexts]) -> tuple[int, list[bytes]]:
    nothing = [b""] * len(metrics)
    columns = [zip(*columns, strict=True) for columns in _columns(segments, nothing)]
    found: list[bytes] = []
    for metric, values, histograms in zip(metrics, *columns, strict=True):
        parts = [metric]
        if text := b",".join(filter(None, values)):
            parts.append(b'"values":[%b]' % text)
        if text := b",".join(filter(None, histograms)):
            parts.append(b'"histograms":[%b]' % text)
        if len(parts) > 1:
            found.append(b",".join(parts))
    return len(found), [(b"}," + _METRIC).join(found), b"}"]


def _columns(segments: Sequence[RowTexts], nothing: Sequence[bytes]) -> Iterator[list[Sequence[bytes]]]:
    """The texts of the floats and of the histograms, each at least one."""
    yield [nothing, *(floats for floats, _ in segments)]
    yield [nothing, *(histograms for _, histograms in segments if histograms is not None)]


def _decode_floats(points: Sequence[tuple[float, Any]], grid: StepGrid, first: int, last: int) -> bytes:
    places = _decode_places(points, grid, first, last)
    if not all(_FLOAT.fullmatch(value) for _, value in points):
        raise BadAnswer("a malformed value")
    return ",".join(
        f'[{grid.stamp(place).decode()},"{value}"]' for place, (_, value) in zip(places, points, strict=True)
    ).encode()


def _decode_histograms(points: Sequence[tuple[float, Any]], grid: StepGrid, first: int, last: int) -> bytes:
    places = _decode_places(points, grid, first, last)
    texts = [orjson.dumps(value) for _, value in points]
    # One object each: where its text ends is seen by its brace.
    if any(not text.startswith(b"{") or text.count(b"{") != 1 or text.count(b"}") != 1 for text in texts):
        raise BadAnswer("a malformed histogram")
    return b",".join(b"[%b,%b]" % (grid.stamp(place), text) for place, text in zip(places, texts, strict=True))


def _decode_places(points: Sequence[tuple[float, Any]], grid: StepGrid, first: int, last: int) -> list[int]:
    phase, step = grid.phase_ms, grid.step_ms
    divided = [divmod(round(1000 * seconds) - phase, step) for seconds, _ in points]
    indices = [index for index, _ in divided]
    if any(remainder for _, remainder in divided) or (indices and (indices[0] < first or indices[-1] > last)):
        raise UnalignedPoints
    if any(left >= right for left, right in pairwise(indices)):
        raise UnalignedPoints
    return indices


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
