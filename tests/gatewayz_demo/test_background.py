"""The older history: what is planned, written once, and seen by a Prometheus that runs."""

import asyncio
import os
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from gatewayz_demo import background, engines, scrape
from gatewayz_demo.background import DAY, HOUR, Background
from gatewayz_demo.engines import Engine
from gatewayz_demo.errors import EngineFailed
from gatewayz_demo.run import Demo, embedded_upstream
from gatewayz_demo.scrape import OwnPage
from gatewayz_demo.simulator import Simulator
from gatewayz_demo.work import Work

UNTIL = 1_700_000_055.0


def of(folder: Path, promtool: Engine | None = None, days: float = 0.01) -> Background:
    tool = promtool or engines.find_engine("promtool")
    # At a low priority it would wait for all other tests.
    return Background.of(folder, UNTIL, Simulator(epoch=UNTIL), tool, days=days, niceness=0)


def test_the_parts_follow_one_another_without_gap_or_overlap() -> None:
    parts = background.plan(UNTIL)

    assert UNTIL - parts[0].until < 30
    assert UNTIL - parts[-1].since >= 30 * DAY
    assert all(newer.since == older.until for newer, older in pairwise(parts))
    assert all(newer.interval <= older.interval for newer, older in pairwise(parts))


def test_samples_are_close_enough_for_what_reads_them() -> None:
    for part in background.plan(UNTIL):
        assert part.since % part.interval == part.until % part.interval == 0
        # Older than five minutes, a sample is not seen.
        assert part.interval <= 300
        # Rates of boards of six hours are over a minute, and those of boards of a day over two.
        assert part.interval <= 30 or part.until <= UNTIL - 4 * HOUR
        assert part.interval <= 60 or part.until <= UNTIL - 22 * HOUR


def test_less_is_asked_the_longer_ago_it_was(tmp_path: Path) -> None:
    volume = of(tmp_path)._volume

    def a_day(number: int) -> float:
        return sum(volume(UNTIL - number * DAY - hour * HOUR) for hour in range(24)) / 24

    assert volume(UNTIL) == 1
    assert a_day(7) < a_day(0)
    assert a_day(27) < a_day(6)
    assert min(map(a_day, range(30))) > 0.4


def test_it_is_written_once(tmp_path: Path) -> None:
    older = of(tmp_path / "data")
    (tmp_path / "data").mkdir()
    before = older.missing
    older.write(Work())

    assert before == list(older.parts)
    assert older.missing == []
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert len([path for path in (tmp_path / "data").iterdir() if path.is_dir()]) == len(before)


def test_what_was_written_before_the_end_is_not_written_again(tmp_path: Path) -> None:
    older = of(tmp_path, days=9)
    (tmp_path / "background").write_text(repr(older.parts[1].since))

    assert older.missing == list(older.parts)[2:]


def test_a_promtool_that_fails_says_why(tmp_path: Path) -> None:
    promtool = tmp_path / "promtool"
    promtool.write_text("#!/bin/sh\necho no space left >&2; exit 1\n")
    promtool.chmod(0o755)

    with pytest.raises(EngineFailed, match="no space left"):
        of(tmp_path, Engine("promtool", promtool)).write(Work())


def test_the_service_is_scraped_with_its_token() -> None:
    config = scrape.render_config("127.0.0.1:1", [scrape.METRICS], OwnPage("127.0.0.1:8000", "s3cret"))

    assert '"job_name": "gatewayz-metrics"' in config
    assert '"credentials": "s3cret"' in config
    assert "authorization" not in scrape.render_config("127.0.0.1:1", [scrape.METRICS], OwnPage("127.0.0.1:8000"))


@pytest.mark.nightly
def test_a_running_prometheus_comes_to_have_it(tmp_path: Path) -> None:
    named = {f"{name.upper()}_BIN": str(engines.find_engine(name).path) for name in ("prometheus", "promtool")}
    said: list[str] = []

    async def visit() -> tuple[list[str], list[str]]:
        whole = asyncio.Event()
        loop = asyncio.get_running_loop()
        demo = Demo(
            progress=said.append,
            environ={**os.environ, **named, "XDG_CACHE_HOME": str(tmp_path)},
            hours=0.1,
            days=2,
            niceness=0,
            on_history=lambda: loop.call_soon_threadsafe(whole.set),
        )
        async with embedded_upstream(demo) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:

            async def counted() -> list[str]:
                answer = await client.get("/api/v1/query", params={"query": "count_over_time(up[3d])"})
                return [series["value"][1] for series in answer.json()["data"]["result"]]

            first = await counted()
            await whole.wait()
            return first, await counted()

    first, then = asyncio.run(visit())

    assert int(first[0]) < 30
    # Four hours at 30 s, eighteen at a minute, and the rest of two days at five.
    assert int(then[0]) > 480 + 1080 + 26 * 12
    assert "The history of 2 days is there" in said[-1]
