"""Whatever the upstream does, a failure stays with the answer that met it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from gatewayz_metrics.errors import ServiceError
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.range_cache import RangeAnswer, RangeQuery

from tests.range_cache.relay import Relay
from tests.range_cache.rig import Rig, rig, told
from tests.support import fake_upstream as fake
from tests.support import samples
from tests.support.engine import Engine
from tests.support.fake_upstream import Behaviour, FakeUpstream, answering, error_body
from tests.support.waiting import reach

QUESTION = RangeQuery(
    'sum by (path) (rate(fastapi_requests_total{env="production"}[5m]))',
    TimeRange(1000 * samples.START + 600_000, 1000 * samples.START + 1_800_000, 15_000),
)
LONGER = replace(QUESTION, range=replace(QUESTION.range, end_ms=QUESTION.range.end_ms + 600_000))


@pytest.fixture
def cache(upstream: FakeUpstream) -> Iterator[Rig]:
    # What hangs costs a test this long; every other answer comes in far less.
    with rig(upstream.url, time.time(), prometheus_timeout=2, prometheus_range_timeout=2) as found:
        yield found


@pytest.fixture(scope="module")
def truth(prometheus: Engine) -> Iterator[Callable[[RangeQuery], object]]:
    with rig(prometheus.url, time.time()) as direct:
        yield lambda question: told(direct.direct(question))


FAILURES: dict[str, tuple[Behaviour, str | int]] = {
    "hangs": (fake.hang, "timeout"),
    "reset": (fake.reset_before_reply, "connection_lost"),
    "reset mid-body": (fake.reset_mid_body, "connection_lost"),
    "too short": (fake.truncated, "connection_lost"),
    "broken chunks": (fake.broken_chunks, "connection_lost"),
    "login page": (fake.html, "bad_response"),
    "cut JSON": (fake.invalid_json, "bad_response"),
    "cut between two braces": (
        answering(b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{}'),
        "bad_response",
    ),
    "no UTF-8": (fake.not_utf8, "bad_response"),
    "vector": (fake.no_series, "bad_response"),
    "redirect": (fake.redirect, "redirect"),
    "500 in text": (answering(b"oops", "500 Internal Server Error", Content_Type="text/plain"), "upstream_failed"),
    "502 in HTML": (answering(b"<html>", "502 Bad Gateway", Content_Type="text/html"), "upstream_failed"),
    "401": (answering(b"", "401 Unauthorized"), "upstream_auth"),
    "429": (answering(b"", "429 Too Many Requests"), "rate_limited"),
    "503 in words": (answering(error_body("timeout", "query timed out"), "503 Service Unavailable"), 503),
    "422 in words": (answering(error_body("execution", "too many samples"), "422 Unprocessable Entity"), 422),
    "500 in words": (answering(error_body("internal", "a block is gone"), "500 Internal Server Error"), 500),
}


def meets(cache: Rig, question: RangeQuery) -> str | int:
    """The code of the error, or the status of the refusal."""
    try:
        answer = cache.ask(question)
    except ServiceError as exc:
        return exc.code
    return answer.status


@pytest.mark.parametrize(("fault", "expected"), FAILURES.values(), ids=FAILURES)
def test_a_failure_changes_no_later_answer(
    cache: Rig,
    relay: Relay,
    truth: Callable[[RangeQuery], object],
    fault: Behaviour,
    expected: str | int,
) -> None:
    relay.fault = fault
    assert meets(cache, QUESTION) == expected
    relay.fault = None
    # A refusal is repeated for some seconds.
    cache.clock.now += 5
    assert told(cache.ask(QUESTION)) == truth(QUESTION)

    relay.fault = fault
    assert meets(cache, LONGER) == expected
    assert cache.ask(QUESTION).cache_status.result == "hit"
    relay.fault = None
    cache.clock.now += 5
    again = cache.ask(LONGER)
    assert again.cache_status.result == "partial"
    assert told(again) == truth(LONGER)


@pytest.mark.parametrize("name", ["with_warnings", "partial", "no_store"])
def test_an_answer_with_a_reservation_is_told_and_not_kept(
    cache: Rig, relay: Relay, truth: Callable[[RangeQuery], object], name: str
) -> None:
    relay.fault = getattr(relay, name)
    remark = {"with_warnings": b"a store did not answer", "partial": b'"isPartial":true', "no_store": b""}[name]
    first = cache.ask(QUESTION)
    assert remark in first.body
    relay.fault = None
    assert cache.ask(QUESTION).cache_status.result == "miss"

    relay.fault = getattr(relay, name)
    assert remark in cache.ask(LONGER).body
    relay.fault = None
    assert cache.ask(LONGER).cache_status.result == "partial"
    assert told(cache.ask(LONGER)) == truth(LONGER)


def test_points_beside_the_grid_are_passed_on_and_not_kept(
    cache: Rig, relay: Relay, upstream: FakeUpstream, truth: Callable[[RangeQuery], object]
) -> None:
    cache.ask(QUESTION)
    relay.fault = relay.off_grid

    answer = cache.ask(LONGER)

    assert (answer.cache_status.result, answer.cache_status.reason) == ("bypass", "off-grid")
    # The whole of it came from one question: nothing kept was put between.
    assert upstream.requests[-1].form["start"] == [str(LONGER.range.start_ms // 1000)]
    times = [at for series in told(answer)[1]["data"]["result"] for at, _ in series["values"]]
    assert all(at % 1 == 0.75 for at in times)
    relay.fault = None
    assert told(cache.ask(LONGER)) == truth(LONGER)


def test_what_one_gap_brought_is_kept_though_another_failed(
    cache: Rig, relay: Relay, truth: Callable[[RangeQuery], object]
) -> None:
    begin = QUESTION.range.start_ms
    middle = replace(QUESTION, range=TimeRange(begin + 300_000, begin + 900_000, 15_000))
    cache.ask(middle)
    late = str(middle.range.end_ms // 1000 + 15)
    relay.fail_from(late)
    assert meets(cache, QUESTION) == "upstream_failed"
    relay.fault = None

    answer = cache.ask(QUESTION)

    assert answer.cache_status.fetched == ((middle.range.end_ms + 15_000, QUESTION.range.end_ms),)
    assert told(answer) == truth(QUESTION)


def test_equal_questions_at_once_are_one(cache: Rig, relay: Relay, upstream: FakeUpstream) -> None:
    relay.held = threading.Event()

    async def together() -> list[RangeAnswer]:
        tasks = [asyncio.ensure_future(cache.ranges.answer(QUESTION)) for _ in range(50)]
        await reach(lambda: bool(upstream.requests))
        assert relay.held is not None
        relay.held.set()
        return await asyncio.gather(*tasks)

    answers = cache.runner.run(together())

    assert len(upstream.requests) == 1
    assert len({answer.body for answer in answers}) == 1


def test_different_ranges_share_the_gap_that_they_have_in_common(
    cache: Rig, upstream: FakeUpstream, truth: Callable[[RangeQuery], object]
) -> None:
    cache.ask(QUESTION)
    shorter = replace(LONGER, range=replace(LONGER.range, start_ms=LONGER.range.start_ms + 300_000))

    answers = cache.ask_all([LONGER, shorter])

    assert len(upstream.requests) == 2
    assert [told(answer) for answer in answers] == [truth(LONGER), truth(shorter)]


@pytest.mark.parametrize("leaving", [1, 7, 10])
def test_callers_that_leave_take_nothing_from_the_others(
    cache: Rig, relay: Relay, upstream: FakeUpstream, truth: Callable[[RangeQuery], object], leaving: int
) -> None:
    relay.held = threading.Event()

    async def some_leave() -> list[RangeAnswer]:
        tasks = [asyncio.ensure_future(cache.ranges.answer(QUESTION)) for _ in range(10)]
        await reach(lambda: bool(upstream.requests))
        for task in tasks[:leaving]:
            task.cancel()
        await asyncio.gather(*tasks[:leaving], return_exceptions=True)
        # Only when everybody has left is the upstream let off.
        if leaving == len(tasks):
            await reach(lambda: bool(relay.abandoned))
        assert relay.held is not None
        relay.held.set()
        return await asyncio.gather(*tasks[leaving:])

    answers = cache.runner.run(some_leave())

    assert len(upstream.requests) == 1
    assert all(told(answer) == truth(QUESTION) for answer in answers)
    assert bool(relay.abandoned) is (leaving == 10)
