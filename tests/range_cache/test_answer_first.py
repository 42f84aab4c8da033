"""An answer goes out as it came when nothing of it is known; its points are kept afterwards, and none is read twice."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
from gatewayz_metrics.memory import MemoryBudget, charging
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.range_cache import RangeAnswer, RangeQuery
from gatewayz_metrics.range_cache import backlog as backlogs
from gatewayz_metrics.range_cache.backlog import Backlog
from gatewayz_metrics.range_cache.kept import KeptPoints

from tests.range_cache.relay import Relay
from tests.range_cache.rig import Rig, rig, told
from tests.support import samples
from tests.support.fake_upstream import Exchange, FakeUpstream
from tests.support.waiting import reach

QUESTION = RangeQuery(
    'sum by (path) (rate(fastapi_requests_total{env="production"}[5m]))',
    TimeRange(1000 * samples.START + 600_000, 1000 * samples.START + 1_800_000, 15_000),
)
MOVED = replace(QUESTION, range=TimeRange(QUESTION.range.start_ms + 15_000, QUESTION.range.end_ms + 15_000, 15_000))
OTHER = replace(QUESTION, query=f"{QUESTION.query} * 2")


@pytest.fixture
def cache(upstream: FakeUpstream) -> Iterator[Rig]:
    with rig(upstream.url, time.time()) as found:
        yield found


@asynccontextmanager
async def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Until the end of the block the points of an answer are on their way into the cache."""
    keep, until = KeptPoints.keep, asyncio.Event()

    async def wait_and_keep(self: KeptPoints, *arguments: object) -> str:
        await until.wait()
        return await keep(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(KeptPoints, "keep", wait_and_keep)
        yield
        until.set()


def fetched(cache: Rig, reason: str) -> float:
    value = cache.telemetry.registry.get_sample_value("gatewayz_metrics_range_fetches_total", {"reason": reason})
    return value or 0.0


def test_an_answer_goes_out_before_its_points_are_kept(cache: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> RangeAnswer:
        async with nothing_kept(monkeypatch):
            answer = await cache.ranges.answer(QUESTION)
            assert cache.ranges.size == 0
        return answer

    answer = cache.runner.run(ask())

    assert answer.body == cache.direct(QUESTION).body
    assert (answer.cache_status.result, answer.cache_status.reason) == ("miss", "unknown")
    assert cache.ask(QUESTION).cache_status.result == "hit"


@pytest.mark.parametrize(("question", "asked"), [(QUESTION, []), (MOVED, [1])], ids=["equal", "moved on by a step"])
def test_who_comes_before_the_points_are_kept_waits_for_them(
    cache: Rig, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, question: RangeQuery, asked: list[int]
) -> None:
    async def ask() -> RangeAnswer:
        async with nothing_kept(monkeypatch):
            await cache.ranges.answer(QUESTION)
            later = asyncio.ensure_future(cache.ranges.answer(question))
            left = asyncio.ensure_future(cache.ranges.answer(question))
            await asyncio.sleep(0.01)
            # Who leaves meanwhile takes nothing from the others.
            left.cancel()
        return await later

    answer = cache.runner.run(ask())

    assert told(answer) == told(cache.direct(question))
    points = [_points(request.form) for request in upstream.requests[1:-1]]
    assert points == asked


def _points(form: dict[str, list[str]]) -> int:
    return round((float(form["end"][0]) - float(form["start"][0])) / 15) + 1


def test_answers_go_out_before_points_are_kept(cache: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlogs, "_LONGEST_LEAD", 3600)
    monkeypatch.setattr(backlogs, "_QUIET", 0.001)
    begun: list[str] = []

    async def work(name: str) -> None:
        begun.append(name)

    async def run() -> None:
        backlog = Backlog(1000)
        with backlog.making_way():
            for name in ("a", "b"):
                backlog.add(name, 1, partial(work, name), None)
            # It looks every millisecond.
            await asyncio.sleep(0.05)
            assert begun == []
            # Who needs them does not have to wait.
            await backlog.wait("a")
            assert begun == ["a"]
        await reach(lambda: begun == ["a", "b"])

        monkeypatch.setattr(backlogs, "_LONGEST_LEAD", 0)
        with backlog.making_way():
            backlog.add("c", 1, partial(work, "c"), None)
            await reach(lambda: begun == ["a", "b", "c"])

    cache.runner.run(run())


def test_who_waits_comes_first(cache: Rig) -> None:
    order: list[str] = []

    async def run() -> None:
        backlog, first = Backlog(1000), asyncio.Event()

        async def work(name: str) -> None:
            await first.wait()
            order.append(name)

        for name, key in (("a", 1), ("b", 2), ("c", 3), ("d", 3)):
            backlog.add(key, 1, lambda name=name: work(name), None)  # type: ignore[misc]
        waiting = asyncio.ensure_future(backlog.wait(3))
        await asyncio.sleep(0)
        first.set()
        await waiting
        await backlog.wait(2)

    cache.runner.run(run())

    # Of two readings under one key the later one counts.
    assert order == ["a", "c", "d", "b"]


def test_a_full_backlog_is_worked_off_before_the_answer(cache: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backlog, "has_room", lambda _backlog, _size: False)

    cache.ask(QUESTION)

    assert cache.ranges.size > 0


def test_what_waits_is_bounded_in_number_and_bytes(cache: Rig) -> None:
    async def never() -> None:
        await asyncio.sleep(3600)

    async def run() -> None:
        backlog = Backlog(1000)
        assert backlog.has_room(1000)
        backlog.add("a", 600, never, None)
        assert (backlog.has_room(400), backlog.has_room(401)) == (True, False)
        for number in range(63):
            assert backlog.has_room(0)
            backlog.add(number, 0, never, None)
        assert not backlog.has_room(0)
        await backlog.aclose()
        # Who answers late, in the middle of a shutdown, leaves no task behind.
        assert not backlog.has_room(0)

    cache.runner.run(run())


def test_what_waits_is_reserved_until_it_is_kept(cache: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        budget = MemoryBudget(2**24)
        with charging(account := budget.open()):
            async with nothing_kept(monkeypatch):
                answer = await cache.ranges.answer(QUESTION)
                account.settle(answer.body)
                account.close()
                assert budget.held > 2 * len(answer.body)
            await cache.ranges.answer(QUESTION)
        account.close()
        await reach(lambda: budget.held == 0)

    cache.runner.run(run())


def test_without_room_in_memory_it_is_not_kept(cache: Rig) -> None:
    async def run() -> RangeAnswer:
        body = len((await cache.ranges.answer(OTHER)).body)
        # Arriving it fits.
        budget = MemoryBudget(int(body * 8 / 7 * 1.5))
        with charging(budget.open()):
            return await cache.ranges.answer(QUESTION)

    assert cache.runner.run(run()).cache_status.reason == "memory"
    assert cache.ask(QUESTION).cache_status.result == "miss"


def test_a_purge_meanwhile_counts(cache: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first is under way when it comes, and the second is not.
    monkeypatch.setattr(backlogs, "_LONGEST_LEAD", 0)

    async def run() -> None:
        async with nothing_kept(monkeypatch):
            for question in (QUESTION, OTHER):
                await cache.ranges.answer(question)
            cache.ranges.purge()

    cache.runner.run(run())

    assert cache.ask(OTHER).cache_status.result == "miss"
    assert cache.ask(QUESTION).cache_status.result == "miss"
    assert fetched(cache, "forgotten") == 1


def test_a_shutdown_meanwhile_is_clean(cache: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with nothing_kept(monkeypatch):
            for question in (QUESTION, OTHER):
                await cache.ranges.answer(question)
            waiting = asyncio.ensure_future(cache.ranges.answer(OTHER))
            await asyncio.sleep(0)
            for _ in range(2):
                await cache.ranges.aclose()
        assert (await waiting).status == 200
        assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()

    cache.runner.run(run())


def test_what_goes_wrong_is_logged_and_the_next_is_kept(
    cache: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep, failed = KeptPoints.keep, False

    async def fail_once(self: KeptPoints, *arguments: object) -> str:
        nonlocal failed
        if not failed:
            failed = True
            raise RuntimeError("defect")
        return await keep(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(KeptPoints, "keep", fail_once)

    async def run() -> list[RangeAnswer]:
        return [await cache.ranges.answer(question) for question in (QUESTION, OTHER)]

    with caplog.at_level(logging.ERROR):
        assert [answer.status for answer in cache.runner.run(run())] == [200, 200]
        assert cache.ask(QUESTION).cache_status.result == "miss"
    assert [record.message for record in caplog.records] == ["The points of a range query were not kept."]
    assert {cache.ask(question).cache_status.result for question in (QUESTION, OTHER)} == {"hit"}


def test_what_turns_out_afterwards_is_counted(cache: Rig, relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be kept is known when the answer has gone out: it is in the metrics, and not in X-Cache."""

    def off_grid_in_the_end(exchange: Exchange) -> None:
        body, status = relay.answer(exchange)
        half = len(body) // 2
        exchange.reply(body[:half] + body[half:].replace(b'0,"', b'1,"'), status)

    def malformed_in_the_end(exchange: Exchange) -> None:
        body, status = relay.answer(exchange)
        half = len(body) // 2
        exchange.reply(body[:half] + body[half:].replace(b'"values":[', b'"values":[0,'), status)

    for fault, reason in ((off_grid_in_the_end, "off-grid"), (malformed_in_the_end, "malformed")):
        relay.fault = fault
        for times in (1, 2):
            assert cache.ask(QUESTION).cache_status.reason == "unknown"
            cache.runner.run(cache.ranges._backlog.wait(cache_key(cache)))
            assert fetched(cache, reason) == times
    assert "is not kept" in caplog.text
    assert cache.ranges.size == 0


def cache_key(cache: Rig) -> object:
    jobs = cache.ranges._backlog._jobs
    return jobs[0].key if jobs else None


@pytest.mark.parametrize(("name", "reason"), [("with_warnings", "incomplete"), ("no_store", "no-store")])
def test_what_is_known_at_once_is_told(cache: Rig, relay: Relay, name: str, reason: str) -> None:
    relay.fault = getattr(relay, name)

    assert cache.ask(QUESTION).cache_status.reason == reason
    assert fetched(cache, reason) == 1
