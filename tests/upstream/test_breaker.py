"""The pause for an upstream that keeps failing."""

from collections.abc import Hashable

import pytest
from gatewayz_metrics.errors import AccessRefused, CircuitOpen, RateLimited, TimedOut, Unreachable, UpstreamError
from gatewayz_metrics.upstream.breaker import FAILURES, PAUSE, CallerPauses, CircuitBreaker

DOWN = Unreachable("prometheus:9090")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def fail(breaker: CircuitBreaker, times: int = FAILURES, error: UpstreamError = DOWN) -> None:
    for _ in range(times):
        if breaker.failed():
            breaker.open(error)


def lets_through(breaker: CircuitBreaker | CallerPauses, *caller: Hashable) -> bool:
    try:
        breaker.check(*caller)
    except CircuitOpen:
        return False
    return True


@pytest.mark.parametrize(("failures", "passes"), [(0, True), (FAILURES - 1, True), (FAILURES, False)])
def test_it_opens_after_failures_in_a_row(breaker: CircuitBreaker, failures: int, passes: bool) -> None:
    fail(breaker, failures)

    assert lets_through(breaker) is passes


def test_a_success_between_starts_the_count_again(breaker: CircuitBreaker) -> None:
    fail(breaker, FAILURES - 1)
    breaker.succeeded()
    fail(breaker, FAILURES - 1)

    assert lets_through(breaker)


@pytest.mark.parametrize(("passed", "passes"), [(PAUSE - 0.01, False), (PAUSE, True)])
def test_the_pause_ends(breaker: CircuitBreaker, clock: Clock, passed: float, passes: bool) -> None:
    fail(breaker)
    clock.now += passed

    assert lets_through(breaker) is passes


def test_one_probe_goes_first(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += PAUSE

    assert [lets_through(breaker) for _ in range(3)] == [True, False, False]


def test_a_probe_that_succeeds_opens_the_way_for_all(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += PAUSE
    breaker.check()
    breaker.succeeded()

    assert [lets_through(breaker) for _ in range(3)] == [True] * 3


def test_a_probe_that_fails_means_another_pause(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += PAUSE
    breaker.check()
    clock.now += 1
    fail(breaker, 1, TimedOut(8))

    with pytest.raises(CircuitOpen, match=r"did not answer within 8 s.* The next attempt is in 5\.0 s\."):
        breaker.check()


def test_a_probe_that_is_given_up_is_followed_by_another(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += PAUSE
    breaker.check()
    clock.now += PAUSE

    assert lets_through(breaker)


def test_it_says_what_happened_and_when_it_goes_on(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += 2

    with pytest.raises(CircuitOpen) as caught:
        breaker.check()

    assert caught.value.sentence == f"{DOWN.sentence} The next attempt is in 3.0 s."
    assert caught.value.cause is DOWN


def test_failures_during_the_pause_say_nothing_new(breaker: CircuitBreaker) -> None:
    fail(breaker)

    assert not any(breaker.failed() for _ in range(FAILURES))


def test_asking_whether_it_is_open_does_not_make_a_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    with pytest.raises(CircuitOpen):
        breaker.refuse_if_open()
    clock.now += PAUSE
    breaker.refuse_if_open()

    assert [lets_through(breaker) for _ in range(2)] == [True, False]


# --------------------------------------------------------------------------- one caller alone


@pytest.fixture
def pauses(clock: Clock) -> CallerPauses:
    return CallerPauses(clock)


@pytest.mark.parametrize(("asked", "pause"), [(2.0, 2.0), (60.0, 60.0), (86400.0, 60.0)])
def test_a_rate_limit_counts_at_once_for_as_long_as_asked(
    pauses: CallerPauses, clock: Clock, asked: float, pause: float
) -> None:
    pauses.failed("a", RateLimited(asked))
    clock.now += pause - 0.01
    before = lets_through(pauses, "a")
    clock.now += 0.01

    assert (before, lets_through(pauses, "a")) == (False, True)


@pytest.mark.parametrize("error", [RateLimited(None), RateLimited(0.0), AccessRefused(401), AccessRefused(403)])
def test_a_refusal_without_a_time_counts_after_some_in_a_row(pauses: CallerPauses, error: UpstreamError) -> None:
    for _ in range(FAILURES - 1):
        pauses.failed("a", error)
    assert lets_through(pauses, "a")

    pauses.failed("a", error)
    assert not lets_through(pauses, "a")


def test_nobody_else_pauses(pauses: CallerPauses) -> None:
    pauses.failed("a", RateLimited(60))

    assert lets_through(pauses, "b")


def test_an_answer_ends_a_pause(pauses: CallerPauses) -> None:
    pauses.failed("a", RateLimited(60))
    pauses.succeeded("a")

    assert lets_through(pauses, "a")


def test_what_is_no_refusal_is_not_remembered(pauses: CallerPauses) -> None:
    for _ in range(2 * FAILURES):
        pauses.failed("a", DOWN)

    assert lets_through(pauses, "a")


def test_no_more_callers_are_remembered_than_agreed(pauses: CallerPauses) -> None:
    for number in range(3000):
        pauses.failed(number, RateLimited(60))

    assert [lets_through(pauses, number) for number in (0, 1999, 2000, 2999)] == [True, True, False, False]
