"""One question costs one upstream request, whichever surface asks it and however it is written."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

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
            ask(client, samples.START, samples.END + 60)
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


@pytest.mark.parametrize(("granularity", "asked"), [(15.0, 1), (0.0, 3)])
def test_viewers_share_a_recent_moment_where_a_setting_says_so(live: World, granularity: float, asked: int) -> None:
    begin = int(time.time()) // 15 * 15 - 60
    query, moment = "count(recent)", {"query": "count(recent)"}
    live.write([({"__name__": "recent"}, 1000 * begin, 1)])
    with FakeUpstream(Relay(live.url)) as upstream, serving(upstream.url, instant_granularity=granularity) as client:
        for second in (0.25, 7.5):
            client.get("/api/v1/query", params={**moment, "time": f"{begin + second}"})
        table(client, query, begin + 14)
        assert len(upstream.requests) == asked
        for ruler in ({"User-Agent": "vmalert"}, {"FromAlert": "true"}):
            answer = client.get("/api/v1/query", params={**moment, "time": f"{begin + 7.5}"}, headers=ruler)
            assert answer.json()["data"]["result"][0]["value"] == [begin + 7.5, "1"]


# --------------------------------------------------------------------------- windows of lists


# Series that live for some time of an hour, in seconds after its begin.
LIVES = [(0, 3600), (30, 95), (100, 1205), (1210, 1215), (1255, 2400), (2399, 2401), (2990, 3570)]
LISTS = {
    "labels": lambda matcher: ("/api/v1/labels", {"match[]": matcher}),
    "values": lambda matcher: ("/api/v1/label/life/values", {"match[]": matcher}),
    "all values": lambda _matcher: ("/api/v1/label/life/values", {}),
    "series": lambda matcher: ("/api/v1/series", {"match[]": matcher}),
}


@pytest.fixture(scope="module")
def lives(live: World) -> World:
    """Each series has labels of its own, and a sample every five seconds of its life."""
    live.write(
        [
            ({"__name__": "lived", "life": f"{number}", f"only_{number}": "yes"}, 1000 * (live.begin + at), at)
            for number, (born, died) in enumerate(LIVES)
            for at in range(born, died + 1, 5)
        ]
    )
    return live


@pytest.fixture(scope="module")
def viewer(lives: World) -> Iterator[TestClient]:
    with serving(lives.url) as client:
        yield client


def entries(document: Any) -> set[str]:
    """The entries of a list, each as text."""
    return {json.dumps(entry, sort_keys=True) for entry in document["data"]}


@pytest.mark.parametrize("form", LISTS.values(), ids=LISTS)
@given(start=st.integers(-90_000, 3_700_000), length=st.integers(0, 3_600_000))
@settings(max_examples=40)
def test_a_widened_list_lacks_nothing_and_has_more_only_where_something_began_or_ended(
    lives: World, viewer: TestClient, form: Callable[[str], tuple[str, dict[str, str]]], start: int, length: int
) -> None:
    begin_ms = 1000 * lives.begin
    path, params = form("lived")
    exact = (begin_ms + start, begin_ms + start + length)
    whole = (exact[0] // 60_000 * 60_000, -(-exact[1] // 60_000) * 60_000)
    truth, wide = (
        lives.direct(path, {**params, "start": f"{a / 1000:.3f}", "end": f"{b / 1000:.3f}"}, "GET")[1]
        for a, b in (exact, whole)
    )
    span = {**params, "start": f"{exact[0] / 1000:.3f}", "end": f"{exact[1] / 1000:.3f}"}
    found = viewer.get(path, params=span).json()
    past = viewer.get(path, params={**span, "nocache": "1"}).json()

    assert found == wide
    assert past == truth
    assert entries(found) >= entries(truth)
    changes = [begin_ms + 1000 * at for life in LIVES for at in life]
    # Before all of its data the engine lists nothing at all, and up to them everything: it looks at blocks.
    if truth["data"] and not any(whole[0] <= at < exact[0] or exact[1] < at <= whole[1] for at in changes):
        assert found == truth
