"""Every query of every panel, variable, annotation and alert, asked of the service over the simulated gateway."""

import json
import re
from collections.abc import Iterator
from math import isfinite
from typing import Any

import pytest

from dashboards import alerts_file, theme
from dashboards.alerting import Alert
from dashboards.boards import examples
from dashboards.service_panels import NOT_DEGRADED
from tests.dashboards import asking, reading
from tests.dashboards.catalogues import made
from tests.dashboards.conftest import Stage
from tests.dashboards.reading import Document, PanelTarget

_NO_SCORE = "the health score lived for one day: nothing exports it"
_NO_TRIALS = "no code of the gateway counts trials; the summary says N/A"
_AN_HOUR = "the history is an hour long, so there is no week before"
_NOTHING_WRONG = "nothing of the kind happened: a counter has no series before its first event"

_SCRAPES = "annotation Scrapes missing"

EMPTY = {
    _SCRAPES: "no scrape is missing",
    "gw-providers: Lowest score A": _NO_SCORE,
    "gw-business: Trials A": _NO_TRIALS,
    "gw-business: Active trials A": _NO_TRIALS,
    "gw-service: Limits, warnings, batch splits A": _NOTHING_WRONG,
    "gw-service: Limits, warnings, batch splits B": _NOTHING_WRONG,
    "gw-service: Refused for want of a place A": _NOTHING_WRONG,
    "alert no-data": "there is data: that is what it asks",
    "alert budget-burns-fast": "the budget does not burn: what it asks holds only while it does",
    "alert budget-burns-slowly": "the budget does not burn: what it asks holds only while it does",
}
IN_AN_HOUR = {
    "annotation Gateway restarts": "it was not restarted",
    "gw-business: Change of subscriptions A": _AN_HOUR,
    "gw-business: Credits a day B": _AN_HOUR,
}
NOT_WRITTEN = dict.fromkeys(
    (
        "gw-http: Exceptions A",
        "gw-business: API keys A",
        "gw-business: Active API keys A",
        "gw-business: Active subscriptions A",
        "gw-business: Subscriptions by plan A",
        "gw-business: Change of subscriptions A",
        "gw-business: Plans A",
        "gw-performance: Hit rate by cache A",
        "gw-performance: Look-ups A",
        "gw-performance: Look-ups B",
        "gw-performance: Size A",
    ),
    "the real gateway registers the family and never writes it",
) | {f"gw-providers: Counts of the exporter {ref}": "few deployments run that exporter" for ref in "ABCD"}


def empty(stage: Stage) -> dict[str, str]:
    """The queries without an answer, and why."""
    found = EMPTY if stage.has_ranges else EMPTY | IN_AN_HOUR
    return found if stage.spec_families else found | NOT_WRITTEN


PLAUSIBLE = {
    "percentunit": (0, 1),
    "percent": (0, 100),
    "s": (0, 120),
    "ms": (0, 120_000),
    "reqps": (0, 1000),
}
ANYTHING_POSITIVE = (0, 1e12)
# Overload protection stays on for three minutes; no request takes as long.
MINUTES = {f"gw-reliability: Velocity mode duration {ref}" for ref in "ABC"}
# Time since a start.
UPTIMES = {"gw-cache: Redis uptime A"}
# What has values only while or after something is wrong, or looks further back than there is history.
SELDOM = {
    *MINUTES,
    "gw-reliability: Circuit breaker rejected requests A",
    "gw-reliability: Circuit breaker state transitions A",
    "gw-reliability: Circuit breaker current state A",
    "gw-business: Credits a day B",
}
MAY_BE_NEGATIVE = {"gw-overview: Error budget left A", "gw-business: Change of subscriptions A"}
CHOICES: tuple[dict[str, str], ...] = (
    {"env": "production"},
    {"env": "production", "provider": "(openai|google-vertex)", "model": "(gpt-4o|google/gemini-2\\\\.5-pro)"},
)


@pytest.mark.parametrize("values", CHOICES, ids=["all", "some"])
@pytest.mark.parametrize("uid", reading.uids())
def test_every_promql_query_has_plausible_answers(stage: Stage, uid: str, values: dict[str, str]) -> None:
    for target in reading.targets(reading.board(uid), "prometheus"):
        found = asking.values_of(asking.answer_to(stage, target, values))
        assert bool(found) != (target.place in empty(stage)), f"{target.place}: {len(found)} values"
        _check(target, found)


