"""Questions to the upstream as the datasource puts them; identical ones under way are one."""

import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from gatewayz_metrics.caller_limits import earliest_start
from gatewayz_metrics.cooperative import run_cooperatively, sort_in_runs, yield_periodically
from gatewayz_metrics.errors import BadAnswer, QueryTimedOut, UpstreamFailed
from gatewayz_metrics.json_datasource.results import QueryResult, decode_result
from gatewayz_metrics.memory import let_accounts_go, reserve_memory
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.promql.times import TimeRange, format_seconds
from gatewayz_metrics.range_cache import RangeCache, RangeQuery
from gatewayz_metrics.upstream.pieces import AnswerPieces
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint, Pairs
from gatewayz_metrics.upstream.response import parse_envelope, parse_refusal
from gatewayz_metrics.upstream.response_cache import ResponseCache
from gatewayz_metrics.upstream.single_flight import SingleFlightCache

# Milliseconds, both ends; None leaves the choice to the engine.
Bounds = tuple[int, int] | None

# How many times its text a decoded list of names takes, measured: names of 30 characters.
_DECODED = 4

T = TypeVar("T")


class PrometheusQueries:
    """What the datasource asks. Raises QueryRefused or some UpstreamError."""

    def __init__(self, answers: ResponseCache, ranges: RangeCache, longest_s: float = 0.0) -> None:
        """`longest_s` is how many seconds a list may cover that is asked for without bounds; 0 sets no limit."""
        self._answers = answers
        self._longest_s = longest_s
        self._ranges = ranges
        # Panels that abandon a request never end it, and reload: an answer under way is decoded once for all.
        self._found: SingleFlightCache[QueryResult] = SingleFlightCache(lambda _: 0.0, time.monotonic)

    async def query_range(self, query: QueryText, times: TimeRange, *, may_be_stale: bool) -> QueryResult:
        """The series of an expression at every time of a range."""
        ranged = RangeQuery(query.text, times, may_be_stale=may_be_stale, text=query)
        return await self._found.get(ranged, lambda: self._over(ranged))

    async def query(self, query: QueryText, time_ms: int, *, exact: bool = False) -> QueryResult:
        """The series of an expression at one moment; INSTANT_GRANULARITY may move it unless it is to be `exact`."""
        call = ApiRequest(Endpoint.QUERY, (("query", query.text), ("time", format_seconds(time_ms))))
        return await self._found.get((call, exact), lambda: self._at(call, query, exact=exact))

    async def label_names(self, selector: str, bounds: Bounds) -> tuple[str, ...]:
        """The labels on the series of a selector, sorted; on all when there is none."""
        return await self._list(ApiRequest(Endpoint.LABELS, (*_match(selector), *self._bounds(bounds))))

    async def label_values(self, label: str, selector: str, bounds: Bounds) -> tuple[str, ...]:
        """The values of a label on the series of a selector, sorted; on all when there is none."""
        return await self._list(ApiRequest(Endpoint.LABEL_VALUES, (*_match(selector), *self._bounds(bounds)), label))

    def _bounds(self, bounds: Bounds) -> Pairs:
        if bounds:
            return (("start", format_seconds(bounds[0])), ("end", format_seconds(bounds[1])))
        if self._longest_s:
            return (("start", format_seconds(earliest_start(round(time.time() * 1000), self._longest_s))),)
        return ()

    async def _over(self, ranged: RangeQuery) -> QueryResult:
        answer = await self._ranges.answer(ranged)
        return await _made_from(decode_result(_success(answer.raw)))

    async def _at(self, call: ApiRequest, query: QueryText, *, exact: bool) -> QueryResult:
        raw, _ = await self._answers.get(call, query=query, exact=exact)
        return await _made_from(decode_result(_success(raw)))

    async def _list(self, call: ApiRequest) -> tuple[str, ...]:
        raw, _ = await self._answers.get(call)
        return await _made_from(_decode_names(_success(raw)))


def _success(answer: ApiResponse) -> bytes:
    if answer.status == 200:
        return answer.body
    refusal = parse_refusal(answer.body)
    if refusal is None:
        raise UpstreamFailed(answer.status)
    # Not the query's fault alone, and no panel should take it for a 400.
    raise QueryTimedOut(refusal.message) if refusal.error_type == "timeout" else refusal


async def _made_from(decoded: Coroutine[Any, Any, T]) -> T:
    """What is decoded from an answer, whose text is not needed any longer."""
    found = await decoded
    let_accounts_go()
    return found


async def _decode_names(body: bytes) -> tuple[str, ...]:
    """The list in a success envelope, sorted. Raises QueryRefused or BadAnswer."""
    reserve_memory(_DECODED * len(body))
    pause = yield_periodically()
    pieces = AnswerPieces(body)
    found: list[str] = []
    for names in pieces:
        found += _check_names(names)
        await pause()
    found += _check_names(parse_envelope(pieces.envelope).get("data") or [])
    return tuple(await run_cooperatively(sort_in_runs(found)))


def _check_names(names: object) -> list[str]:
    if not isinstance(names, list) or not set(map(type, names)) <= {str}:
        raise BadAnswer("a malformed list")
    return names


def _match(selector: str) -> Pairs:
    return (("match[]", selector),) if selector else ()
