"""Places at the upstream: who gets one, who waits, who is next."""

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from gatewayz_metrics import Settings
from gatewayz_metrics.errors import PoolExhausted, TooBusy
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.deadline import Deadline, start_deadline
from gatewayz_metrics.upstream.places import FairPlaces, QueryKind
from gatewayz_metrics.upstream.principal import Principal, set_principal
from gatewayz_metrics.upstream.request import ApiRequest, Endpoint

CATALOGUE, SHORT, LONG = QueryKind
ALICE, BOB = Principal("address a"), Principal("address b")


@dataclass
class Crowd:
    """Questions that hold their places until they are told to end."""

    places: FairPlaces
    began: list[str] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    ends: dict[str, asyncio.Event] = field(default_factory=dict)

    async def ask(self, name: str, principal: Principal = ALICE, kind: QueryKind = SHORT, seconds: float = 600) -> None:
        """One more question; returns when it has begun or waits."""
        self.ends[name] = asyncio.Event()

        async def question() -> None:
            set_principal(principal)
            async with self.places.hold(kind, Deadline(seconds, "PROMETHEUS_TIMEOUT", time.monotonic())):
                self.began.append(name)
                await self.ends[name].wait()

        self.tasks[name] = asyncio.create_task(question(), context=contextvars.copy_context())
        await asyncio.sleep(0)

    async def ask_many(self, count: int, principal: Principal = ALICE, kind: QueryKind = SHORT) -> int:
        """Many alike; how many of them have begun."""
        before = len(self.began)
        for number in range(count):
            await self.ask(f"{principal} {kind} {number}", principal, kind)
        return len(self.began) - before

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await asyncio.sleep(0)

    async def leave(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


def crowd(work: Callable[[Crowd], Awaitable[None]], **settings: int) -> None:
    """Run a story; afterwards no place is held and nobody waits."""

    async def story() -> None:
        found = Crowd(FairPlaces.of(Settings(**settings), Telemetry()))  # type: ignore[arg-type]  # numbers all
        try:
            await work(found)
        finally:
            await found.leave()
        assert (dict(found.places._held), found.places._waiting) == ({}, {})
        assert found.places._by_kind.total() == 0

    asyncio.run(story())


@pytest.mark.parametrize(
    ("settings", "catalogue", "short", "long"),
    [
        ({}, 20, 16, 12),
        ({"prometheus_connections": 100}, 100, 20, 15),
        ({"prometheus_connections": 1}, 1, 1, 1),
        ({"prometheus_connections": 2}, 2, 1, 1),
        ({"max_concurrent_queries": 1}, 20, 1, 1),
        ({"max_concurrent_queries": 2}, 20, 2, 1),
        ({"max_concurrent_queries": 1000}, 20, 16, 12),
    ],
    ids=str,
)
def test_each_kind_leaves_places_to_those_before_it(
    settings: dict[str, int], catalogue: int, short: int, long: int
) -> None:
    found = FairPlaces.of(Settings(**settings), Telemetry())  # type: ignore[arg-type]  # numbers all

    assert found.limits == {CATALOGUE: catalogue, SHORT: short, LONG: long}


@pytest.mark.parametrize(("kind", "others"), [(LONG, [SHORT, CATALOGUE]), (SHORT, [CATALOGUE])])
def test_however_many_ask_one_kind_never_takes_the_last_places(kind: QueryKind, others: list[QueryKind]) -> None:
    async def story(found: Crowd) -> None:
        for number in range(50):
            await found.ask_many(3, Principal(f"address {number}"), kind)
        for other in others:
            assert await found.ask_many(1, ALICE, other) == 1

    crowd(story)


def test_a_principal_that_takes_all_it_gets_leaves_some_to_the_next() -> None:
    async def story(found: Crowd) -> None:
        assert await found.ask_many(40, ALICE) == 11  # of 16
        assert await found.ask_many(40, BOB) == 4

    crowd(story)


def test_a_caller_with_many_names_gets_no_more_than_its_address_may() -> None:
    async def story(found: Crowd) -> None:
        for number in range(200):
            await found.ask(str(number), Principal("address a", f"user {number}"))
        assert len(found.began) == 13
        assert await found.ask_many(1, BOB) == 1

    crowd(story)


def test_users_of_one_grafana_leave_places_to_one_another() -> None:
    async def story(found: Crowd) -> None:
        assert await found.ask_many(40, Principal("address a", "one")) == 11
        assert await found.ask_many(1, Principal("address a", "two")) == 1

    crowd(story)


def test_a_free_place_goes_to_whoever_holds_the_fewest() -> None:
    async def story(found: Crowd) -> None:
        for principal in (ALICE, BOB, Principal("c")):
            await found.ask_many(20, principal)
        begun = len(found.began)
        await found.ask("late", Principal("late"))
        assert len(found.began) == begun == 16
        await found.end(found.began[0])

        assert found.began[begun:] == ["late"]

    crowd(story)


def test_equals_take_turns() -> None:
    async def story(found: Crowd) -> None:
        await found.ask("holder", Principal("holder"))
        for name in ("a1", "a2", "b1", "b2", "c1", "c2"):
            await found.ask(name, Principal(name[0]))
        for _ in range(6):
            await found.end(found.began[-1])

        assert found.began == ["holder", "a1", "b1", "c1", "a2", "b2", "c2"]

    crowd(story, max_concurrent_queries=1)


@pytest.mark.parametrize(("kind", "error"), [(SHORT, TooBusy), (LONG, TooBusy), (CATALOGUE, PoolExhausted)])
def test_a_wait_ends_before_the_deadline_and_is_told(kind: QueryKind, error: type[Exception]) -> None:
    async def story(found: Crowd) -> None:
        await found.ask("holder", BOB, kind)
        await found.ask("waits", ALICE, kind, seconds=0.05)
        with pytest.raises(error):
            await found.tasks["waits"]
        page = found.places.telemetry.page().decode()

        assert f'upstream_place_refusals_total{{kind="{kind.slug}"}} 1.0' in page
        assert f'upstream_places{{kind="{kind.slug}",state="waiting"}} 0.0' in page
        assert f'upstream_places{{kind="{kind.slug}",state="held"}} 1.0' in page

    crowd(story, prometheus_connections=1)


def test_who_leaves_while_waiting_is_passed_over() -> None:
    async def story(found: Crowd) -> None:
        await found.ask("holder", BOB)
        await found.ask("leaves")
        await found.ask("stays")
        found.tasks["leaves"].cancel()
        found.ends["holder"].set()
        await found.tasks["holder"]
        await asyncio.sleep(0)

        assert found.began == ["holder", "stays"]

    crowd(story, max_concurrent_queries=1)


def test_a_place_granted_to_one_who_just_left_goes_on() -> None:
    async def story(found: Crowd) -> None:
        await found.ask("holder", BOB)
        await found.ask("leaves")
        await found.ask("stays")
        found.ends["holder"].set()
        await asyncio.sleep(0)
        # Granted, and not yet awake.
        assert found.places._by_kind.total() == 1
        found.tasks["leaves"].cancel()
        for _ in range(3):
            await asyncio.sleep(0)

        assert found.began == ["holder", "stays"]

    crowd(story, max_concurrent_queries=1)


def test_a_queue_without_end_is_refused_at_once() -> None:
    async def story(found: Crowd) -> None:
        await found.ask_many(502)
        await found.ask("one too many")
        with pytest.raises(TooBusy):
            await found.tasks["one too many"]
        await found.ask("another's", BOB)
        assert not found.tasks["another's"].done()

    crowd(story, max_concurrent_queries=1)


@pytest.mark.parametrize(
    ("endpoint", "asked", "seconds", "setting"),
    [
        (Endpoint.QUERY, None, 8, "PROMETHEUS_TIMEOUT"),
        (Endpoint.QUERY_RANGE, None, 60, "PROMETHEUS_RANGE_TIMEOUT"),
        (Endpoint.QUERY_RANGE, "20s", 20.5, "the request's parameter timeout"),
        (Endpoint.QUERY, "2", 2.5, "the request's parameter timeout"),
        (Endpoint.QUERY, "20s", 8, "PROMETHEUS_TIMEOUT"),
        (Endpoint.QUERY_RANGE, "1h", 60, "PROMETHEUS_RANGE_TIMEOUT"),
        (Endpoint.QUERY, "nonsense", 8, "PROMETHEUS_TIMEOUT"),
        (Endpoint.QUERY, "0", 8, "PROMETHEUS_TIMEOUT"),
    ],
)
def test_the_shorter_deadline_holds(endpoint: Endpoint, asked: str | None, seconds: float, setting: str) -> None:
    call = ApiRequest(endpoint, () if asked is None else (("timeout", asked),))
    found = start_deadline(call, Settings(prometheus_timeout=8, prometheus_range_timeout=60))

    assert (found.seconds, found.setting) == (seconds, setting)
    assert found.remaining_wait < found.remaining <= seconds
