"""Statistics and families over time: their expressions as range queries, answered by the range cache."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from gatewayz_metrics.caller_limits import check_points, check_range
from gatewayz_metrics.catalogue import Family, Statistic, Term, explain_unknown, find_entry
from gatewayz_metrics.cooperative import gc_paused, yield_periodically
from gatewayz_metrics.errors import (
    BadAnswer,
    InvalidParameter,
    LimitExceeded,
    NotServed,
    QueryRefused,
    ServiceError,
    UpstreamError,
    UpstreamFailed,
)
from gatewayz_metrics.memory import reserve_memory
from gatewayz_metrics.promql.times import CALENDAR_BEGIN_MS, CALENDAR_END_MS, TimeRange
from gatewayz_metrics.range_cache import RangeQuery
from gatewayz_metrics.service import Service
from gatewayz_metrics.upstream.pieces import AnswerPieces
from gatewayz_metrics.upstream.request import ApiResponse
from gatewayz_metrics.upstream.response import AnswerNotes, parse_envelope, parse_refusal

# An engine's value that may stand in JSON as it is; NaN and infinities may not.
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,399})(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?")
# How many times its text a decoded matrix takes, measured: points of eight digits.
_DECODED = 5
_NO_NUMBERS = frozenset(["NaN", "Inf", "+Inf", "-Inf"])


@dataclass(frozen=True, slots=True)
class NamedSeries:
    """One series of an entry: its labels, and its points as Unix milliseconds and the engine's digits.

    A point that is no number, NaN or an infinity, has None for its digits.
    """

    name: str
    unit: str
    labels: dict[str, str]
    times: list[int]
    values: list[str | None]


@dataclass(frozen=True, slots=True)
class SeriesTable:
    """The series of the entries that were asked for, and why there are none of some."""

    range: TimeRange
    # The labels that the catalogue promises, in its order; series may have others.
    promised_labels: tuple[str, ...]
    series: tuple[NamedSeries, ...] = ()
    errors: dict[str, ServiceError] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    is_outage: bool = False

    @property
    def status(self) -> str:
        """What the header X-Upstream-Status says."""
        return "down" if self.is_outage else "partial" if self.errors else "ok"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all series, those of the catalogue first."""
        found = sorted({label for series in self.series for label in series.labels})
        return tuple(dict.fromkeys((*self.promised_labels, *found)))


async def read_series(service: Service, names: Sequence[str], span: TimeRange) -> SeriesTable:
    """The series of some entries at every time of a range; one that fails does not affect the others.

    Raises InvalidParameter for an unknown name, LimitExceeded or TooManyPoints for what the limits do not allow.
    """
    settings = service.settings
    if len(names) > settings.max_targets:
        raise LimitExceeded(f"The request has {len(names)} names", "MAX_TARGETS", f"{settings.max_targets}")
    check_range(span.length_ms, settings.max_range)
    check_points(span, settings.max_points)
    entries = [_find(service, name) for name in names]
    outcomes = await asyncio.gather(*(_read_entry(service, entry, span) for entry in entries))
    errors = {entry.name: error for entry, (_, _, error) in zip(entries, outcomes, strict=True) if error is not None}
    return SeriesTable(
        range=span,
        promised_labels=tuple(dict.fromkeys(chain.from_iterable(map(_labels_of, entries)))),
        series=tuple(chain.from_iterable(series for series, _, _ in outcomes)),
        errors=errors,
        warnings=tuple(dict.fromkeys(chain.from_iterable(warnings for _, warnings, _ in outcomes))),
        is_outage=len(errors) == len(entries) and all(isinstance(error, UpstreamError) for error in errors.values()),
    )


def _find(service: Service, name: str) -> Family | Statistic:
    catalogue = service.layer.catalogue
    entry = find_entry(catalogue, name)
    if entry is None:
        raise InvalidParameter(explain_unknown(catalogue, name))
    return entry


def _terms_of(entry: Family | Statistic) -> tuple[Term, ...]:
    return entry.terms if isinstance(entry, Family) else (Term(entry.name, entry.template),)


def _labels_of(entry: Family | Statistic) -> tuple[str, ...]:
    """The labels that the series of an entry have."""
    if isinstance(entry, Statistic):
        return ()
    own = ("quantile",) if entry.quantile_of else ("le",) if entry.type == "histogram" else ()
    return (*entry.by, *own)


_Outcome = tuple[tuple[NamedSeries, ...], tuple[str, ...], ServiceError | None]


async def _read_entry(service: Service, entry: Family | Statistic, span: TimeRange) -> _Outcome:
    """The series of an entry and the upstream's warnings, or the error; a part of a histogram would look whole."""
    terms = _terms_of(entry)
    try:
        found = await asyncio.gather(*(_read_term(service, term, entry.unit, span) for term in terms))
    except (UpstreamError, QueryRefused, NotServed) as exc:
        return (), (), exc
    return tuple(chain.from_iterable(series for series, _ in found)), tuple(chain(*(notes for _, notes in found))), None


async def _read_term(
    service: Service, term: Term, unit: str, span: TimeRange
) -> tuple[list[NamedSeries], tuple[str, ...]]:
    promql = service.layer.slots.fill(term.template)
    answer = await service.range_cache.answer(RangeQuery(promql, span))
    return await _decode_matrix(_require_success(answer.raw), term.sample, unit)


def _require_success(answer: ApiResponse) -> bytes:
    if answer.status == 200:
        return answer.body
    raise parse_refusal(answer.body) or UpstreamFailed(answer.status)


async def _decode_matrix(body: bytes, name: str, unit: str) -> tuple[list[NamedSeries], tuple[str, ...]]:
    """The series in the envelope of a range query, and its warnings; other requests run in between."""
    reserve_memory(_DECODED * len(body))
    pause = yield_periodically()
    pieces = AnswerPieces(body)
    series: list[NamedSeries] = []

    async def read(items: list[dict[str, Any]]) -> None:
        for item in items:
            with gc_paused():
                series.extend(_decode_series(item, name, unit))
            await pause()

    try:
        for items in pieces:
            await read(items)
        document = parse_envelope(pieces.envelope)
        data = document["data"]
        if data["resultType"] != "matrix" or not isinstance(data["result"], list):
            raise BadAnswer(f"a {str(data['resultType'])[:20]!r} instead of the series of a matrix")
        await read(data["result"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        raise BadAnswer("a malformed matrix") from exc
    return series, AnswerNotes.of(document).to_sentences()


def _decode_series(item: dict[str, Any], name: str, unit: str) -> Iterator[NamedSeries]:
    """The series in an item of a matrix; none for native histograms alone."""
    points = item.get("values", ())
    if points:
        stamps, texts = zip(*points, strict=True)
        labels = {label: value for label, value in item["metric"].items() if label != "__name__"}
        times = [round(stamp * 1000) for stamp in stamps]
        if not all(isinstance(value, str) for value in labels.values()):
            raise BadAnswer("a malformed label")
        if not CALENDAR_BEGIN_MS <= min(times) <= max(times) <= CALENDAR_END_MS:
            raise BadAnswer("a time without a date")
        yield NamedSeries(name, unit, labels, times, list(_to_digits(texts)))


def _to_digits(texts: Iterable[str]) -> Iterator[str | None]:
    for text in texts:
        if _JSON_NUMBER.fullmatch(text):
            yield text
        elif text in _NO_NUMBERS:
            yield None
        else:
            raise BadAnswer("a malformed value")
