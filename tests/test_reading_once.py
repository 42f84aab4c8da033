"""A query is read once per request at most, and never for an answer that is known."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics.promql.lexer import lex
from gatewayz_metrics.promql.parser import PARSED

from tests.support import samples
from tests.support.calls import counting
from tests.support.client import serving
from tests.support.engine import Engine

QUERY = 'sum by (provider) (rate(model_inference_requests_total{env="production"}[5m]))'
FILTER = {"key": "env", "operator": "=", "value": "production"}
READ_FILTER = '{env="production"}'
SPAN = {"start": str(samples.START), "end": str(samples.END), "step": "60"}


class Reader:
    """A client, and the texts that were read for each of its requests."""

    def __init__(self, client: TestClient, calls: list[dict[str, object]]) -> None:
        self._client = client
        self._calls = calls
        self.cache = ""

    def api(self, path: str, params: dict[str, str], status: int = 200) -> list[object]:
        """The texts read for a request of the Prometheus API."""
        return self._read("GET", path, status, params=params)

    def panel(self, target: str, payload: object = None, **more: object) -> list[object]:
        """The texts read for one target over the known hour."""
        span = {"from": samples.START * 1000, "to": samples.END * 1000}
        targets = [{"refId": "A", "target": target, "payload": payload or {}}]
        return self._read("POST", "/query", json={"range": span, "intervalMs": 60_000, "targets": targets} | more)

    def _read(self, method: str, path: str, status: int = 200, **content: Any) -> list[object]:
        self._calls.clear()
        answer = self._client.request(method, path, **content)
        assert answer.status_code == status, answer.text
        self.cache = answer.headers.get("X-Cache", "").partition(";")[0]
        return [call["text"] for call in self._calls]


@contextmanager
def reading(engine: Engine, **settings: Any) -> Iterator[Reader]:
    # The profile of a thread is set when it starts, so the client's has to start within.
    with counting(lex) as calls, serving(engine.url, **settings) as client:
        PARSED.clear()
        yield Reader(client, calls)


@pytest.fixture
def reader(prometheus: Engine) -> Iterator[Reader]:
    with reading(prometheus) as found:
        yield found


def test_a_kept_instant_query_is_not_read(reader: Reader) -> None:
    params = {"query": QUERY, "time": str(samples.END)}

    assert (reader.api("/api/v1/query", params), reader.cache) == ([QUERY], "miss")
    PARSED.clear()
    assert (reader.api("/api/v1/query", params), reader.cache) == ([], "hit")


@pytest.mark.parametrize("when", [{}, {"time": "9999999999"}], ids=["now", "later"])
def test_an_instant_query_that_cannot_be_kept_is_not_read(reader: Reader, when: dict[str, str]) -> None:
    assert (reader.api("/api/v1/query", {"query": QUERY, **when}), reader.cache) == ([], "miss")


def test_a_kept_range_query_is_not_read(reader: Reader) -> None:
    params = {"query": QUERY, **SPAN}

    assert (reader.api("/api/v1/query_range", params), reader.cache) == ([QUERY], "miss")
    PARSED.clear()
    assert (reader.api("/api/v1/query_range", params), reader.cache) == ([], "hit")
    longer = params | {"end": str(samples.END + 600)}
    assert (reader.api("/api/v1/query_range", longer), reader.cache) == ([], "partial")


@pytest.mark.parametrize(
    ("query", "status"),
    [("up @ end()", 200), ("up[", 400), ("up default 0", 400)],
    ids=["bounds", "fault", "MetricsQL"],
)
def test_what_goes_past_the_cache_is_read_once(reader: Reader, query: str, status: int) -> None:
    params = {"query": query, **SPAN}

    assert (reader.api("/api/v1/query_range", params, status), reader.cache) == ([query], "bypass")
    # A refusal is repeated for seconds.
    again = "bypass" if status == 200 else "hit"
    assert (reader.api("/api/v1/query_range", params, status), reader.cache) == ([], again)


@pytest.mark.parametrize("payload", [{}, {"format": "table"}], ids=["range", "instant"])
def test_a_panel_is_read_once(reader: Reader, payload: object) -> None:
    assert reader.panel(QUERY, payload) == [QUERY]
    PARSED.clear()
    assert reader.panel(QUERY, payload) == []


@pytest.mark.parametrize("payload", [{}, {"format": "table"}], ids=["range", "instant"])
def test_a_panel_with_filters_is_read_once(reader: Reader, payload: object) -> None:
    assert sorted(map(str, reader.panel(QUERY, payload, filters=[FILTER]))) == [QUERY, READ_FILTER]
    assert reader.panel(QUERY, payload, filters=[FILTER]) == []


def test_macros_and_escapes_are_read_once_each(reader: Reader) -> None:
    written = QUERY.replace("[5m]", "[$__rate_interval]").replace('="production"', r'=~"prod\\w+"')
    expanded = written.replace("$__rate_interval", "75s")

    assert reader.panel(written) == [written, expanded]
    assert reader.panel(written) == []


def test_an_empty_panel_is_read_once(reader: Reader) -> None:
    assert reader.panel("rate(nothing_like_it[5s])") == ["rate(nothing_like_it[5s])"]
    assert reader.panel("rate(nothing_like_it[5s])") == []


@pytest.mark.parametrize("name", ["tokens_used_total", "fastapi_requests_duration_seconds", "http.error_rate"])
def test_an_entry_of_the_catalogue_is_read_once(reader: Reader, name: str) -> None:
    # What tells of gaps in its window is a text of its own.
    assert len([text for text in reader.panel(name) if "count_over_time" not in str(text)]) <= 1
    assert reader.panel(name) == []
    filtered = reader.panel(name, filters=[FILTER])
    assert [text for text in filtered if text != READ_FILTER] == []
    assert reader.panel(name, filters=[FILTER]) == []


def test_a_query_too_large_to_be_kept_is_read_once_per_request(prometheus: Engine) -> None:
    giant = " or ".join(f"rate(nothing_{number}[5s])" for number in range(1000))
    with reading(prometheus) as reader:
        assert reader.panel(giant) == [giant]
        assert reader.panel(giant, filters=[FILTER]) == [READ_FILTER, giant]
        assert reader.api("/api/v1/query_range", {"query": giant, **SPAN}) == [giant]
        assert reader.api("/api/v1/query_range", {"query": giant, **SPAN}) == []
