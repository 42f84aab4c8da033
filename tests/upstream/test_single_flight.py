"""One call under way per question, its value reused until it ages."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from gatewayz_metrics.memory import MemoryBudget, charging, reserve_memory
from gatewayz_metrics.upstream.single_flight import LookupResult, SingleFlightCache


@dataclass
class Clock:
    """Time that passes when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Source:
    """Counts its calls; each gives the next number, once it is let go."""

    error: Exception | None = None
    calls: int = 0
    cancelled: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return number


def cache(ttl: float = 5.0, size: int = 256, clock: Callable[[], float] | None = None) -> SingleFlightCache[int]:
    return SingleFlightCache(lambda _: ttl, clock or Clock(), size=size)


async def let_run() -> None:
    """Give every task its turn."""
    for _ in range(5):
        await asyncio.sleep(0)


def number(value: int) -> Callable[[], Awaitable[int]]:
    async def produce() -> int:
        return value

    return produce


async def unexpected() -> int:
    raise AssertionError("the kept value was enough")


@pytest.mark.parametrize("ttl", [5.0, 0.0])
def test_fifty_at_once_cost_one_call(ttl: float) -> None:
    async def crowd() -> tuple[list[int], Source]:
        source, shared = Source(), cache(ttl)
        callers = [asyncio.create_task(shared.get("key", source)) for _ in range(50)]
        await let_run()
        source.gate.set()
        return await asyncio.gather(*callers), source

    values, source = asyncio.run(crowd())

    assert values == [1] * 50
    assert source.calls == 1


def test_different_questions_do_not_wait_for_one_another() -> None:
    async def ask() -> int:
        source, shared = Source(), cache()
        slow = asyncio.create_task(shared.get("slow", source))
        await let_run()
        quick = await shared.get("quick", number(7))
        source.gate.set()
        await slow
        return quick

    assert asyncio.run(ask()) == 7


@pytest.mark.parametrize("leaving", [0, 1, 2], ids=["the first", "one between", "the last"])
def test_a_caller_that_leaves_takes_nothing_from_the_others(leaving: int) -> None:
    async def crowd() -> tuple[list[int | BaseException], Source]:
        source, shared = Source(), cache()
        callers = [asyncio.create_task(shared.get("key", source)) for _ in range(3)]
        await let_run()
        callers[leaving].cancel()
        await let_run()
        source.gate.set()
        return await asyncio.gather(*callers, return_exceptions=True), source

    values, source = asyncio.run(crowd())

    assert isinstance(values.pop(leaving), asyncio.CancelledError)
    assert values == [1, 1]
    assert (source.calls, source.cancelled) == (1, 0)


def test_a_call_that_nobody_waits_for_ends() -> None:
    async def crowd() -> Source:
        source, shared = Source(), cache()
        callers = [asyncio.create_task(shared.get("key", source)) for _ in range(3)]
        await let_run()
        for caller in callers:
            caller.cancel()
        await let_run()
        return source

    source = asyncio.run(crowd())

    assert (source.calls, source.cancelled) == (1, 1)


def test_whoever_comes_after_the_last_left_gets_a_call_of_their_own() -> None:
    async def succession() -> tuple[int, Source]:
        source, shared = Source(), cache()
        leaver = asyncio.create_task(shared.get("key", source))
        await let_run()
        leaver.cancel()
        # One turn: the leaver is gone, its call is being cancelled but has not ended.
        await asyncio.sleep(0)
        heir = asyncio.create_task(shared.get("key", source))
        await let_run()
        source.gate.set()
        return await heir, source

    value, source = asyncio.run(succession())

    assert value == 2
    assert (source.calls, source.cancelled) == (2, 1)


def test_an_error_reaches_everybody_and_is_not_kept() -> None:
    async def crowd() -> tuple[list[int | BaseException], int]:
        source, shared = Source(error=LookupError("gone")), cache()
        callers = [asyncio.create_task(shared.get("key", source)) for _ in range(3)]
        await let_run()
        source.gate.set()
        errors = await asyncio.gather(*callers, return_exceptions=True)
        source.error = None
        return errors, await shared.get("key", source)

    errors, afterwards = asyncio.run(crowd())

    assert [repr(error) for error in errors] == ["LookupError('gone')"] * 3
    assert afterwards == 2


