"""A range query that takes too long is had in pieces: each is kept, and the next refresh asks for the others alone."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from gatewayz_metrics.errors import ServiceError, TimedOut
from gatewayz_metrics.promql.times import TimeRange, format_rfc3339
from gatewayz_metrics.range_cache import RangeAnswer, RangeQuery
from gatewayz_metrics.range_cache import fetch as fetch_module
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.lookup import CacheKey
from gatewayz_metrics.range_cache.pieces import SlowQueries, plan_pieces
from gatewayz_metrics.range_cache.plan import Extent

from tests.range_cache.relay import Relay
from tests.range_cache.rig import Rig, rig
from tests.support import samples
from tests.support.engine import Engine
from tests.support.fake_upstream import Behaviour, Exchange, FakeUpstream, Received, answering
from tests.support.waiting import reach

SLOW = RangeQuery(
    'sum by (path) (rate(fastapi_requests_total{env="production"}[5m]))',
    TimeRange(1000 * samples.START + 600_000, 1000 * samples.START + 1_800_000, 15_000),
)
POINTS = SLOW.range.steps + 1
TIMEOUT = 1.0


def span(request: Received) -> tuple[int, int]:
    """Start and end of a request, in milliseconds."""
    start, end = (round(1000 * float(request.form[name][0])) for name in ("start", "end"))
    return start, end


def points(request: Received) -> int:
    start, end = span(request)
    return (end - start) // SLOW.range.step_ms + 1


@contextmanager
def slow_cache(behaviour: Behaviour) -> Iterator[tuple[Rig, FakeUpstream]]:
    with (
        FakeUpstream(behaviour) as fake,
        rig(fake.url, time.time(), prometheus_timeout=TIMEOUT, prometheus_range_timeout=TIMEOUT) as cache,
    ):
        yield cache, fake


def direct(engine: Engine, question: RangeQuery) -> bytes:
    with rig(engine.url, time.time()) as found:
        return found.direct(question).body


def attempt(cache: Rig, question: RangeQuery) -> RangeAnswer | None:
    """The answer, or nothing when it failed."""
    try:
        return cache.ask(question)
    except ServiceError:
        return None


def test_a_query_too_slow_for_one_request_succeeds_after_some_refreshes(prometheus: Engine) -> None:
    """peers.md 1.1: an upstream that is slow in proportion to the range."""
    relay, answered = Relay(prometheus.url), []

    def in_proportion(exchange: Exchange) -> None:
        # The whole takes longer than the deadline, whatever the machine does.
        if exchange.wait(points(exchange.request) * 1.5 * TIMEOUT / POINTS):
            exchange.reply(*relay.answer(exchange))
            answered.append(span(exchange.request))

    with slow_cache(in_proportion) as (cache, fake):
        assert attempt(cache, SLOW) is None
        assert len(fake.requests) == 1
        for _ in range(30):
            if answer := attempt(cache, SLOW):
                break
        assert answer is not None
        assert answer.cache_status.reason == "slow"
        assert answer.body == direct(prometheus, SLOW)
        assert cache.ask(SLOW).cache_status.result == "hit"
    pieces = sorted(set(answered) - {span(fake.requests[0])})
    # Nothing that came was asked for again.
    assert len(pieces) > 2
    assert all(left[1] < right[0] for left, right in pairwise(pieces))


def hold_whole(exchange: Exchange) -> bool:
    """Whether it was the whole query, which is never answered."""
    if points(exchange.request) == POINTS:
        exchange.wait(30)
        return True
    return False


def test_a_dashboard_sees_what_came_before_its_patience_ended(
    prometheus: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """peers.md 1.1: partly there, with a warning, instead of an error; the rest with the next refresh."""
    # Too short for a second piece.
    monkeypatch.setattr(fetch_module, "DASHBOARD_PATIENCE", TIMEOUT)
    panel = replace(SLOW, may_be_stale=True)
    with rig(prometheus.url, time.time(), prometheus_range_timeout=3600) as cache:
        cache.ranges._fetcher._slow.timed_out(CacheKey(SLOW.query, StepGrid.of(SLOW.range), (), SLOW.tenant), POINTS)
        partly = cache.ask(panel)
        assert partly.cache_status.result == "stale"
        assert f"missing: {format_rfc3339(SLOW.range.start_ms)} to " in json.loads(partly.body)["warnings"][0]
        assert json.loads(partly.body)["data"]["result"]
        answers = [cache.ask(panel) for _ in range(POINTS)]
        assert answers[-1].body == direct(prometheus, SLOW)
        assert len(cache.source.calls) == len({call.parameters for call in cache.source.calls}) > 2


@pytest.mark.parametrize("fault", ["502 Bad Gateway", "422 Unprocessable Entity"])
def test_pieces_that_came_before_one_failed_are_kept(prometheus: Engine, fault: str) -> None:
    relay, asked = Relay(prometheus.url), []

    def third_fails(exchange: Exchange) -> None:
        if not hold_whole(exchange):
            asked.append(span(exchange.request))
            if len(asked) == 3:
                answering(b'{"status":"error","errorType":"execution","error":"x"}', fault)(exchange)
            else:
                exchange.reply(*relay.answer(exchange))

    with slow_cache(third_fails) as (cache, _):
        attempt(cache, SLOW)
        failed = attempt(cache, SLOW)
        assert failed is None or failed.status >= 422
        # What was left after the failed one was not asked for.
        assert len(asked) == 3
        # A refusal is repeated for some seconds.
        cache.clock.now += 6
        answer = cache.ask(SLOW)
        assert answer.body == direct(prometheus, SLOW)
        assert max(end for _, end in asked[3:]) == asked[2][1]


def test_a_client_that_leaves_loses_the_piece_under_way_alone(prometheus: Engine) -> None:
    relay, asked = Relay(prometheus.url), []
    relay.held = threading.Event()

    def second_hangs(exchange: Exchange) -> None:
        if not hold_whole(exchange):
            asked.append(span(exchange.request))
            if len(asked) == 2:
                relay(exchange)
            else:
                exchange.reply(*relay.answer(exchange))

    async def leave(cache: Rig) -> None:
        task = asyncio.ensure_future(cache.ranges.answer(SLOW))
        await reach(lambda: len(asked) == 2)
        task.cancel()
        await reach(lambda: bool(relay.abandoned))

    with slow_cache(second_hangs) as (cache, _):
        attempt(cache, SLOW)
        cache.runner.run(leave(cache))
        assert len(asked) == 2
        answer = cache.ask(SLOW)
        assert answer.body == direct(prometheus, SLOW)
        assert max(end for _, end in asked[2:]) == asked[1][1]


def test_quick_queries_are_never_cut(prometheus: Engine) -> None:
    relay = Relay(prometheus.url)
    with slow_cache(relay) as (cache, fake):
        cache.ask(SLOW)
        cache.ask(replace(SLOW, query="up"))
        assert [points(request) for request in fake.requests] == [POINTS, POINTS]


def test_what_may_not_be_put_together_is_never_cut(prometheus: Engine) -> None:
    relay = Relay(prometheus.url)
    whole = replace(SLOW, query="rate(fastapi_requests_total[5m] @ end())")

    def first_hangs(exchange: Exchange) -> None:
        if exchange.number == 1:
            exchange.wait(30)
        else:
            exchange.reply(*relay.answer(exchange))

    with slow_cache(first_hangs) as (cache, fake):
        assert attempt(cache, whole) is None
        assert cache.ask(whole).cache_status.result == "bypass"
        assert [points(request) for request in fake.requests] == [POINTS, POINTS]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def note(slow: SlowQueries, clock: Clock, points: int, seconds: float, error: BaseException | None = None) -> None:
    with suppress(TimedOut, asyncio.CancelledError), slow.watch("q", points):
        clock.now += seconds
        if error is not None:
            raise error


def test_the_size_of_a_piece_follows_the_speed_of_the_upstream() -> None:
    clock = Clock()
    slow = SlowQueries(60, clock)
    note(slow, clock, 1440, 30)
    assert slow.points_at_once("q") == inf
    note(slow, clock, 1440, 60, TimedOut(60))
    assert slow.points_at_once("q") == 120  # five seconds' worth at 24 points a second
    note(slow, clock, 120, 20)
    assert slow.points_at_once("q") == 30
    note(slow, clock, 30, 60, TimedOut(60))
    assert slow.points_at_once("q") == 10  # no smaller
    note(slow, clock, 10, 0.1)
    assert slow.points_at_once("q") == 10
    for _ in range(5):
        note(slow, clock, 1000, 0.1)
    assert slow.points_at_once("q") > 1440


@pytest.mark.parametrize(("seconds", "is_slow"), [(1, False), (30, True)])
def test_a_query_that_everybody_left_after_long_is_slow(seconds: float, is_slow: bool) -> None:
    clock = Clock()
    slow = SlowQueries(60, clock)
    note(slow, clock, 1440, seconds, asyncio.CancelledError())
    assert (slow.points_at_once("q") < inf) is is_slow


def test_of_a_slow_query_nothing_that_is_known_is_asked_for_again() -> None:
    known = (Extent(0, 1, 0.0), Extent(50, 52, 0.0))
    plan = plan_pieces(known, 0, 1000)
    assert (plan.gaps, plan.kept) == (((2, 49), (53, 1000)), known)
