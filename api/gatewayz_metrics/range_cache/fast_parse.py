"""Splits a matrix into series without decoding the points, when it is laid out exactly as engines write it.

This is many times as fast as decoding, and the text of every point stays as it was. UnexpectedLayout means that the
body has to be decoded instead; whether it is valid is for the decoder to say. Splitting at these marks is safe, as
within a string their quotes would be escaped.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from operator import lt
from typing import Self

import orjson

from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.strides import SMALL_ROWS, strides
from gatewayz_metrics.upstream.response import NO_NOTES, AnswerNotes

# As Prometheus and as VictoriaMetrics write it.
_HEAD = re.compile(rb'\{"status":"success",(?:"isPartial":false,)?"data":\{"resultType":"matrix","result":\[')
_FIRST = b'{"metric":'
_NEXT = b']]},{"metric":'
_VALUES = b',"values":[['
_HISTOGRAMS = b',"histograms":[['
_BOTH = b']],"histograms":[['
_LAST = b"]]}"
_TAIL = b"]}}"
_NOTES = (b']},"warnings":[', b']},"infos":[')
# Bytes at the end of a body in which the notes are looked for; engines write few.
_LONGEST_NOTES = 2**20
# What a text of floats has beside its brackets.
_FLOAT_CHARACTERS = b'0123456789.,"]+-eINanf'
# The time of the first point of a series.
_POINT = re.compile(rb',"(?:values|histograms)":\[\[(-?[0-9]{1,20}(?:\.[0-9]{1,3})?),')
# Bytes of series that are split in one go.
_CHUNK = 2**16


class UnexpectedLayout(Exception):  # caught by parse_matrix alone
    """The body is not laid out as engines write a matrix."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A matrix whose beginning and end are as engines write them: where its series stand, and what is said of it."""

    begin: int
    end: int
    notes: AnswerNotes

    @classmethod
    def of(cls, body: bytes) -> Self:
        """The layout of a body. Raises UnexpectedLayout."""
        head = _HEAD.match(body)
        if head is None:
            raise UnexpectedLayout
        end, notes = _split_notes(body)
        if end < head.end() or (end > head.end() and not body.endswith(_LAST, head.end(), end)):
            raise UnexpectedLayout
        return cls(head.end(), end, notes)

    def begins_on(self, grid: StepGrid, body: bytes) -> bool:
        """Whether the first point, if there are any, is at a time of the grid."""
        point = _POINT.search(body, self.begin, self.begin + _CHUNK)
        if point is None:
            return self.begin == self.end
        return point[1] == grid.stamp(grid.index(round(1000 * float(point[1]))))


@dataclass(frozen=True, slots=True)
class ScannedRows:
    """Some series of a matrix."""

    metrics: list[bytes]
    floats: list[bytes]
    histograms: list[bytes]


@dataclass(frozen=True, slots=True)
class Stamps:
    """The times that a matrix may have, as they stand before its points."""

    # All of them, as splitting the text of a series without gaps at its quotes gives every other part.
    expected: list[bytes]
    # The place of each, before the first point and between two.
    first: dict[bytes, int]
    others: dict[bytes, int]

    @classmethod
    def of(cls, grid: StepGrid, first: int, last: int) -> Generator[None, None, Self]:
        """The times of a stretch of the grid; yields after some of them."""
        stamps: list[bytes] = []
        for begin, end in strides(last + 1 - first, SMALL_ROWS):
            stamps += [grid.stamp(first + index) for index in range(begin, end)]
            yield
        before = {b"%b," % stamp: first + number for number, stamp in enumerate(stamps)}
        between = {b"],[%b," % stamp: first + number for number, stamp in enumerate(stamps)}
        return cls([*list(before)[:1], *list(between)[1:], b""], before, between)


