"""Upstream bodies as typed values; anything that is not the protocol is refused.

The envelope is that of the Prometheus HTTP API,
https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview.
"""

import re
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Self

import httpx
import orjson

from gatewayz_metrics.cooperative import yield_periodically
from gatewayz_metrics.errors import AnswerTooLarge, BadAnswer, QueryRefused
from gatewayz_metrics.memory import AnswerBuffer
from gatewayz_metrics.promql.build import PART_LABEL
from gatewayz_metrics.upstream.pieces import AnswerPieces

# What engines write. Python's float() also takes `1_0` and line ends, and a Decimal of
# 1e999999999 would be written out digit by digit.
_VALUE = r"NaN|[+-]?Inf|[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?"
# Many of them, a line each.
_VALUES = re.compile(rf"(?:(?>{_VALUE})\n)*+")
# How every series begins in a vector or matrix. Within a string its quotes would be escaped, so series can be counted
# without decoding.
SERIES_START = b'{"metric":{'
# How much of what an answer says about itself is shown to people: engines bound it, but what they quote may be long.
_MOST_NOTES = 20
_LONGEST_NOTE = 500
# Label values that are remembered while an answer is read, to keep each of them once.
_MOST_TEXTS = 20_000
# How warnings of Prometheus' engine begin; those of its storage, such as a remote one that failed, do not.
_OF_QUERY = "PromQL warning:"


@dataclass(frozen=True, slots=True)
class AnswerNotes:
    """What an answer says about itself, whole and as the engine wrote it."""

    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    # VictoriaMetrics' cluster says so when a storage node did not answer,
    # https://docs.victoriametrics.com/cluster-victoriametrics/#cluster-availability.
    is_partial: bool = False
    # Something stands where a list of warnings should: nobody can show it, and nobody can say that all is well.
    is_malformed: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The notes of an envelope."""
        warnings = document.get("warnings")
        return cls(
            warnings=_texts(warnings),
            infos=_texts(document.get("infos")),
            is_partial=document.get("isPartial") is True,
            is_malformed=bool(warnings) and not isinstance(warnings, list),
        )

    @property
    def is_complete(self) -> bool:
        """Whether nothing says that something is missing; infos are about the query, not about the answer."""
        return not (self.warnings or self.is_partial or self.is_malformed)

    @property
    def is_repeatable(self) -> bool:
        """Whether the same data give the same answer: its warnings, if any, are about the query and its data alone."""
        return not (self.is_partial or self.is_malformed) and all(
            warning.startswith(_OF_QUERY) for warning in self.warnings
        )

    def to_sentences(self, *, with_infos: bool = False) -> tuple[str, ...]:
        """The notes for people: so many, so long."""
        notes = (*self.warnings[:_MOST_NOTES], *(self.infos[:_MOST_NOTES] if with_infos else ()))
        partial = ("The upstream calls its answer partial.",) if self.is_partial else ()
        return (*(note[:_LONGEST_NOTE] for note in notes), *partial)


NO_NOTES = AnswerNotes()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


# The values of a sample's labels, and last its own value as the engine wrote it.
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SampleTable:
    """Samples with the same label names; their rows have the labels' values in the order of the names.

    Tuples of shared texts: objects with a dict of labels each took four times as much, and the garbage collector
    walks over objects again and again.
    """

    labels: tuple[str, ...]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Vector:
    """The answer to an instant query for a batch of expressions: the samples of each, by PART_LABEL."""

    parts: dict[str, list[SampleTable]]
    warnings: tuple[str, ...] = ()


def parse_vector(body: bytes) -> Generator[None, None, Vector]:
    """An instant vector from a success body; yields after each piece, so that it can run cooperatively.

    Raises BadAnswer or QueryRefused.
    """
    pieces = AnswerPieces(body)
    samples = _SampleSorter()
    try:
        for elements in pieces:
            samples.add(elements)
            yield
        document = parse_envelope(pieces.envelope)
        data = document["data"]
        if data["resultType"] != "vector":
            raise BadAnswer(f"a {str(data['resultType'])[:20]!r} instead of a vector")
        samples.add(data["result"])
        parts = samples.finish()
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise BadAnswer("a malformed vector") from exc
    return Vector(parts, AnswerNotes.of(document).to_sentences())


class _SampleSorter:
    """Sorts decoded series into tables, by their part and their label names."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, tuple[str, ...]], list[Row]] = defaultdict(list)
        # The same label values stand in many series: each text is kept once.
        self._texts: dict[str, str] = {}

    def add(self, elements: list[dict[str, Any]]) -> None:
        """Take the series of a piece. Raises BadAnswer, or what Python raises, for what is no series."""
        values = [value for _, value in map(_of_value, elements)]
        _check_values(values)
        share, part, names = self._texts.setdefault, None, None
        rows: list[Row] = []
        for series, value in zip(elements, values, strict=True):
            labels = series["metric"]
            labels.pop("__name__", None)
            its_part, its_names, texts = labels.pop(PART_LABEL, ""), tuple(labels), labels.values()
            # Samples of a part mostly stand together.
            if its_part != part or its_names != names:
                part, names = share(its_part, its_part), its_names
                rows = self._rows[part, names]
            rows.append((*map(share, texts, texts), value))
        if len(self._texts) > _MOST_TEXTS:
            self._forget_texts()

    def finish(self) -> dict[str, list[SampleTable]]:
        """The tables of each part."""
        self._forget_texts()
        parts: dict[str, list[SampleTable]] = defaultdict(list)
        for (part, labels), rows in self._rows.items():
            parts[part].append(SampleTable(labels, rows))
        return dict(parts)

    def _forget_texts(self) -> None:
        """Check all at once that they are texts, each of them once."""
        if not set(map(type, self._texts)) <= {str}:
            raise BadAnswer("a malformed sample")
        self._texts.clear()


