"""The result of a target: series of numbers with their queries, or the reason why there are none.

Decodes success envelopes in small pieces, so that other requests run in between. The result types:
https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from gatewayz_metrics.cooperative import gc_paused, yield_periodically
from gatewayz_metrics.errors import BadAnswer, QueryRefused, ServiceError
from gatewayz_metrics.json_datasource.packed import PackedSeries, Series
from gatewayz_metrics.json_datasource.targets import TargetPlan, TargetQuery
from gatewayz_metrics.memory import reserve_memory
from gatewayz_metrics.promql.times import CALENDAR_BEGIN_MS, CALENDAR_END_MS
from gatewayz_metrics.upstream.pieces import AnswerPieces
from gatewayz_metrics.upstream.response import AnswerNotes, parse_envelope

_HISTOGRAM = "Native histograms are left out: they are no numbers; use histogram_quantile or the like."

# How many times its text a decoded result takes, measured: series of one point; a third of that with many.
_DECODED = 1.25


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The series that one query returned, and notices for the panel's header."""

    series: PackedSeries
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResultSeries:
    """One series of a target and the query that returned it."""

    ask: TargetQuery
    series: Series

    @property
    def labels(self) -> dict[str, str]:
        """Its labels without the metric's name."""
        return {name: value for name, value in self.series.labels.items() if name != "__name__"}

    @property
    def times(self) -> list[int]:
        """The times of its points, in Unix milliseconds."""
        return self.series.times

    @property
    def values(self) -> list[float]:
        """The values of its points."""
        return self.series.values

    @property
    def metric(self) -> str:
        """The name in the catalogue, else the metric's own; may be empty."""
        return self.ask.name or self.series.labels.get("__name__", "")

    @property
    def named(self) -> dict[str, str]:
        """The labels that tell it apart: the metric's name among them, unless the catalogue has one for all series."""
        return self.labels if self.ask.name else self.series.labels

    @property
    def templated(self) -> dict[str, str]:
        """The labels that a legend template can refer to."""
        return {**self.series.labels, "__name__": self.metric}


class TargetSeries(Sequence[ResultSeries]):
    """The series of all queries of a target, made when they are looked at."""

    def __init__(self, found: Sequence[tuple[TargetQuery, Sequence[Series]]]) -> None:
        """The queries with what each returned, in order."""
        self._found = found

    def __len__(self) -> int:
        return sum(len(series) for _, series in self._found)

    @overload
    def __getitem__(self, index: int) -> ResultSeries: ...
    @overload
    def __getitem__(self, index: slice) -> list[ResultSeries]: ...
    def __getitem__(self, index: int | slice) -> ResultSeries | list[ResultSeries]:
        """One series, or some."""
        places = range(len(self))[index]
        return self._make(places) if isinstance(places, int) else [self._make(place) for place in places]

    def __iter__(self) -> Iterator[ResultSeries]:
        return (ResultSeries(ask, one) for ask, series in self._found for one in series)

    def _make(self, place: int) -> ResultSeries:
        for ask, series in self._found:
            if place < len(series):
                return ResultSeries(ask, series[place])
            place -= len(series)
        raise IndexError(place)


@dataclass(frozen=True, slots=True)
class TargetResult:
    """Every series of one target, and notices for the panel's header."""

    plan: TargetPlan
    series: Sequence[ResultSeries] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetFailure:
    """Why one target has no result."""

    ref_id: str
    error: ServiceError
    # What was asked, as the caller wrote it.
    target: str = ""
    # The query for the inspector, when planning got that far.
    executed: str = ""


TargetOutcome = TargetResult | TargetFailure


def select_failures(outcomes: Sequence[TargetOutcome]) -> list[TargetFailure]:
    """The outcomes that are failures."""
    return [outcome for outcome in outcomes if isinstance(outcome, TargetFailure)]


def select_results(outcomes: Iterable[TargetOutcome]) -> Iterator[TargetResult]:
    """The outcomes that are results."""
    return (outcome for outcome in outcomes if isinstance(outcome, TargetResult))


async def decode_result(body: bytes) -> QueryResult:
    """The series in a success envelope of any result type. Raises QueryRefused or BadAnswer."""
    reserve_memory(int(_DECODED * len(body)))
    pause = yield_periodically()
    pieces = AnswerPieces(body)
    reader = _Reader()

    async def read(items: Iterable[dict[str, Any]]) -> None:
        for item in items:
            with gc_paused():
                reader.read(item)
            await pause()

    try:
        for items in pieces:
            await read(items)
        document = parse_envelope(pieces.envelope)
        notices = list(AnswerNotes.of(document).to_sentences(with_infos=True))
        await read(_list_series(document["data"]))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as exc:
        raise BadAnswer("a malformed result") from exc
    notices += [_HISTOGRAM] if reader.met_histogram else []
    return QueryResult(reader.series, tuple(dict.fromkeys(notices)))


class _Reader:
    """Reads the series of one result; the times of those with the same timestamps are read once."""

    def __init__(self) -> None:
        self.series = PackedSeries()
        self.met_histogram = False
        self._stamps: tuple[float, ...] = ()

    def read(self, found: dict[str, Any]) -> None:
        """Add a series, if it has points."""
        self.met_histogram |= "histogram" in found or "histograms" in found
        points = found.get("values") or ([found["value"]] if "value" in found else [])
        if not points:
            return
        stamps, texts = zip(*points, strict=True)
        times = None if stamps == self._stamps else [_to_ms(stamp) for stamp in stamps]
        self._stamps = stamps
        labels = found["metric"]
        if not set(map(type, labels.values())) <= {str}:
            raise BadAnswer("a label that is no text")
        self.series.append(labels, times, list(map(float, texts)))


def _to_ms(stamp: float) -> int:
    ms = round(stamp * 1000)
    if not CALENDAR_BEGIN_MS <= ms <= CALENDAR_END_MS:
        raise BadAnswer("a time without a date")
    return ms


def _list_series(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The series of a matrix or a vector; a scalar becomes one without labels."""
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return [{"metric": {}, "value": result}]
    if kind == "string":
        raise QueryRefused("string", "The expression is a text; a panel needs numbers.")
    if kind not in ("matrix", "vector"):
        raise BadAnswer(f"a {str(kind)[:20]!r} instead of series")
    return list(result)
