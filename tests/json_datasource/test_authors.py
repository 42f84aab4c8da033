"""What an author of a panel expects without reading anything: names of series, and why something is not there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.json_datasource import recorded_data
from tests.json_datasource.asking import notices, panel, panels
from tests.support.client import serving
from tests.support.engine import Engine

ABSENT = """
[families.missing_total]
type = "counter"
unit = "requests"
help = "Nothing writes it."
by = ["job"]
categories = ["traffic"]

[families.missing_seconds]
type = "histogram"
unit = "seconds"
help = "Nothing writes it."
categories = ["traffic"]

[statistics.traffic.missing]
unit = "requests"
help = "Nothing writes it."
expr = "sum(missing_total{$selector})"
"""
REASON = "No data: no matching series of missing_total, or nothing happened within the last 5m."


@pytest.fixture(scope="module")
def with_absent(recorded_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service with entries that no series belong to."""
    catalogue: Path = tmp_path_factory.mktemp("absent") / "catalogue.toml"
    catalogue.write_text(recorded_data.CATALOGUE + ABSENT, "utf-8")
    with serving(recorded_engine.url, catalogue=catalogue, cache_ttl=0) as found:
        yield found


@pytest.mark.parametrize("options", [{}, {"format": "frame"}, {"format": "table"}, {"instant": True}])
def test_an_absent_statistic_is_named_with_the_reason(with_absent: TestClient, options: dict[str, object]) -> None:
    found = panel(with_absent, "traffic.missing", options)

    assert [text for element in found for text in notices(element)] == [f"traffic.missing: {REASON}"]


def test_one_that_is_absent_beside_others_is_named(with_absent: TestClient) -> None:
    found = panel(with_absent, "(traffic.rate|traffic.missing)")

    assert [element["target"] for element in found] == ["traffic.rate"]
    assert notices(found[0]) == [f"traffic.missing: {REASON}"]


@pytest.mark.parametrize(
    "payload", [{}, {"function": "raw"}, {"function": "p95"}, {"function": "rate"}, {"format": "heatmap"}]
)
def test_an_absent_histogram_is_named_once(with_absent: TestClient, payload: dict[str, str]) -> None:
    texts = [text for element in panel(with_absent, "missing_seconds", payload) for text in notices(element)]

    assert sum("missing_seconds: No data" in text for text in texts) == 1


def test_what_has_data_says_nothing(with_absent: TestClient) -> None:
    names = ("traffic.rate", "http_requests_total", "up", "nothing_here")
    targets = [{"refId": name, "target": name} for name in names]

    assert [notices(element) for element in panels(with_absent, targets) if notices(element)] == []


def test_a_counter_shows_how_fast_it_grows(client: TestClient) -> None:
    unasked, rate = (panel(client, "http_requests_total", payload) for payload in ({}, {"function": "rate"}))

    assert unasked == rate
    assert {element["unit"] for element in unasked} == {"reqps"}


@pytest.mark.parametrize("promql", ["sum by (job) (rate(http_requests_total[5m]))", "count by (job) (up)"])
def test_promql_has_the_legend_of_the_catalogue(client: TestClient, promql: str) -> None:
    found = panel(client, promql)

    assert sorted(element["target"] for element in found) == sorted({element["tags"]["job"] for element in found})


def test_series_of_several_labels_are_told_apart(client: TestClient) -> None:
    names = [element["target"] for element in panel(client, "up")]

    assert len(set(names)) == recorded_data.INSTANCE_COUNT
    assert all(name.startswith("up{") for name in names)
