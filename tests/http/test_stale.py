"""The summary and the text pages while they are refreshed: nobody waits, nothing is too old, no outage is hidden."""

import asyncio

import pytest

from tests.http.test_front import SUMMARY, run, until_warm
from tests.http.world import END, World

PAGES = [SUMMARY, f"{SUMMARY}?format=csv", "/prometheus/metrics/all", "/prometheus/metrics/system"]


async def let_run() -> None:
    """Let what runs by itself come to its end."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("page", PAGES)
def test_nobody_waits_for_a_refresh_and_there_is_one(page: str) -> None:
    async def test(here: World) -> None:
        first = await until_warm(here, page)
        questions = here.source.asked
        here.clocks.advance(5)
        here.source.free.clear()
        # Asked one after the other: each has its answer although the upstream gives none.
        for seconds in (0.0, 0.0, 2.0, 2.9):
            here.clocks.advance(seconds)
            answered = await asyncio.wait_for(here.get(page), 5)
            assert answered.body == first.body
        assert (answered.header("age"), answered.was_warm) == ("10", True)
        assert here.source.asked <= 2 * questions
        here.source.free.set()
        await let_run()
        later = await here.get(page)
        assert later.body != first.body
        assert later.header("age") == "5"  # it was asked for five seconds ago, and came now

    run(test, cache_ttl=5, cache_stale=5)


def test_at_the_bound_the_answer_is_waited_for() -> None:
    async def test(here: World) -> None:
        first = await until_warm(here, SUMMARY)
        here.clocks.advance(9.999)
        here.source.free.clear()
        assert (await here.get(SUMMARY)).body == first.body
        here.clocks.advance(0.001)
        waiting = asyncio.create_task(here.get(SUMMARY))
        await let_run()
        assert not waiting.done()
        here.source.free.set()
        assert (await waiting).body != first.body

    run(test, cache_ttl=5, cache_stale=5)


def test_an_outage_is_told_as_soon_as_the_refresh_has_seen_it() -> None:
    async def test(here: World) -> None:
        await until_warm(here, SUMMARY)
        here.clocks.advance(6)
        here.source.down = True
        assert (await here.get(SUMMARY)).header("x-upstream-status") == "ok"
        await let_run()
        told = await here.get(SUMMARY)
        assert (told.header("x-upstream-status"), told.header("age")) == ("down", "0")
        # It is over after a second, and nobody is told of it any more.
        here.source.down = False
        here.clocks.advance(1)
        assert (await here.get(SUMMARY)).header("x-upstream-status") == "ok"

    run(test, cache_ttl=5, cache_stale=5)


@pytest.mark.parametrize(
    ("page", "settings"),
    [
        (f"{SUMMARY}?time={END}", {}),
        (f"/prometheus/metrics/all?time={END}", {}),
        (SUMMARY, {"cache_stale": 0}),
        # No more than CACHE_TTL again.
        (SUMMARY, {"cache_ttl": 3, "cache_stale": 60}),
    ],
)
def test_other_answers_are_waited_for(page: str, settings: dict[str, float]) -> None:
    async def test(here: World) -> None:
        first = await here.get(page)
        here.clocks.advance(6)
        assert (await here.get(page)).body != first.body

    run(test, **{"cache_ttl": 5, "cache_stale": 5} | settings)


def test_an_idle_service_asks_nothing() -> None:
    async def test(here: World) -> None:
        await here.get(SUMMARY)
        here.clocks.advance(5)
        await here.get(SUMMARY)
        await let_run()
        questions = here.source.asked
        here.clocks.advance(60)
        await let_run()
        assert here.source.asked == questions

    run(test)


def test_a_service_that_closes_ends_its_refresh() -> None:
    async def test(here: World) -> None:
        await here.get(SUMMARY)
        here.clocks.advance(5)
        here.source.free.clear()
        await here.get(SUMMARY)
        before = len(asyncio.all_tasks())
        await here.services.aclose()
        await let_run()
        # The refresh, and the questions that it asks.
        assert before > 1
        assert len(asyncio.all_tasks()) == 1

    run(test)
