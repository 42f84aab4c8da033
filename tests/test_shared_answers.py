"""One question costs one upstream request, whichever surface asks it and however it is written."""

import time
from collections.abc import Callable, Iterator

import httpx2
import pytest
from fastapi.testclient import TestClient

from tests.prometheus_api.seeded_engine import World, world
from tests.range_cache.relay import Relay
from tests.support import samples
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream

Asker = Callable[[TestClient, int, int], httpx2.Response]


def span(begin: int, end: int) -> dict[str, int]:
    return {"from": begin * 1000, "to": end * 1000}


NAMES: dict[str, Asker] = {
    "/api/v1/labels": lambda client, begin, end: client.get(
        "/api/v1/labels", params={"start": str(begin), "end": str(end)}
    ),
    "/api/v1/labels, POST, RFC 3339": lambda client, begin, end: client.post(
        "/api/v1/labels", data={"end": rfc3339(end), "start": f"{begin}.000"}
    ),
    "/tag-keys": lambda client, begin, end: client.post("/tag-keys", json={"timeRange": span(begin, end)}),
    "/variable": lambda client, begin, end: client.post(
        "/variable", json={"payload": {"target": "label_names()"}, "range": span(begin, end)}
    ),
    "/search": lambda client, begin, end: client.post(
        "/search", json={"target": "label_names()", "range": span(begin, end)}
    ),
}
VALUES: dict[str, Asker] = {
    "/api/v1/label/provider/values": lambda client, begin, end: client.get(
        "/api/v1/label/provider/values", params={"start": f"{begin}.0", "end": str(end)}
    ),
    "/tag-values": lambda client, begin, end: client.post(
        "/tag-values", json={"key": "provider", "timeRange": span(begin, end)}
    ),
    "/variable": lambda client, begin, end: client.post(
        "/variable", json={"payload": "label_values(provider)", "range": span(begin, end)}
    ),
    "/search": lambda client, begin, end: client.post(
        "/search", json={"target": "label_values(provider)", "range": span(begin, end)}
    ),
}
SELECTOR = 'provider_availability{env="production"}'
NARROWED: dict[str, Asker] = {
    "/api/v1/label/provider/values": lambda client, _begin, _end: client.get(
        "/api/v1/label/provider/values", params={"match[]": SELECTOR}
    ),
    "/metric-payload-options": lambda client, _begin, _end: client.post(
        "/metric-payload-options", json={"metric": SELECTOR, "name": "provider"}
    ),
}


def rfc3339(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def values_of(answer: httpx2.Response) -> set[str]:
    """The values of any of the lists."""
    assert answer.status_code == 200, answer.text
    document = answer.json()
    rows = document["data"] if isinstance(document, dict) else document
    return {row if isinstance(row, str) else row.get("text") or row.get("__value") or row["value"] for row in rows}


@pytest.mark.parametrize("askers", [NAMES, VALUES], ids=["label names", "label values"])
@pytest.mark.parametrize("first", range(4))
def test_any_mixture_of_surfaces_costs_one_request(prometheus: Engine, askers: dict[str, Asker], first: int) -> None:
    mixed = [*askers.values()][first:] + [*askers.values()][:first]
    with FakeUpstream(Relay(prometheus.url)) as upstream, serving(upstream.url) as client:
        found = [values_of(ask(client, samples.START, samples.END)) for ask in mixed]
        assert len(upstream.requests) == 1
        for ask in mixed:
            ask(client, samples.START, samples.END + 1)
        assert len(upstream.requests) == 2

    assert all(found)
    # Tag keys leave the name out.
    assert {frozenset(each - {"__name__"}) for each in found} == {frozenset(found[0] - {"__name__"})}


def test_the_builder_shares_too(prometheus: Engine) -> None:
    with FakeUpstream(Relay(prometheus.url)) as upstream, serving(upstream.url) as client:
        found = [values_of(ask(client, 0, 0)) for ask in [*NARROWED.values()] * 2]
        assert len(upstream.requests) == 1

    assert found[0]
    assert found == [found[0]] * 4


def test_without_a_lifetime_everybody_asks(prometheus: Engine) -> None:
    with FakeUpstream(Relay(prometheus.url)) as upstream, serving(upstream.url, cache_ttl=0) as client:
        for ask in NAMES.values():
            ask(client, samples.START, samples.END)

        assert len(upstream.requests) == len(NAMES)


# --------------------------------------------------------------------------- instant queries


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("shared")) as found:
        yield found


def table(client: TestClient, query: str, at: int) -> object:
    """What a table panel shows for a query at a Unix time."""
    targets = [{"refId": "A", "target": query, "payload": {"format": "table"}}]
    answer = client.post("/query", json={"range": span(at - 60, at), "targets": targets})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_settled_moment_is_asked_about_once_and_stays_what_the_engine_says(live: World) -> None:
    now = int(time.time())
    settled, query = now - 400, "sum(moment)"
    live.write([({"__name__": "moment"}, 1000 * at, at) for at in range(now - 600, now - 380, 5)])
    with FakeUpstream(Relay(live.url)) as upstream, serving(upstream.url) as client:
        api = client.get("/api/v1/query", params={"query": query, "time": str(settled)}).json()
        first = table(client, query, settled)
        live.write([({"__name__": "moment"}, 1000 * at, at) for at in range(now - 300, now, 5)])
        assert table(client, query, settled) == first
        assert len(upstream.requests) == 1

        with serving(live.url, cache_ttl=0) as direct:
            assert table(direct, query, settled) == first
            assert direct.get("/api/v1/query", params={"query": query, "time": str(settled)}).json() == api


def test_a_moment_that_may_change_is_asked_about_every_time(live: World) -> None:
    now = int(time.time())
    live.write([({"__name__": "newest"}, 1000 * at, 1) for at in range(now - 120, now - 60, 5)])
    with FakeUpstream(Relay(live.url)) as upstream, serving(upstream.url) as client:
        before = table(client, "sum(newest)", now)
        live.write([({"__name__": "newest"}, 1000 * (now - 1), 2)])
        after = table(client, "sum(newest)", now)

        assert before != after
        assert len(upstream.requests) == 2


def test_a_moment_that_reads_what_is_newer_is_asked_about_every_time(live: World) -> None:
    now = int(time.time())
    live.write([({"__name__": "ahead"}, 1000 * at, 1) for at in range(now - 600, now - 60, 5)])
    with FakeUpstream(Relay(live.url)) as upstream, serving(upstream.url) as client:
        for query in ("ahead offset -399s", f"ahead @ {now - 30}", "ahead @ end()"):
            for _ in range(2):
                table(client, query, now - 400)

        assert len(upstream.requests) == 6