_of_value = itemgetter("value")


def _check_values(values: Sequence[str]) -> None:
    """Raise BadAnswer unless all are what engines write; at once, which takes half as long."""
    lines = "\n".join((*values, ""))
    if lines.count("\n") != len(values) or not _VALUES.fullmatch(lines):
        raise BadAnswer("a malformed sample")


def parse_envelope(body: bytes) -> dict[str, Any]:
    """The JSON object of an API answer whose status is success."""
    document = decode_object(body)
    if document.get("status") == "error":
        raise to_refusal(document)
    if document.get("status") != "success":
        raise BadAnswer("no status")
    return document


def parse_refusal(body: bytes) -> QueryRefused | None:
    """The API error in the body of an error status, if there is one."""
    try:
        document = decode_object(body)
    except BadAnswer:
        return None
    return to_refusal(document) if document.get("status") == "error" else None


def to_refusal(document: dict[str, Any]) -> QueryRefused:
    """An error envelope as an error that carries the engine's own words."""
    return QueryRefused(str(document.get("errorType", "unknown"))[:50], str(document.get("error", "")))


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is. Raises BadAnswer."""
    try:
        # orjson refuses NaN literals, lone surrogates and bottomless nesting: each a broken upstream.
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadAnswer("invalid JSON") from exc
    if not isinstance(document, dict):
        raise BadAnswer("no JSON object")
    return document


# Reading a response body within bounds, packed or not.
#
# httpx unpacks whatever arrives and hands out chunks of any size, so a small gzip bomb
# would be in memory before anybody could count. Here the raw stream is unpacked in
# bounded steps and counted while it grows.
#


_STEP = 64 * 1024
_AUTO_HEADER = 47  # zlib: gzip or zlib header, found out by itself


async def read_body(response: httpx.Response, limit: int, *, unpacks: bool) -> bytes:
    """The whole unpacked body; `unpacks` says whether gzip was asked for.

    Raises AnswerTooLarge past `limit` bytes, MemoryFull when it has no room, BadAnswer when broken.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        chunks = response.aiter_raw()
    elif unpacks and encoding in ("gzip", "x-gzip", "deflate"):
        chunks = _unpacked(response.aiter_raw())
    else:
        raise BadAnswer("a content encoding that was not asked for")
    body = AnswerBuffer()
    pause = yield_periodically()
    async for chunk in chunks:
        if body.size + len(chunk) > limit:
            raise AnswerTooLarge(limit)
        body.write(chunk)
        # A small piece of gzip becomes megabytes without a wait in between.
        await pause()
    return body.finish()


async def _unpacked(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    unpacker = zlib.decompressobj(_AUTO_HEADER)
    try:
        async for chunk in chunks:
            while chunk and not unpacker.eof:
                yield unpacker.decompress(chunk, _STEP)
                chunk = unpacker.unconsumed_tail  # noqa: PLW2901  # what the bounded step left over
    except zlib.error as exc:
        raise BadAnswer("broken compression") from exc
    if not unpacker.eof:
        raise BadAnswer("compression that ends too early")
