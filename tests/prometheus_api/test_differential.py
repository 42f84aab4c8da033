"""Hundreds of expressions through the service and directly: same status, same JSON."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.prometheus_api import expressions
from tests.prometheus_api.seeded_engine import STEP, World, world
from tests.support.client import serving


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("differential")) as found:
        found.advance(3000)
        yield found


@pytest.fixture(scope="module")
def client(live: World) -> Iterator[TestClient]:
    with serving(live.url, cache_freshness=60) as found:
        yield found


def ask(client: TestClient, path: str, params: dict[str, str], method: str) -> tuple[int, Any, str]:
    answer = client.get(path, params=params) if method == "GET" else client.post(path, data=params)
    return answer.status_code, json.loads(answer.content) if answer.content else None, answer.headers["X-Cache"]


def comparable(query: str, answer: tuple[int, Any]) -> tuple[int, Any]:
    """The answer, in one order where the engine has none: a vector comes from a map unless it is sorted."""
    status, body = answer
    data = body.get("data") if body else None
    if (
        isinstance(data, dict)
        and data.get("resultType") == "vector"
        and not query.startswith(("sort", "topk", "bottomk"))
    ):
        data["result"].sort(key=lambda series: sorted(series["metric"].items()))
    return status, body


def span(live: World, first: int, last: int) -> dict[str, str]:
    return {"start": str(live.begin + first), "end": str(live.begin + last), "step": "30"}


def test_every_expression_answers_as_the_engine_does(live: World, client: TestClient) -> None:
    found = expressions.every(live.begin + 900)
    differing: list[str] = []

    def compare(path: str, query: str, params: dict[str, str], *expected: str) -> None:
        params = {"query": query, **params}
        truth = comparable(query, live.direct(path, params))
        for method in ("GET", "POST"):
            status, body, mark = ask(client, path, params, method)
            if comparable(query, (status, body)) != truth or not mark.startswith(expected or ("",)):
                differing.append(f"{query} {method} {params} {mark}: {(status, body)!r:.300} not {truth!r:.300}")

    for query in found:
        compare("/api/v1/query", query, {"time": f"{live.begin + 1800}.781"})
        compare("/api/v1/query_range", query, span(live, 600, 1800), "miss", "hit", "bypass")
        compare("/api/v1/query_range", query, span(live, 900, 2400), "partial", "hit", "bypass", "miss; reason=refused")
    live.advance(4 * STEP)
    for query in found:
        compare("/api/v1/query", query, {"time": str(live.end)})
        compare("/api/v1/query_range", query, span(live, 1200, live.end - live.begin))

    assert len(found) > 250
    assert not differing, "\n".join([f"{len(differing)} differ", *differing[:10]])