def _split_notes(body: bytes) -> tuple[int, AnswerNotes]:
    """Where the series of an envelope end, and its warnings and infos, where these stand behind the data.

    Raises UnexpectedLayout.
    """
    end = len(body)
    while end and body[end - 1] in b" \t\r\n":
        end -= 1
    if body.endswith(_TAIL, 0, end):
        return end - len(_TAIL), NO_NOTES
    begin = max(0, end - _LONGEST_NOTES)
    at = min((found for start in _NOTES if (found := body.rfind(start, begin, end)) >= 0), default=-1)
    try:
        notes = orjson.loads(b"{" + body[at + 3 : end])
    except orjson.JSONDecodeError as exc:
        raise UnexpectedLayout from exc
    if at < 0 or not isinstance(notes, dict) or not notes.keys() <= {"warnings", "infos"}:
        raise UnexpectedLayout
    return at, AnswerNotes.of(notes)


def scan_matrix(body: bytes, layout: Layout, stamps: Stamps) -> Iterator[ScannedRows]:
    """The series of a matrix, some at a time: their labels and the texts of their points.

    Raises UnexpectedLayout, possibly after some series, which must then be discarded.
    """
    if layout.begin == layout.end:
        return
    if not body.startswith(_FIRST, layout.begin):
        raise UnexpectedLayout
    begin, end = layout.begin + len(_FIRST), layout.end - len(_LAST)
    while begin < end:
        at = body.find(_NEXT, begin + _CHUNK, end)
        yield _scan_rows(body[begin : end if at < 0 else at].split(_NEXT), stamps)
        begin = end if at < 0 else at + len(_NEXT)


def _scan_rows(rows: list[bytes], stamps: Stamps) -> ScannedRows:
    found = ScannedRows([], [], [])
    brackets = b"[" * (len(stamps.expected) - 2)
    for row in rows:
        metric, _, values = row.partition(_VALUES)
        # A series without gaps is compared at once; any other character would be an escape or a different layout.
        if values.split(b'"')[::2] == stamps.expected and values.translate(None, _FLOAT_CHARACTERS) == brackets:
            text, histograms = b"[%b]" % values, b""
        else:
            metric, text, histograms = _scan_row(row, stamps)
        found.metrics.append(metric)
        found.floats.append(text)
        found.histograms.append(histograms)
    return found


def _scan_row(row: bytes, stamps: Stamps) -> tuple[bytes, bytes, bytes]:
    """The labels, floats and native histograms of a series with gaps. Raises UnexpectedLayout."""
    metric, has_values, values = row.partition(_VALUES)
    if has_values:
        floats, has_histograms, histograms = values.partition(_BOTH)
    else:
        floats = b""
        metric, has_histograms, histograms = row.partition(_HISTOGRAMS)
    if has_values:
        _check_floats(floats, stamps)
        floats = b"[%b]" % floats
    if has_histograms:
        _check_histograms(histograms, stamps)
        histograms = b"[%b]" % histograms
    if not (has_values or has_histograms):
        raise UnexpectedLayout
    return metric, floats, histograms


def _check_floats(text: bytes, stamps: Stamps) -> None:
    heads = text.split(b'"')[::2]
    # One bracket between two points: what has more of them would be no float.
    brackets = b"[" * (len(heads) - 2)
    if heads[-1] or len(heads) < 2 or text.translate(None, _FLOAT_CHARACTERS) != brackets:
        raise UnexpectedLayout
    _check_places([stamps.first.get(heads[0], -1), *(stamps.others.get(head, -1) for head in heads[1:-1])])


def _check_histograms(text: bytes, stamps: Stamps) -> None:
    points = text.split(b"}],[")
    # One object in each, so that this stands between two points alone.
    if not text.endswith(b"}") or not text.count(b"{") == text.count(b"}") == len(points):
        raise UnexpectedLayout
    heads = [point[: point.find(b"{")] for point in points]
    _check_places([stamps.first.get(head, -1) for head in heads])
    try:
        orjson.loads(b"[[%b]]" % text)
    except orjson.JSONDecodeError as exc:
        raise UnexpectedLayout from exc


def _check_places(places: list[int]) -> None:
    """Points are where they were asked for, each after the one before."""
    if -1 in places or not all(map(lt, places, places[1:])):
        raise UnexpectedLayout