@pytest.mark.parametrize(
    ("ttl", "age", "value"), [(5.0, 0.0, 1), (5.0, 4.999, 1), (5.0, 5.0, 2), (5.0, 99.0, 2), (0.0, 0.0, 2)]
)
def test_a_value_is_reused_until_it_ages(ttl: float, age: float, value: int) -> None:
    async def ask() -> int:
        clock = Clock()
        shared = cache(ttl, clock=clock)
        await shared.get("key", number(1))
        clock.now += age
        return await shared.get("key", number(2))

    assert asyncio.run(ask()) == value


def test_the_lifetime_may_depend_on_the_value() -> None:
    async def ask() -> list[int]:
        clock = Clock()
        shared: SingleFlightCache[int] = SingleFlightCache(lambda value: 10.0 if value == 1 else 1.0, clock)
        await shared.get("good", number(1))
        await shared.get("poor", number(2))
        clock.now += 5
        return [await shared.get("good", number(3)), await shared.get("poor", number(3))]

    assert asyncio.run(ask()) == [1, 3]


def test_no_more_values_are_kept_than_agreed() -> None:
    async def ask() -> tuple[int, list[int]]:
        shared = cache(size=3)
        for key in range(10):
            await shared.get(key, number(key))
        kept = len(shared._kept)
        return kept, [await shared.get(key, unexpected) for key in (7, 8, 9)]

    assert asyncio.run(ask()) == (3, [7, 8, 9])


def test_values_that_have_aged_make_room() -> None:
    async def ask() -> list[object]:
        clock = Clock()
        shared = cache(5.0, clock=clock)
        for key in range(10):
            await shared.get(key, number(key))
        clock.now += 5
        await shared.get("last", number(1))
        return list(shared._kept)

    assert asyncio.run(ask()) == ["last"]


def test_every_look_up_is_told() -> None:
    told: list[LookupResult] = []

    async def ask() -> None:
        clock, source = Clock(), Source()
        shared: SingleFlightCache[int] = SingleFlightCache(lambda _: 5.0, clock, told.append)
        callers = [asyncio.create_task(shared.get("key", source)) for _ in range(3)]
        await let_run()
        source.gate.set()
        await asyncio.gather(*callers)
        await shared.get("key", source)
        clock.now += 5
        await shared.get("key", source)

    asyncio.run(ask())

    assert told == ["miss", "coalesced", "coalesced", "hit", "miss"]


def test_nothing_is_left_behind() -> None:
    async def ask() -> SingleFlightCache[int]:
        source, shared = Source(error=LookupError()), cache(0.0)
        left = asyncio.create_task(shared.get("left", Source()))
        failed = asyncio.create_task(shared.get("failed", source))
        await let_run()
        left.cancel()
        source.gate.set()
        await asyncio.gather(left, failed, return_exceptions=True)
        await shared.get("good", number(1))
        await let_run()
        return shared

    shared = asyncio.run(ask())

    assert (shared._kept, shared._flights) == ({}, {})


# --------------------------------------------------------------------------- while another is under way


def stale(seconds: float) -> Callable[[int], float]:
    return lambda _: seconds


def test_a_value_that_has_aged_is_given_while_one_call_for_another_runs() -> None:
    told: list[LookupResult] = []

    async def crowd() -> tuple[list[int], int, Source]:
        clock, source = Clock(), Source()
        shared: SingleFlightCache[int] = SingleFlightCache(lambda _: 5.0, clock, told.append)
        source.gate.set()
        await shared.get("key", source, stale=stale(3))
        source.gate.clear()
        clock.now += 5
        old = [await shared.get("key", source, stale=stale(3)) for _ in range(50)]
        clock.now += 2.999
        old.append(await shared.get("key", source, stale=stale(3)))
        source.gate.set()
        await let_run()
        return old, await shared.get("key", unexpected), source

    old, new, source = asyncio.run(crowd())

    assert set(old) == {1}
    assert new == source.calls == 2
    assert told == ["miss", "refresh", *["hit"] * 50, "hit"]