@pytest.mark.parametrize("uid", reading.uids())
def test_what_is_empty_says_why(uid: str) -> None:
    """In its own words: that there is nothing in the range is what everybody sees."""
    known = EMPTY | NOT_WRITTEN
    for panel in reading.panels(reading.board(uid)):
        places = [f"{uid}: {panel['title']} {query['refId']}" for query in panel.get("targets", [])]
        if places and all(place in known for place in places):
            assert panel["fieldConfig"]["defaults"]["noValue"] != theme.NO_DATA, panel["title"]


@pytest.mark.parametrize("stage", [pytest.param("demo", marks=pytest.mark.nightly)], indirect=True)
@pytest.mark.parametrize("uid", [uid for uid in reading.uids() if uid != "gw-service"])
def test_graphs_are_full_over_the_range_that_a_board_opens_with(stage: Stage, uid: str) -> None:
    """That of the service itself aside, which has just begun."""
    board = reading.board(uid)
    for target in reading.targets(board, "prometheus"):
        if not target.query.get("instant") and target.place not in (*empty(stage), *SELDOM):
            found = asking.answer_to(stage, target, {"env": "production"})
            points = {moment for series in found for moment, _ in series["values"]}
            most = reading.default_range(board) // reading.step(target.panel, reading.default_range(board)) + 1
            assert len(points) >= 0.9 * most, f"{target.place}: {len(points)} points of {most}"


@pytest.mark.parametrize("uid", reading.uids())
def test_every_variable_has_values(stage: Stage, uid: str) -> None:
    for variable in reading.variables(reading.board(uid)):
        if variable["type"] == "query" and not reading.is_of_labels(variable):
            found = asking.instant(stage, reading.filled(reading.asked_by(variable), env="production"))
            # As Grafana writes a series, of which the variable's pattern takes the label.
            texts = ["".join(f'{name}="{value}"' for name, value in each["metric"].items()) for each in found]
            values = [re.search(variable["regex"].strip("/"), text) for text in texts]
            assert 0 < len(values) <= theme.FEW_LINES
            assert all(each and each[1] for each in values)
        elif variable["type"] == "query":
            selector, label = reading.label_values(variable)
            params: dict[str, str | float] = {
                "match[]": reading.filled(selector, env="production"),
                **asking.span(stage),
            }
            answer = stage.client.get(f"/api/v1/label/{label}/values", params=params)
            assert answer.status_code == 200, answer.text
            assert answer.json()["data"], variable["name"]


@pytest.mark.parametrize("board", reading.boards(), ids=reading.uids())
def test_every_annotation_can_be_asked(stage: Stage, board: Document) -> None:
    for annotation in board["annotations"]["list"]:
        seconds = reading.default_range(board) if stage.has_ranges else 1800
        macros = reading.annotation_macros(seconds)
        promql = reading.filled(annotation["expr"], **macros, env="production")
        found = asking.over_time(stage, promql, seconds, reading.seconds(macros["__interval"]))
        place = f"annotation {annotation['name']}"
        # The service has just begun: nothing scraped it before.
        # Nor was there anything before the thirty days.
        is_new = place == _SCRAPES and (board["uid"] == "gw-service" or seconds >= 30 * 86_400)
        assert bool(found) == (is_new or place not in empty(stage)), board["uid"]


@pytest.mark.parametrize("alert", made().alerts, ids=lambda alert: alert.name)
def test_every_alert_can_be_asked_and_none_fires(stage: Stage, alert: Alert) -> None:
    found = asking.values_of(asking.instant(stage, alerts_file.expression(made().metrics, alert)))

    assert bool(found) != (f"alert {alert.name}" in empty(stage))
    # A provider may be in trouble in the simulated world at any time.
    if not alert.name.startswith("provider"):
        assert not [value for value in found if asking.fires(alert, value)]


@pytest.mark.parametrize("uid", reading.uids())
def test_every_number_of_the_summary_is_there(stage: Stage, uid: str) -> None:
    for target in reading.targets(reading.board(uid), "yesoreyeram-infinity-datasource"):
        found = asking.row_of(stage, target)
        for column in target.query["columns"]:
            if column["selector"] == "error":
                assert found["error"] == NOT_DEGRADED, "there is a reason only while the upstream is down"
                continue
            assert column["selector"] in found, target.place
            value = found[column["selector"]]
            assert (value is None) == (target.place in empty(stage)), target.place
            if column["type"] == "number" and value is not None:
                assert isinstance(value, int | float)
                _check(target, [value])


