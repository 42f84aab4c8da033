"""Upstream bodies as typed values; anything that is not the protocol is refused.

The envelope is that of the Prometheus HTTP API,
https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview.
"""

import re
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from gatewayz_metrics.errors import AnswerTooLarge, BadAnswer, QueryRefused

# What engines write. Python's float() also takes `1_0` and line ends, and a Decimal of
# 1e999999999 would be written out digit by digit.
_VALUE = re.compile(r"NaN|[+-]?Inf|[+-]?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?")
_REMARKS = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an instant vector; the value stays the engine's own text."""

    labels: dict[str, str]
    value: str


@dataclass(frozen=True, slots=True)
class Vector:
    """The answer to an instant query."""

    samples: tuple[Sample, ...]
    warnings: tuple[str, ...] = ()


def parse_vector(body: bytes) -> Vector:
    """An instant vector from a success body. Raises BadAnswer or QueryRefused."""
    document = parse_envelope(body)
    try:
        data = document["data"]
        if data["resultType"] != "vector":
            raise BadAnswer(f"a {str(data['resultType'])[:20]!r} instead of a vector")
        samples = tuple(_sample(series) for series in data["result"])
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise BadAnswer("a malformed vector") from exc
    return Vector(samples, warnings_and_infos(document, "warnings"))


def parse_envelope(body: bytes) -> dict[str, Any]:
    """The JSON object of an API answer whose status is success."""
    document = _json_object(body)
    if document.get("status") == "error":
        raise to_refusal(document)
    if document.get("status") != "success":
        raise BadAnswer("no status")
    return document


def parse_refusal(body: bytes) -> QueryRefused | None:
    """The API error in the body of an error status, if there is one."""
    try:
        document = _json_object(body)
    except BadAnswer:
        return None
    return to_refusal(document) if document.get("status") == "error" else None


def to_refusal(document: dict[str, Any]) -> QueryRefused:
    """An error envelope as an error that carries the engine's own words."""
    return QueryRefused(str(document.get("errorType", "unknown"))[:50], str(document.get("error", "")))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        # orjson refuses NaN literals, lone surrogates and bottomless nesting: each a broken upstream.
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadAnswer("invalid JSON") from exc
    if not isinstance(document, dict):
        raise BadAnswer("no JSON object")
    return document


def _sample(series: dict[str, Any]) -> Sample:
    _, value = series["value"]
    labels = series["metric"]
    if not _VALUE.fullmatch(value) or not all(isinstance(text, str) for text in labels.values()):
        raise BadAnswer("a malformed sample")
    return Sample(labels, value)


def warnings_and_infos(document: dict[str, Any], *kinds: str) -> tuple[str, ...]:
    """What an answer says about itself under `warnings` or `infos`, bounded, and whether it calls itself partial."""
    found = [str(text)[:500] for kind in kinds for text in _listed(document.get(kind))[:_REMARKS]]
    # VictoriaMetrics' cluster says so when a storage node did not answer.
    partial = ["The upstream calls its answer partial."] if document.get("isPartial") is True else []
    return (*found, *partial)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


# DOC Reading a response body within bounds, packed or not.
#
# httpx unpacks whatever arrives and hands out chunks of any size, so a small gzip bomb
# would be in memory before anybody could count. Here the raw stream is unpacked in
# bounded steps and counted while it grows.
#


_STEP = 64 * 1024
_AUTO_HEADER = 47  # zlib: gzip or zlib header, found out by itself


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """The whole unpacked body. Raises AnswerTooLarge past `limit` bytes, BadAnswer when broken."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        chunks = response.aiter_raw()
    elif encoding in ("gzip", "x-gzip", "deflate"):
        chunks = _unpacked(response.aiter_raw())
    else:
        raise BadAnswer("a content encoding that was not asked for")
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise AnswerTooLarge(limit)
    return bytes(body)


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
