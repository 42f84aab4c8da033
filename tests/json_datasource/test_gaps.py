"""Points whose window reaches into a gap of scrapes are told in the panel's header, on a real engine."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from fastapi.testclient import TestClient
from gatewayz_demo import processes

from tests.json_datasource.asking import Element, answer, notices
from tests.range_cache.relay import Relay
from tests.support import fake_upstream as fakes
from tests.support import samples
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.fake_upstream import Exchange, FakeUpstream
from tests.support.samples import Series, steady

# No scrape for four minutes, half an hour after the begin.
BEGIN = samples.START
GAP = (BEGIN + 1800, BEGIN + 2040)
END = BEGIN + 3600
RATE = "http.request_rate_per_minute"
COUNTER = "fastapi_requests_total"


def gateway(since: int) -> list[Series]:
    """From so many seconds after the begin on: two requests a second, of which some fail for a while only."""
    labels = {"job": "gateway", "instance": "a:8000", "env": "production", "path": "/"}
    rare = [Series(COUNTER, labels | {"status_code": "500"}, steady(0.1))] if since else []
    return [Series(COUNTER, labels | {"status_code": "200"}, steady(2, 2 * since)), *rare]


@pytest.fixture(scope="module")
def gapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    data = tmp_path_factory.mktemp("gapped")
    for start, end in ((BEGIN, GAP[0]), (GAP[1], END)):
        found = gateway(start - BEGIN)
        text = samples.openmetrics(data / f"{start}.om", start=start, seconds=end - start, found=found)
        processes.backfill(text, data / "tsdb")
    with processes.start_prometheus(data / "tsdb") as engine:
        yield Engine("prometheus", engine.url)


@pytest.fixture(scope="module")
def client(gapped: Engine) -> Iterator[TestClient]:
    with serving(gapped.url, selector='env="production"', cache_ttl=0) as found:
        yield found


def ask(client: TestClient, target: str, end: int, payload: Element, *, since: int = 3600) -> list[Element]:
    span = {"from": (end - since) * 1000, "to": end * 1000}
    targets = [{"refId": "A", "target": target, "payload": payload}]
    body = {"range": span, "intervalMs": 15_000, "maxDataPoints": 500, "targets": targets}
    found: list[Element] = answer(client.post("/query", json=body))
    return found


@pytest.mark.parametrize(("target", "payload"), [(RATE, {}), (COUNTER, {}), (COUNTER, {"function": "increase"})])
def test_the_points_that_show_less_are_named(client: TestClient, target: str, payload: dict[str, object]) -> None:
    element, *_ = ask(client, target, END, payload, since=3000)
    (text,) = notices(element)
    shown = [(moment / 1000, value) for value, moment in element["datapoints"] if value is not None]
    truth = sorted(value for _, value in shown)[len(shown) // 2]
    less = [moment for moment, value in shown if value < 0.7 * truth]

    assert text.startswith(f"{COUNTER} has samples at one end alone of the 5m")
    assert any(moment > GAP[1] for moment in less), "after the gap, too"
    first, last = (_seconds(text.partition(f" {word} ")[2][:20]) for word in ("from", "to"))
    assert GAP[0] < first <= min(less)
    assert max(less) <= last < GAP[1] + 300


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(("end", "is_told"), [(GAP[0], False), (GAP[0] + 120, True), (GAP[1] + 90, True), (END, False)])
def test_a_number_whose_window_reaches_into_it_is_told(client: TestClient, end: int, is_told: bool) -> None:
    (element,) = ask(client, RATE, end, {"instant": True})

    assert [text.partition(" has ")[0] for text in notices(element)] == [COUNTER] * is_told


WITHOUT = {
    "a quotient has the gap in both of its parts": ("http.error_rate", {}),
    "a window of four scrapes has no two ends": (COUNTER, {"window": "1m"}),
    "a counter as it is": (COUNTER, {"function": "raw"}),
    "PromQL is its author's": ("sum(rate(fastapi_requests_total[5m]))", {}),
}


@pytest.mark.parametrize(("target", "payload"), WITHOUT.values(), ids=WITHOUT)
def test_nothing_is_said_of_what_is_right(client: TestClient, target: str, payload: dict[str, object]) -> None:
    assert [text for element in ask(client, target, END, payload) for text in notices(element)] == []


def test_what_a_filter_leaves_may_come_and_go(client: TestClient) -> None:
    """Failures begin with the end of the gap; ten minutes later the windows are whole."""
    assert [notices(each) for each in ask(client, COUNTER, END, {"status_code": "500"}, since=900)] == [[]]


def test_an_answer_to_another_question_says_nothing() -> None:
    body = fakes.vector_body([({"job": "gateway"}, "-1")])
    with FakeUpstream(fakes.answering(body)) as fake, serving(fake.url) as client:
        (element,) = ask(client, RATE, END, {"instant": True})

    assert element["datapoints"]
    assert notices(element) == []


def test_a_question_that_fails_takes_nothing_from_the_panel(gapped: Engine) -> None:
    relay = Relay(gapped.url)

    def without_counts(exchange: Exchange) -> None:
        if b"count_over_time" in exchange.request.body:
            fakes.garbage(exchange)
        else:
            relay(exchange)

    with FakeUpstream(without_counts) as fake, serving(fake.url, selector='env="production"') as client:
        (element,) = ask(client, RATE, END, {})

    assert element["datapoints"]
    assert notices(element) == []
