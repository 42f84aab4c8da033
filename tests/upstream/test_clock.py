"""The time that our clock and the upstream's have both reached."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

import pytest
from gatewayz_metrics import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import UpstreamClient
from gatewayz_metrics.upstream.clock import TrustedClock

from tests.support.fake_upstream import FakeUpstream, answering

NOW = 1_800_000_000.0


@dataclass
class Clocks:
    """Both clocks of the machine, moved by the test."""

    wall: float = NOW
    monotonic: float = 100.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def trusted(clocks: Clocks) -> tuple[TrustedClock, Callable[[], float | None]]:
    """A clock, and how far ahead it says that ours is."""
    telemetry = Telemetry()
    found = TrustedClock(telemetry, wall=lambda: clocks.wall, monotonic=lambda: clocks.monotonic)
    return found, lambda: telemetry.registry.get_sample_value("gatewayz_metrics_upstream_clock_skew_seconds")


def date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


def test_without_a_date_it_is_our_clock() -> None:
    clocks = Clocks()
    clock, skew = trusted(clocks)
    clocks.pass_(5)
    for text in (None, "", "yesterday", "Thu, 99 Foo 2026 00:00:00 GMT"):
        clock.note_date(text)

    assert (clock.now(), skew()) == (NOW + 5, 0)


@pytest.mark.parametrize(
    ("ahead", "reached", "skew"), [(600, -600, 599), (0.4, -0.4, 0), (0, 0, 0), (-600, 0, -600), (1.5, -1.5, 0.5)]
)
def test_the_earlier_clock_counts_and_the_skew_is_measured(ahead: float, reached: float, skew: float) -> None:
    """H7: our clock ahead by so much."""
    clocks = Clocks()
    clock, measured = trusted(clocks)

    clock.note_date(date(NOW - ahead) if ahead in (600, -600, 0) else date(NOW))
    if ahead not in (600, -600, 0):
        clocks.wall += ahead
        clock.note_date(date(NOW))

    assert clock.now() == pytest.approx(NOW + reached if ahead in (600, -600, 0) else NOW)
    assert measured() == pytest.approx(skew)
    clocks.pass_(30)
    assert clock.now() == pytest.approx((NOW + reached if ahead in (600, -600, 0) else NOW) + 30)


def test_the_earliest_of_several_servers_counts_for_a_while() -> None:
    clocks = Clocks()
    clock, _ = trusted(clocks)
    clock.note_date(date(NOW - 50))
    clocks.pass_(10)
    clock.note_date(date(NOW + 10))

    assert clock.now() == NOW - 40
    for _ in range(3):
        clocks.pass_(61)
        clock.note_date(date(clocks.wall))
    assert clock.now() == clocks.wall


def test_a_jump_ahead_is_believed_once_an_answer_agrees() -> None:
    clocks = Clocks()
    clock, _ = trusted(clocks)
    clocks.wall += 3600
    assert clock.now() == NOW
    clock.note_date(date(NOW))
    assert clock.now() == NOW

    clocks.pass_(200)
    for _ in range(3):
        clock.note_date(date(clocks.wall))
        clocks.pass_(61)

    assert clock.now() == clocks.wall
    assert clock.jumps == 0


def test_a_step_back_is_counted_and_what_began_before_it_settles_nothing() -> None:
    clocks = Clocks()
    clock, _ = trusted(clocks)
    begun = clock.begin()
    assert clock.settle(begun) == NOW
    clocks.wall -= 100

    assert clock.settle(begun) is None
    assert (clock.now(), clock.jumps) == (NOW - 100, 1)


def test_clocks_that_drift_are_no_jump() -> None:
    clocks = Clocks()
    clock, _ = trusted(clocks)
    for _ in range(100):
        clocks.pass_(10)
        clocks.wall += 0.1
        assert clock.now() == clocks.wall
    for _ in range(100):
        clocks.wall -= 0.1
        assert clock.now() == clocks.wall
    assert clock.jumps == 0


def test_an_answers_own_date_corrects_when_it_was_asked_for() -> None:
    clocks = Clocks()
    clock, _ = trusted(clocks)
    begun = clock.begin()
    clocks.pass_(8)
    clock.note_date(date(NOW - 492))

    assert clock.settle(begun) == NOW - 500


def test_the_client_tells_the_date_of_every_answer() -> None:
    async def ask(url: str) -> float:
        clock = TrustedClock(Telemetry())
        async with UpstreamClient(Settings(prometheus_url=url), Telemetry(), clock) as upstream:
            await upstream.instant("1")
        return clock.now()

    body = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
    with FakeUpstream(answering(body, Date=date(NOW - 1_000_000_000))) as upstream:
        assert asyncio.run(ask(upstream.url)) == pytest.approx(NOW - 1_000_000_000, abs=60)
