"""What the generator refuses, and what its last step puts right."""

import pytest
from gatewayz_metrics.catalogue import load

from dashboards.board import board
from dashboards.expressions import Metrics, NotInCatalogue
from dashboards.finish import Document, finished, panel_id
from dashboards.panels import Panel, fill_lines, graph, number, sentence
from dashboards.queries import Line
from dashboards.variables import BoardVariables

BOARD = BoardVariables(Metrics(load()))
EVERYTHING = BOARD.gateway


def made(*contents: Panel) -> list[Document]:
    built = board(
        BOARD,
        "gw-test",
        "Test",
        "A test.",
        variables=[BOARD.datasource()],
        rows=[("Row", contents)],
        since="now-1h",
    )
    found: list[Document] = finished(built)["panels"]
    return found


def requests(title: str, width: int = 12) -> Panel:
    return number(title, EVERYTHING.rate("fastapi_requests_total"), size=(width, 4))


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(NotInCatalogue, match="no counter named 'requests_total'"):
        EVERYTHING.rate("requests_total")


def test_a_gauge_does_not_grow() -> None:
    with pytest.raises(NotInCatalogue, match="only counters grow"):
        EVERYTHING.rate("fastapi_requests_in_progress")


def test_a_summary_has_no_quantile() -> None:
    with pytest.raises(NotInCatalogue, match="no histogram named 'database_query_duration_seconds'"):
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


def test_two_titles_of_one_checksum_get_two_ids() -> None:
    first: dict[int, str] = {}
    titles = (f"Panel {number}" for number in range(100_000))
    there = next(title for title in titles if first.setdefault(panel_id(title), title) != title)
    here = first[panel_id(there)]

    panels = made(requests(here), requests(there))[1:]

    assert [panel["title"] for panel in panels] == [here, there]
    assert [panel["id"] for panel in panels] == [panel_id(here), panel_id(here) + 1]


@pytest.mark.parametrize(
    ("count", "most", "widths"),
    [(1, 2, [24]), (2, 2, [12, 12]), (3, 2, [12, 12, 24]), (5, 6, [5, 5, 5, 5, 4]), (7, 6, [4] * 6 + [24])],
)
def test_lines_are_filled(count: int, most: int, widths: list[int]) -> None:
    panels = fill_lines([number(str(each), EVERYTHING.rate("tokens_used_total")) for each in range(count)], most)

    assert [panel["gridPos"]["w"] for panel in made(*panels)[1:]] == widths


@pytest.mark.parametrize(
    ("text", "expected"), [("how warm", "How warm."), ("It is. ", "It is."), ("Is it?", "Is it?"), ("5 s", "5 s.")]
)
def test_a_text_becomes_a_sentence(text: str, expected: str) -> None:
    assert sentence(text) == expected


def test_a_histogram_is_drawn_by_its_parts_alone() -> None:
    with pytest.raises(NotInCatalogue, match="no series named"):
        EVERYTHING.series("fastapi_requests_duration_seconds")
    with pytest.raises(NotInCatalogue, match="no counter named"):
        EVERYTHING.rate("fastapi_requests_duration_seconds_bucket")
    assert EVERYTHING.series("fastapi_requests_duration_seconds_bucket")
    assert EVERYTHING.rate("database_query_duration_seconds_count").unit == "ops"
