"""The answer to a target: named curves with a unit, or the reason why there are none."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from gatewayz_metrics.cooperative import Breath, gc_paused
from gatewayz_metrics.errors import BadAnswer, QueryRefused, ServiceError
from gatewayz_metrics.json_datasource.targets import TargetPlan, TargetQuery
from gatewayz_metrics.upstream.response import AnswerNotes, parse_envelope

# DOC Upstream envelopes as series of numbers, decoded in pieces.
#
# The result types: https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats.
#


_SERIES = b'{"metric":{'
_HISTOGRAM = "Native histograms are left out: they are no numbers; use histogram_quantile or the like."


@dataclass(frozen=True, slots=True)
class Series:
    """One series: labels, and its points as Unix milliseconds and numbers, ascending."""

    labels: dict[str, str]
    times: list[int]
    values: list[float]


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What an expression gave."""

    series: tuple[Series, ...]
    notices: tuple[str, ...] = ()


async def decode_result(body: bytes) -> QueryResult:
    """The series in a success envelope of any result type. Raises QueryRefused or BadAnswer."""
    breath = Breath()
    pieces, rest = _apart(body)
    document = parse_envelope(rest)
    notices = list(AnswerNotes.of(document).to_sentences(with_infos=True))
    series: list[Series] = []
    try:
        items: Iterable[bytes | dict[str, Any]] = chain(pieces, _items(document["data"]))
        reader = _Reader()
        for item in items:
            with gc_paused():
                series += reader.read(item)
            await breath()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as exc:
        raise BadAnswer("a malformed result") from exc
    notices += [_HISTOGRAM] if reader.met_histogram else []
    return QueryResult(tuple(series), tuple(dict.fromkeys(notices)))


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
            self._stamps, self._times = stamps, [round(stamp * 1000) for stamp in stamps]
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


@dataclass(frozen=True, slots=True)
class ResultSeries:
    """One series and the expression that it answers."""

    ask: TargetQuery
    series: Series

    @property
    def labels(self) -> dict[str, str]:
        """Its labels, the metric's name aside."""
        return {name: value for name, value in self.series.labels.items() if name != "__name__"}

    @property
    def metric(self) -> str:
        """What is measured."""
        return self.ask.name or self.series.labels.get("__name__", "")

    @property
    def templated(self) -> dict[str, str]:
        """What a legend's template may name."""
        return {**self.series.labels, "__name__": self.metric}


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What one target gave."""

    plan: TargetPlan
    curves: tuple[ResultSeries, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetFailure:
    """Why one target gave nothing."""

    ref_id: str
    error: ServiceError
    # The query, as far as it was made out.
    executed: str = ""


TargetOutcome = TargetResult | TargetFailure


def select_failures(outcomes: Sequence[TargetOutcome]) -> list[TargetFailure]:
    """Those that failed."""
    return [outcome for outcome in outcomes if isinstance(outcome, TargetFailure)]


def select_results(outcomes: Iterable[TargetOutcome]) -> Iterator[TargetResult]:
    """Those that did not."""
    return (outcome for outcome in outcomes if isinstance(outcome, TargetResult))