@pytest.mark.parametrize("uid", reading.uids())
def test_every_query_of_the_json_datasource_has_an_answer(stage: Stage, uid: str) -> None:
    for panel in reading.panels(reading.board(uid)):
        if panel.get("datasource", {}).get("type") != "simpod-json-datasource":
            continue
        found = _panel_answer(stage, panel)
        elements = [each for each in found if each.get("rows") != []]
        place = f"{uid}: {panel['title']} A"
        assert bool(elements) != (place in empty(stage)), place
        # The reason why there is nothing. Of the first points of an hour, another notice tells that it has just begun.
        notices = [notice["text"] for each in found for notice in each.get("meta", {}).get("notices", [])]
        assert bool([text for text in notices if ": No data" in text]) != bool(elements)
        if not elements:
            continue
        if panel["type"] == "table":
            _check_table(panel, elements)
        else:
            for element in elements:
                assert [value for value, _ in element["datapoints"] if value is not None], element


def _panel_answer(stage: Stage, panel: Document) -> list[Document]:
    targets = [{**query, "payload": json.loads(query["payload"])} for query in panel["targets"]]
    span = {"from": round((stage.now - 3600) * 1000), "to": round(stage.now * 1000)}
    body = {"range": span, "intervalMs": 15_000, "maxDataPoints": 500, "targets": targets}
    answer = stage.client.post("/query", json=body)
    assert answer.status_code == 200, answer.text
    found: list[Document] = answer.json()
    return found


def _check_table(panel: Document, elements: list[Document]) -> None:
    """Columns are called as the panel's overrides expect, and hold numbers."""
    (table,) = elements
    names, rows = _columns_and_rows(table)
    organized = next(t["options"] for t in panel["transformations"] if t["id"] == "organize")
    shown = [organized["renameByName"].get(name, name) for name in names]
    for override in panel["fieldConfig"]["overrides"]:
        assert override["matcher"]["options"] in shown, shown
    assert rows
    for row in rows:
        assert [value for value in row if isinstance(value, int | float)]


def _columns_and_rows(table: Document) -> tuple[list[str], list[list[Any]]]:
    """Of a table, or of the frame that it becomes when it holds what JSON cannot, such as NaN."""
    if "columns" in table:
        return [column["text"] for column in table["columns"]], table["rows"]
    names = [field["name"] for field in table["schema"]["fields"]]
    return names, [list(row) for row in zip(*table["data"]["values"], strict=True)]


def _check(target: PanelTarget, found: list[float]) -> None:
    """Whether the values can be what their unit says."""
    low, high = PLAUSIBLE.get(_unit(target), ANYTHING_POSITIVE)
    if target.place in MAY_BE_NEGATIVE:
        low = -1000
    if target.panel["type"] == "state-timeline":
        low = -2  # no news: a breaker has no series from a restart to its first event, and nothing at all
    if target.place == "gw-overview: Scrapes A":
        low = -3  # at both ends of the window
    if target.place in MINUTES:
        high = 300
    if target.place in UPTIMES:
        high = ANYTHING_POSITIVE[1]
    odd = [value for value in found if isfinite(value) and not low - 1e-9 <= value <= high + 1e-9]
    assert not odd, f"{target.place} in {_unit(target)}: {odd[:3]}"
    assert all(isfinite(value) for value in found), f"{target.place}: not a number"


def _unit(target: PanelTarget) -> str:
    if target.panel["type"] == "heatmap":
        return "short"  # the unit is that of the axis; the values are counts
    return next(_column_units(target), target.panel["fieldConfig"]["defaults"]["unit"])


def _column_units(target: PanelTarget) -> Iterator[str]:
    """The unit of the table column that a target fills."""
    for transformation in target.panel.get("transformations", []):
        names = transformation["options"].get("renameByName", {})
        name = names.get(f"Value #{target.query['refId']}", names.get("Value", ""))
        for override in target.panel["fieldConfig"]["overrides"]:
            if override["matcher"]["options"] == name:
                yield from (p["value"] for p in override["properties"] if p["id"] == "unit")


def test_what_is_to_be_typed_for_a_variable_and_an_annotation_is_answered(stage: Stage) -> None:
    """As the board of examples tells it."""
    span = {"from": round((stage.now - 3600) * 1000), "to": round(stage.now * 1000)}
    values = stage.client.post("/variable", json={"payload": {"target": examples.VARIABLE}, "range": span})
    target = {"refId": "Anno", "target": examples.ANNOTATION, "payload": examples.ANNOTATION_PAYLOAD}
    events = stage.client.post("/query", json={"range": span, "intervalMs": 15_000, "targets": [target]})

    assert "openai" in [each["__value"] for each in values.json()]
    (frame,) = events.json()
    names = [field["name"] for field in frame["schema"]["fields"]]
    # An hour of history has an outage; whoever looks at another hour may find none.
    assert stage.has_ranges or "openai is cut off" in frame["data"]["values"][names.index("text")]
