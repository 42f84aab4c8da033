"""While the upstream fails, what is kept is the answer, with a warning, to whoever reads warnings."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from gatewayz_metrics.errors import ServiceError
from gatewayz_metrics.promql.times import format_rfc3339
from gatewayz_metrics.range_cache import RangeAnswer
from gatewayz_metrics.upstream.request import Tenant

from tests.range_cache.relay import Relay
from tests.range_cache.rig import TTL, Rig, rig, told
from tests.range_cache.test_faults import FAILURES, LONGER, QUESTION
from tests.support.fake_upstream import Behaviour, FakeUpstream, answering

OUTAGES = {
    "hangs",
    "reset",
    "reset mid-body",
    "too short",
    "broken chunks",
    "500 in text",
    "502 in HTML",
    "503 in words",
}
PEOPLE = replace(LONGER, may_be_stale=True)


@pytest.fixture
def cache(upstream: FakeUpstream) -> Iterator[Rig]:
    with rig(upstream.url, time.time(), prometheus_range_timeout=1) as found:
        yield found


def outcome(cache: Rig, question: object) -> RangeAnswer | str:
    try:
        answer = cache.ask(question)  # type: ignore[arg-type]
    except ServiceError as exc:
        return exc.code
    return answer


@pytest.mark.parametrize(("fault", "code"), FAILURES.values(), ids=FAILURES)
def test_kept_points_answer_in_an_outage_alone(
    cache: Rig, relay: Relay, request: pytest.FixtureRequest, fault: Behaviour, code: str | int
) -> None:
    kept = told(cache.ask(QUESTION))[1]
    relay.fault = fault

    answer = outcome(cache, PEOPLE)

    if request.node.callspec.id not in OUTAGES:
        assert answer == code or (isinstance(answer, RangeAnswer) and answer.status == code)
        return
    assert isinstance(answer, RangeAnswer)
    assert (answer.status, answer.cache_status.result) == (200, "stale")
    document = told(answer)[1]
    assert document["data"] == kept["data"]
    (warning,) = document["warnings"]
    first_missing = format_rfc3339(QUESTION.range.end_ms + 15_000)
    assert f"missing: {first_missing} to {format_rfc3339(LONGER.range.end_ms)}" in warning
    # Whoever reads no warnings gets the error, at the same time, too.
    refused = outcome(cache, LONGER)
    assert refused in (code, "suspended") or (isinstance(refused, RangeAnswer) and refused.status == code)
    # It is over when it is over.
    relay.fault = None
    if "suspended" not in (refused,):
        assert told(cache.ask(PEOPLE)) == told(cache.direct(LONGER))


def test_nothing_kept_is_the_error(cache: Rig, relay: Relay) -> None:
    elsewhere = replace(PEOPLE, range=replace(QUESTION.range, start_ms=LONGER.range.end_ms))
    elsewhere = replace(elsewhere, range=replace(elsewhere.range, end_ms=LONGER.range.end_ms + 300_000))
    cache.ask(QUESTION)
    relay.fault = answering(b"", "502 Bad Gateway")

    assert outcome(cache, replace(PEOPLE, query="up")) == "upstream_failed"
    assert outcome(cache, elsewhere) == "upstream_failed"
    assert outcome(cache, replace(PEOPLE, tenant=Tenant((("X-Scope-OrgID", "b"),)))) == "upstream_failed"
    assert outcome(cache, replace(PEOPLE, bypass="request")) == "upstream_failed"


def test_an_empty_past_is_no_answer(cache: Rig, relay: Relay) -> None:
    cache.ask(replace(QUESTION, query="nothing"))
    relay.fault = answering(b"", "502 Bad Gateway")
    assert outcome(cache, replace(PEOPLE, query="nothing")) == "upstream_failed"


def test_an_open_breaker_and_a_long_outage_take_nothing_from_it(cache: Rig, relay: Relay) -> None:
    cache.ask(QUESTION)
    relay.fault = answering(b"", "502 Bad Gateway")
    cache.clock.now += 5 * TTL
    reasons = []
    for _ in range(12):
        answer = cache.ask(PEOPLE)
        assert (answer.cache_status.result, round(answer.cache_status.age)) == ("stale", 5 * TTL)
        reasons.append(answer.cache_status.reason)
    assert set(reasons) == {"upstream_failed", "suspended"}


def test_what_came_while_another_part_failed_is_shown(cache: Rig, relay: Relay) -> None:
    """Pieces on both sides of what is kept; one of them fails."""
    middle = replace(QUESTION, range=replace(QUESTION.range, start_ms=QUESTION.range.start_ms + 300_000))
    cache.ask(middle)
    late = str(QUESTION.range.end_ms // 1000 + 15)
    relay.fail_from(late)
    stale = cache.ask(PEOPLE)
    assert stale.cache_status.result == "stale"
    assert told(stale)[1]["data"] == told(cache.direct(QUESTION))[1]["data"]
    (warning,) = told(stale)[1]["warnings"]
    assert warning.count(" to ") == 1


def test_points_too_new_to_be_kept_are_shown_when_they_came_with_the_failure(cache: Rig, relay: Relay) -> None:
    middle = replace(QUESTION, range=replace(QUESTION.range, start_ms=QUESTION.range.start_ms + 300_000))
    cache.clock.now = QUESTION.range.end_ms / 1000
    cache.ask(middle)
    early = str(QUESTION.range.start_ms // 1000)
    relay.fault = lambda exchange: (
        answering(b"", "502 Bad Gateway")(exchange)
        if exchange.request.form["start"] == [early]
        else exchange.reply(*relay.answer(exchange))
    )

    stale = cache.ask(replace(QUESTION, may_be_stale=True))

    assert stale.cache_status.result == "stale"
    assert told(stale)[1]["data"] == told(cache.direct(middle))[1]["data"]
    (warning,) = told(stale)[1]["warnings"]
    assert f"missing: {format_rfc3339(QUESTION.range.start_ms)} to " in warning
    assert warning.count(" to ") == 1
