"""What the generator refuses, and what its last step puts right."""

import pytest

from dashboards import variables
from dashboards.board import board
from dashboards.expressions import Source
from dashboards.finish import Document, finished, panel_id
from dashboards.panels import Panel, graph, number
from dashboards.queries import Line

EVERYTHING = Source()


def made(*contents: Panel) -> list[Document]:
    built = board(
        "gw-test", "Test", "A test.", variables=[variables.datasource()], rows=[("Row", contents)], since="now-1h"
    )
    found: list[Document] = finished(built)["panels"]
    return found


def requests(title: str, width: int = 12) -> Panel:
    return number(title, EVERYTHING.rate("fastapi_requests_total"), size=(width, 4))


def test_an_unknown_metric_ends_the_generation() -> None:
    with pytest.raises(ValueError, match="no counter named 'requests_total'"):
        EVERYTHING.rate("requests_total")


def test_a_gauge_does_not_grow() -> None:
    with pytest.raises(ValueError, match="only counters grow"):
        EVERYTHING.rate("fastapi_requests_in_progress")


def test_a_summary_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="no histogram named 'database_query_duration_seconds'"):
        EVERYTHING.quantile(0.95, "database_query_duration_seconds")


def test_a_graph_has_one_unit() -> None:
    lines = [Line(EVERYTHING.rate("fastapi_requests_total"), "a"), Line(EVERYTHING.rate("tokens_used_total"), "b")]

    with pytest.raises(ValueError, match="different units"):
        graph("Two things", *lines)


def test_two_panels_cannot_share_a_title() -> None:
    with pytest.raises(ValueError, match="would share an id"):
        made(requests("Same"), requests("Same"))


def test_a_panel_keeps_its_id_when_another_comes_before_it() -> None:
    alone, after = made(requests("B"))[-1], made(requests("A"), requests("B"))[-1]

    assert alone["id"] == after["id"] == panel_id("B")


def test_what_does_not_fit_starts_a_new_line() -> None:
    places = [panel["gridPos"] for panel in made(requests("A", 16), requests("B", 12), requests("C", 12))]

    assert [(place["x"], place["y"]) for place in places] == [(0, 0), (0, 1), (0, 5), (12, 5)]