def test_at_the_bound_everybody_waits_for_the_call_under_way() -> None:
    async def crowd() -> tuple[list[int], int]:
        clock, source = Clock(), Source()
        shared = cache(5.0, clock=clock)
        await shared.get("key", number(0), stale=stale(3))
        clock.now += 5
        await shared.get("key", source, stale=stale(3))
        clock.now += 3
        callers = [asyncio.create_task(shared.get("key", source, stale=stale(3))) for _ in range(3)]
        await let_run()
        # One who leaves, even were it the last, does not end it.
        callers.pop().cancel()
        source.gate.set()
        return await asyncio.gather(*callers), source.calls

    assert asyncio.run(crowd()) == ([1, 1], 1)


@pytest.mark.parametrize(("seconds", "age", "value"), [(0.0, 5.0, 2), (3.0, 7.999, 1), (3.0, 8.0, 2)])
def test_nothing_older_than_the_bound_is_given(seconds: float, age: float, value: int) -> None:
    async def ask() -> int:
        clock = Clock()
        shared = cache(5.0, clock=clock)
        await shared.get("key", number(1), stale=stale(seconds))
        clock.now += age
        return await shared.get("key", number(2), stale=stale(seconds))

    assert asyncio.run(ask()) == value


def test_what_was_long_in_coming_is_given_no_older() -> None:
    async def ask() -> list[int]:
        clock, source = Clock(), Source()
        shared = cache(5.0, clock=clock)
        first = asyncio.create_task(shared.get("key", source, stale=stale(3)))
        await let_run()
        clock.now += 2
        source.gate.set()
        found = [await first]
        for seconds in (4.999, 0.999, 0.002):  # 5 after it came, then 8 after it was asked for
            clock.now += seconds
            source.gate.clear()
            asking = asyncio.create_task(shared.get("key", source, stale=stale(3)))
            await let_run()
            if not asking.done():
                source.gate.set()
            found.append(await asking)
        return found

    assert asyncio.run(ask()) == [1, 1, 1, 2]


def test_a_failed_call_ends_the_old_value(caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> list[int]:
        clock, source = Clock(), Source(error=LookupError("gone"))
        shared = cache(5.0, clock=clock)
        await shared.get("key", number(7), stale=stale(3))
        clock.now += 5
        found = [await shared.get("key", source, stale=stale(3))]
        source.gate.set()
        await let_run()
        return [*found, await shared.get("key", number(8), stale=stale(3))]

    assert asyncio.run(ask()) == [7, 8]
    assert [record.getMessage() for record in caplog.records] == ["What is kept could not be refreshed: gone"]


def test_a_purge_ends_the_old_value_and_keeps_nothing_of_the_call() -> None:
    async def ask() -> int:
        clock, source = Clock(), Source()
        shared = cache(5.0, clock=clock)
        await shared.get("key", number(7), stale=stale(3))
        clock.now += 5
        await shared.get("key", source, stale=stale(3))
        await let_run()
        shared.clear()
        source.gate.set()
        await let_run()
        return await shared.get("key", number(8), stale=stale(3))

    assert asyncio.run(ask()) == 8


@pytest.mark.parametrize("ends", ["close", "success", "failure"])
def test_what_the_call_has_reserved_is_given_back(ends: str) -> None:
    async def ask() -> tuple[int, int, int]:
        clock, source, budget = Clock(), Source(error=LookupError() if ends == "failure" else None), MemoryBudget(1000)
        shared = cache(5.0, clock=clock)

        async def produce() -> int:
            reserve_memory(100)
            return await source()

        await shared.get("key", number(7), stale=stale(3))
        clock.now += 5
        account = budget.open()
        with charging(account):
            await shared.get("key", produce, stale=stale(3))
        account.close()
        await let_run()
        held = budget.held
        if ends == "close":
            shared.close()
        else:
            source.gate.set()
        await let_run()
        return held, budget.held, source.cancelled

    assert asyncio.run(ask()) == (100, 0, int(ends == "close"))
