"""Upstream envelopes as series of numbers, decoded in pieces.

The result types: https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from gatewayz_metrics.breath import Breath, without_collections
from gatewayz_metrics.errors import BadAnswer, QueryRefused
from gatewayz_metrics.upstream.answer import envelope, remarks

_SERIES = b'{"metric":{'
_HISTOGRAM = "Native histograms are left out: they are no numbers; use histogram_quantile or the like."


@dataclass(frozen=True, slots=True)
class Series:
    """One series: labels, and its points as Unix milliseconds and numbers, ascending."""

    labels: dict[str, str]
    times: list[int]
    values: list[float]


@dataclass(frozen=True, slots=True)
class Found:
    """What an expression gave."""

    series: tuple[Series, ...]
    notices: tuple[str, ...] = ()


async def decode(body: bytes) -> Found:
    """The series in a success envelope of any result type. Raises QueryRefused or BadAnswer."""
    breath = Breath()
    pieces, rest = _apart(body)
    document = envelope(rest)
    notices = list(remarks(document, "warnings", "infos"))
    series: list[Series] = []
    try:
        items: Iterable[bytes | dict[str, Any]] = chain(pieces, _items(document["data"]))
        reader = _Reader()
        for item in items:
            with without_collections():
                series += reader.read(item)
            await breath()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as exc:
        raise BadAnswer("a malformed result") from exc
    notices += [_HISTOGRAM] if reader.met_histogram else []
    return Found(tuple(series), tuple(dict.fromkeys(notices)))


class _Reader:
    """Reads series one after the other; those of one answer mostly have the same times."""

    def __init__(self) -> None:
        self.met_histogram = False
        self._stamps: tuple[float, ...] = ()
        self._times: list[int] = []

    def read(self, item: bytes | dict[str, Any]) -> list[Series]:
        found = orjson.loads(item) if isinstance(item, bytes) else item
        self.met_histogram |= "histogram" in found or "histograms" in found
        points = found.get("values") or ([found["value"]] if "value" in found else [])
        if not points:
            return []
        stamps, texts = zip(*points, strict=True)
        if stamps != self._stamps:
            self._stamps, self._times = stamps, [int(stamp * 1000 + 0.5) for stamp in stamps]
        return [Series(found["metric"], self._times, list(map(float, texts)))]


def _apart(body: bytes) -> tuple[list[bytes], bytes]:
    """An envelope as the texts of its series but the last, and an envelope with the last alone.

    Decoded whole, a million points would keep everybody waiting, and the collector busy.
    Inside a string the marker's quotes would be escaped, so it stands nowhere else.
    """
    head, *texts = body.split(_SERIES)
    if len(texts) < 2 or not head.endswith(b"[") or not all(text.endswith(b"},") for text in texts[:-1]):
        return [], body
    return [_SERIES + text[:-1] for text in texts[:-1]], head + _SERIES + texts[-1]


def _items(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The series of a matrix or a vector; a scalar is one without labels."""
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return [{"metric": {}, "value": result}]
    if kind == "string":
        raise QueryRefused("string", "The expression is a text; a panel needs numbers.")
    if kind not in ("matrix", "vector"):
        raise BadAnswer(f"a {str(kind)[:20]!r} instead of series")
    return list(result)
