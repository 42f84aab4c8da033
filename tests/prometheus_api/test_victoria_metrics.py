"""The same expressions on VictoriaMetrics: what it answers when it is asked for everything is what we answer.

Its envelope has members of its own and its series come in an order of its own, so results are compared
series by series.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from gatewayz_demo import processes

from tests.prometheus_api import expressions
from tests.support import samples
from tests.support.client import Answer, serving
from tests.support.engine import Engine

RANGE = "/api/v1/query_range"


@pytest.fixture(scope="module")
def client(victoria_metrics: Engine) -> Iterator[TestClient]:
    with serving(victoria_metrics.url, prometheus_engine="victoriametrics") as found:
        yield found


def span(first: int, last: int) -> dict[str, str]:
    return {"start": str(samples.START + first), "end": str(samples.START + last), "step": "30"}


def alike(ours: Answer, truth: httpx.Response) -> bool:
    """The same status, series, times and values.

    It adds series in no fixed order, so last digits differ, and names any one of the series it complains of.
    """
    if ours.status_code != truth.status_code or ours.json()["status"] == "error":
        return (ours.status_code, ours.json().get("errorType")) == (truth.status_code, truth.json().get("errorType"))
    mine, its = (by_labels(answer.json()) for answer in (ours, truth))
    return mine.keys() == its.keys() and all(
        [at for at, _ in mine[labels]] == [at for at, _ in its[labels]]
        and [float(value) for _, value in mine[labels]]
        == pytest.approx([float(value) for _, value in its[labels]], rel=1e-12, abs=1e-12, nan_ok=True)
        for labels in mine
    )


def by_labels(document: Any) -> dict[object, Any]:
    return {tuple(sorted(one["metric"].items())): one["values"] for one in document["data"]["result"]}


def test_every_expression_answers_as_the_engine_does(client: TestClient, victoria_metrics: Engine) -> None:
    found = [*expressions.every(samples.START + 900), "median(up)", "range_median(cache_size_bytes)", "rate(up)"]
    differing: list[str] = []
    marks: list[str] = []
    with httpx.Client(base_url=victoria_metrics.url, trust_env=False) as direct:
        for query in found:
            if query.startswith(("topk", "bottomk")):
                continue  # replicas tie, and it chooses another one each time
            for first, last in ((600, 1800), (600, 1800), (900, 2400)):
                params = {"query": query, **span(first, last)}
                truth = direct.post(RANGE, data={**params, "nocache": "1"})
                ours = client.post(RANGE, data=params)
                marks.append(ours.headers["X-Cache"].partition(";")[0])
                if not alike(ours, truth):
                    differing.append(
                        f"{query} {first} {ours.headers['X-Cache']}: {ours.text:.200} not {truth.text:.200}"
                    )

    assert not differing, "\n".join([f"{len(differing)} differ", *differing[:10]])
    assert {"hit", "partial", "miss", "bypass"} <= set(marks)


def test_points_off_the_grid_are_not_kept(tmp_path: Path) -> None:
    """With a cache of its own it moves ranges, unless a question says nocache."""
    with processes.start_victoria_metrics(tmp_path) as engine:
        page = samples.exposition_with_times(tmp_path / "samples.txt").read_bytes()
        httpx.post(f"{engine.url}/api/v1/import/prometheus", content=page).raise_for_status()
        httpx.get(f"{engine.url}/internal/force_flush").raise_for_status()
        params = {"query": "cache_size_bytes", **span(607, 3007)}
        grid = (samples.START + 607) % 30
        with serving(engine.url) as untold, serving(engine.url, prometheus_engine="victoriametrics") as told:
            assert {at % 30 for at in times(untold, params)} != {grid}
            assert mark(untold, params).startswith("miss; reason=off-grid")
            assert {at % 30 for at in times(told, params)} == {grid}
            assert mark(told, params) == "hit"


def times(client: TestClient, params: dict[str, str]) -> list[float]:
    result = client.get(RANGE, params=params).json()["data"]["result"]
    return [at for series in result for at, _ in series["values"]]


def mark(client: TestClient, params: dict[str, str]) -> str:
    return str(client.get(RANGE, params=params).headers["X-Cache"])


def test_what_it_lacks_is_told_and_no_outage(client: TestClient) -> None:
    assert client.get("/api/v1/status/buildinfo").status_code == 200
    assert client.get("/api/v1/label/job/values").json()["data"] == ["gateway"]
    for _ in range(6):
        client.get("/api/v1/format_query?query=up")
    assert client.get("/api/v1/query", params={"query": "1+1"}).status_code == 200
