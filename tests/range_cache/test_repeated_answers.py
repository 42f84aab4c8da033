"""What is repeated although it is no plain success: infos, warnings of the engine, refusals; and what is not."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.range_cache import RangeQuery
from gatewayz_metrics.range_cache.annotations import merge_notes
from gatewayz_metrics.upstream.response import AnswerNotes

from tests.range_cache.relay import Relay
from tests.range_cache.rig import Rig, rig, told
from tests.support import samples
from tests.support.fake_upstream import Exchange, FakeUpstream, answering, error_body

QUESTION = RangeQuery(
    'sum by (path) (rate(fastapi_requests_total{env="production"}[5m]))',
    TimeRange(1000 * samples.START + 600_000, 1000 * samples.START + 1_800_000, 15_000),
)
FORCED = (
    "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/"
    'prometheus/latest/querying/functions/#histogram_quantile) for metric name "http2_s", from buckets 0.1 to +Inf, '
    "with a max diff of 2.5e-05, over {} samples from 2026-11-24T18:{:02}:00Z to 2026-11-24T19:00:00Z (1:1)"
)


@pytest.fixture
def cache(upstream: FakeUpstream) -> Iterator[Rig]:
    with rig(upstream.url, time.time()) as found:
        yield found


def moved(number: int) -> RangeQuery:
    step = QUESTION.range.step_ms
    shifted = TimeRange(QUESTION.range.start_ms + number * step, QUESTION.range.end_ms + number * step, step)
    return replace(QUESTION, range=shifted)


def noting(relay: Relay, member: str, texts: Iterator[str]) -> None:
    def reply(exchange: Exchange) -> None:
        body, status = relay.answer(exchange)
        exchange.reply(body[:-1] + b',"%b":%b}' % (member.encode(), json.dumps([next(texts)]).encode()), status)

    relay.fault = reply


def test_infos_that_count_do_not_pile_up(cache: Rig, relay: Relay) -> None:
    """1.2: each piece of the range says how many samples it had."""
    noting(relay, "infos", (FORCED.format(number, number % 60) for number in count(100)))

    found = [told(cache.ask(moved(number)))[1]["infos"] for number in range(40)]

    assert {len(infos) for infos in found} == {1}
    [entry] = [value for value, _ in cache.ranges._kept.store._values.values()]
    assert len(entry.coverage) <= 9


def test_infos_of_different_places_and_names_stay_apart() -> None:
    infos = tuple(f'PromQL info: metric might not be a counter: "{name}" (1:{at})' for name in "ab" for at in (6, 31))
    one, other = AnswerNotes(infos=infos), AnswerNotes(infos=(*infos[:1], "PromQL info: got 3 of 4 (1:9)"))

    assert merge_notes([one, other]).infos == (*infos, "PromQL info: got 3 of 4 (1:9)")
    # What the engine itself tells apart in one answer is never put together.
    assert merge_notes([AnswerNotes(infos=("1 of 2", "2 of 2"))]).infos == ("1 of 2", "2 of 2")
    assert merge_notes([AnswerNotes(infos=("1 of 2",)), AnswerNotes(infos=("2 of 2",))]).infos == ("2 of 2",)


def test_warnings_of_the_engine_are_repeated_for_seconds(cache: Rig, relay: Relay, upstream: FakeUpstream) -> None:
    """1.6: they follow from the query and its data."""
    text = 'PromQL warning: encountered a mix of histograms and floats for metric name "m" (1:6)'
    noting(relay, "warnings", iter([text] * 9))

    first, again = (cache.ask(QUESTION) for _ in range(2))

    assert (first.cache_status.result, again.cache_status.result) == ("miss", "hit")
    assert told(again) == told(first)
    assert told(again)[1]["warnings"] == [text]
    assert len(upstream.requests) == 1
    cache.clock.now += 11
    assert cache.ask(QUESTION).cache_status.result == "miss"


@pytest.mark.parametrize(
    ("status", "kind"), [("400 Bad Request", "bad_data"), ("422 Unprocessable Entity", "execution")]
)
def test_refused_range_queries_are_repeated_for_seconds(
    cache: Rig, relay: Relay, upstream: FakeUpstream, status: str, kind: str
) -> None:
    """1.6: browsers ask twice, and every viewer of a broken panel asks."""
    relay.fault = answering(error_body(kind, "many-to-many matching not allowed"), status)

    answers = []
    for _ in range(3):
        answers.append(cache.ask(QUESTION))
        cache.clock.now += 1
    assert {(answer.status, answer.body) for answer in answers} == {
        (int(status[:3]), error_body(kind, "many-to-many matching not allowed"))
    }
    assert [answer.cache_status.result for answer in answers] == ["miss", "hit", "hit"]
    assert len(upstream.requests) == 1
    # Not for alert rules, and not for long.
    cache.ask(replace(QUESTION, bypass="alert"))
    assert len(upstream.requests) == 2
    cache.clock.now += 3
    cache.ask(QUESTION)
    assert len(upstream.requests) == 3
    # A caller who wants nothing kept takes the refusal away for all.
    relay.fault = None
    assert cache.ask(replace(QUESTION, renew=True)).status == 200
    assert cache.ask(QUESTION).cache_status.result == "hit"


def test_an_overloaded_upstream_is_asked_again(cache: Rig, relay: Relay, upstream: FakeUpstream) -> None:
    relay.fault = answering(error_body("timeout", "query timed out"), "503 Service Unavailable")

    for _ in range(2):
        assert cache.ask(QUESTION).status == 503
    assert len(upstream.requests) == 2


def test_panels_read_at_once_do_not_expire_at_once(cache: Rig, upstream: FakeUpstream) -> None:
    """1.4: in no refresh of an hour is more than a part of one panel read anew."""
    panels = [replace(QUESTION, query=f"{QUESTION.query} * {number}") for number in range(5)]
    for panel in panels:
        cache.ask(panel)
    asked_at = cache.clock.now

    shares = []
    while cache.clock.now < asked_at + 600:
        cache.clock.now += 10
        upstream.requests.clear()
        steps = sum(
            (end - start) // 15_000 + 1 for panel in panels for start, end in cache.ask(panel).cache_status.fetched
        )
        shares.append(steps / (5 * panels[0].range.steps))
    assert max(shares) <= 0.3
    assert 1 <= sum(shares) < 2.5
