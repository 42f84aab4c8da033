"""The embedded upstream from start to end, twice."""

import asyncio
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from gatewayz_demo import engines
from gatewayz_demo.errors import EngineUnavailable
from gatewayz_demo.fetch import ignore_progress
from gatewayz_demo.run import Demo, embedded_upstream

HOURS = 1


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Our environment with a cache of its own and the engine already found."""
    named = {f"{name.upper()}_BIN": str(engines.find_engine(name).path) for name in ("prometheus", "promtool")}
    return {**os.environ, **named, "XDG_CACHE_HOME": str(tmp_path)}


async def value(url: str, query: str) -> float:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{url}/api/v1/query", params={"query": query})
    result: list[dict[str, Any]] = answer.json()["data"]["result"]
    return float(result[0]["value"][1]) if result else float("nan")


async def targets_are_up(url: str) -> bool:
    """Whether both pages were scraped; Prometheus spreads first scrapes over its interval."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{url}/api/v1/targets")
    return all(not target["lastError"] for target in answer.json()["data"]["activeTargets"])


def test_values_are_there_at_once_and_a_second_start_goes_on(environ: dict[str, str]) -> None:
    said: list[str] = []

    async def visit() -> tuple[float, float, float]:
        async with embedded_upstream(Demo(progress=said.append, environ=environ, hours=HOURS, days=0)) as url:
            assert await targets_are_up(url)
            return (
                await value(url, "sum(fastapi_requests_total)"),
                await value(url, "sum(rate(fastapi_requests_total[5m]))"),
                await value(url, "count_over_time(up{source=''}[59m])"),
            )

    first = asyncio.run(visit())
    second = asyncio.run(visit())

    assert first[0] > 10_000
    assert 1 < first[1] < 30
    assert first[2] > 230
    assert second[0] >= first[0]
    assert sum("h of history" in line for line in said) == 1
    assert any("goes on" in line for line in said)


def test_another_shape_starts_a_history_of_its_own(environ: dict[str, str]) -> None:
    async def visit(*, spec_families: bool) -> tuple[float, float]:
        demo = Demo(progress=ignore_progress, environ=environ, hours=0.1, days=0, spec_families=spec_families)
        async with embedded_upstream(demo) as url:
            return await value(url, "sum(up)"), await value(url, "count(provider_availability)")

    real, specified = asyncio.run(visit(spec_families=False)), asyncio.run(visit(spec_families=True))

    assert real[0] == 1
    assert real[1] != real[1]  # no series, which `value` tells as NaN
    assert specified[0] == 2
    assert specified[1] > 16


def test_everything_ends_with_an_exception(environ: dict[str, str]) -> None:
    urls: list[str] = []

    async def visit() -> None:
        async with embedded_upstream(Demo(environ=environ, hours=0.1, days=0)) as url:
            urls.append(url)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(visit())
    with pytest.raises(httpx.ConnectError):
        httpx.get(urls[-1], trust_env=False)


def test_two_demos_at_once_do_not_share_data(environ: dict[str, str]) -> None:
    said: list[str] = []

    async def visit() -> bool:
        demo = Demo(progress=said.append, environ=environ, hours=0.1, days=0)
        async with embedded_upstream(demo) as one, embedded_upstream(demo) as two:
            return one != two and await value(one, "sum(up)") == await value(two, "sum(up)") == 1

    assert asyncio.run(visit())
    assert "Another demo is running; this one keeps its data in a temporary folder." in said


def test_cancelling_the_start_leaves_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    async def visit() -> None:
        async with embedded_upstream(Demo(progress=ignore_progress, environ=environ, hours=0.1)):
            pytest.fail("the start was to be cancelled")

    async def impatient() -> None:
        task = asyncio.create_task(visit())
        while not (tmp_path / "gatewayz-metrics/demo/data/prometheus.log").exists():  # noqa: ASYNC110  # a file has no event
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(impatient())


def test_no_engine_is_a_sentence(environ: dict[str, str]) -> None:
    async def visit() -> None:
        async with embedded_upstream(Demo(environ=environ | {"PROMETHEUS_BIN": "/nowhere"})):
            pytest.fail("there is nothing to start")

    with pytest.raises(EngineUnavailable, match="PROMETHEUS_BIN names /nowhere"):
        asyncio.run(visit())
