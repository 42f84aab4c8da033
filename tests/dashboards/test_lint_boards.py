"""The rules of Grafana's dashboard linter and our own, over every dashboard, panel, variable and link."""

import json
import re
from collections import Counter
from itertools import combinations
from urllib.parse import parse_qs, urlsplit

import pytest
from gatewayz_metrics.catalogue import Statistic, load
from grafana_foundation_sdk.models import units as grafana_units

from tests.dashboards import contract, reading
from tests.dashboards.reading import Document

UIDS = reading.uids()
PANELS = reading.every_panel()
PANEL_IDS = [f"{uid}: {panel['title']}" for uid, panel in PANELS]
KNOWN_UNITS = {value for value in vars(grafana_units).values() if isinstance(value, str)}
ORDER = ("datasource", "env", "app", "provider", "model", "interval", "job", "instance")
JSON, INFINITY = "simpod-json-datasource", "yesoreyeram-infinity-datasource"
FIXED = {JSON: "gatewayz-json", INFINITY: "gatewayz-summary"}

each_board = pytest.mark.parametrize("uid", UIDS)
each_panel = pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=PANEL_IDS)


def test_there_are_seven() -> None:
    names = ("overview", "http", "providers", "models", "business", "performance", "service")

    assert [f"gw-{name}" for name in names] == UIDS


def test_titles_and_uids_are_unique() -> None:
    assert len({each["title"] for each in reading.boards()}) == len(set(UIDS)) == len(UIDS)


@each_board
def test_the_uid_is_one_that_every_grafana_takes(uid: str) -> None:
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", uid)


@each_board
def test_it_cannot_be_edited_and_carries_no_state(uid: str) -> None:
    board = reading.board(uid)

    assert board["editable"] is False
    assert board["id"] is None
    assert board["schemaVersion"] == 41
    assert not {"version", "iteration"} & board.keys()


@each_board
def test_it_has_a_range_and_refreshes_no_faster_than_data_changes(uid: str) -> None:
    board = reading.board(uid)

    assert board["time"]["from"].startswith("now-")
    assert board["time"]["to"] == "now"
    assert board["refresh"] in ("30s", "1m", "5m")


@each_board
def test_there_is_one_datasource_variable(uid: str) -> None:
    found = [v for v in reading.variables(reading.board(uid)) if v["type"] == "datasource"]

    assert [(v["name"], v["label"], v["query"]) for v in found] == [("datasource", "Data source", "prometheus")]


@each_board
def test_variables_keep_one_order_everywhere(uid: str) -> None:
    names = [v["name"] for v in reading.variables(reading.board(uid))]

    assert names == [name for name in ORDER if name in names]


@each_board
def test_query_variables_follow_the_time_range(uid: str) -> None:
    for variable in reading.variables(reading.board(uid)):
        if variable["type"] == "query":
            assert variable["refresh"] == 2
            assert variable["sort"] == 1
            assert variable["label"]
            assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert (variable["multi"], variable.get("allValue")) == _choice(variable["name"])


def _choice(name: str) -> tuple[bool, str | None]:
    # One deployment at a time: staging would count as production.
    return (False, None) if name == "env" else (True, ".+")


@each_board
def test_query_variables_ask_for_label_values(uid: str) -> None:
    for variable in reading.variables(reading.board(uid)):
        if variable["type"] == "query":
            selector, _ = reading.label_values(variable)
            assert reading.selectors(selector)


@each_board
def test_only_interval_variables_have_an_automatic_width(uid: str) -> None:
    for variable in reading.variables(reading.board(uid)):
        assert ("auto" in variable) == (variable["type"] == "interval")


@each_board
def test_every_variable_is_defined_before_it_is_used_and_used(uid: str) -> None:
    board = reading.board(uid)
    defined: set[str] = set()
    used = {"datasource"}
    for variable in reading.variables(board):
        needed = reading.used_variables(str(variable.get("query", "")) + str(variable.get("datasource", "")))
        assert needed <= defined, variable["name"]
        used |= needed
        defined.add(variable["name"])
    in_panels = {name for panel in reading.panels(board) for name in _used_by(panel)}
    assert in_panels <= defined
    assert defined <= used | in_panels


def _used_by(panel: Document) -> set[str]:
    texts = [query.get("expr", "") for query in panel.get("targets", [])]
    texts += [panel["title"], panel.get("interval", ""), str(panel.get("datasource", {}))]
    repeat = {panel["repeat"]} if "repeat" in panel else set()
    return repeat | {name for text in texts for name in reading.used_variables(text)}


@each_board
def test_ids_are_unique(uid: str) -> None:
    counts = Counter(panel["id"] for panel in reading.board(uid)["panels"])

    assert counts.most_common(1)[0][1] == 1
    assert 0 not in counts


@each_board
def test_panels_fit_the_grid_and_do_not_overlap(uid: str) -> None:
    places = [panel["gridPos"] for panel in reading.board(uid)["panels"]]

    assert all(p["x"] + p["w"] <= 24 and p["w"] > 0 and p["h"] > 0 for p in places)
    assert not [pair for pair in combinations(places, 2) if _overlap(*pair)]


@each_board
def test_every_line_of_the_grid_is_full(uid: str) -> None:
    lines: dict[int, list[Document]] = {}
    for panel in reading.board(uid)["panels"]:
        lines.setdefault(panel["gridPos"]["y"], []).append(panel["gridPos"])

    assert all(sum(place["w"] for place in line) == 24 for line in lines.values())
    assert all(len({place["h"] for place in line}) == 1 for line in lines.values())


def _overlap(a: Document, b: Document) -> bool:
    return bool(
        a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]
    )


@each_board
def test_it_leads_to_the_others_with_time_and_variables(uid: str) -> None:
    (link,) = reading.board(uid)["links"]

    assert link["type"] == "dashboards"
    assert link["tags"] == reading.board(uid)["tags"] == ["gatewayz"]
    assert link["asDropdown"] is link["includeVars"] is link["keepTime"] is True


@each_panel
def test_a_panel_has_a_title_and_says_what_it_means(panel: Document) -> None:
    assert panel["title"]
    assert len(panel["description"]) > 15
    assert re.match("[A-Z0-9]", panel["description"])
    assert panel["description"].endswith(".")


@each_panel
def test_a_panel_asks_the_variable_or_a_fixed_datasource(panel: Document) -> None:
    if panel["type"] == "text":
        return
    source = panel["datasource"]
    expected = "${datasource}" if source["type"] == "prometheus" else FIXED[source["type"]]
    assert source["uid"] == expected
    assert all("datasource" not in query for query in panel["targets"]), "a panel has one datasource, its own"


@each_panel
def test_a_panel_has_a_unit_that_grafana_knows(panel: Document) -> None:
    if panel["type"] == "text":
        return
    properties = [p for o in panel["fieldConfig"]["overrides"] for p in o["properties"] if p["id"] == "unit"]
    for unit in (panel["fieldConfig"]["defaults"]["unit"], *(p["value"] for p in properties)):
        assert unit in KNOWN_UNITS, unit


@each_panel
def test_a_panel_has_targets_with_ids_of_their_own(panel: Document) -> None:
    if panel["type"] == "text":
        return
    refs = [query["refId"] for query in panel["targets"]]
    assert refs
    assert refs == [chr(ord("A") + index) for index in range(len(refs))]


@each_panel
def test_a_panel_sets_what_the_sdk_would_set_wrongly(panel: Document) -> None:
    options = panel["options"]
    assert panel["pluginVersion"]
    if "reduceOptions" in options:
        assert options["reduceOptions"]["calcs"] == ["lastNotNull"]
    if panel["type"] in ("timeseries", "piechart"):
        assert options["legend"]["showLegend"] is True
    if "tooltip" in options and panel["type"] != "heatmap":
        assert options["tooltip"]["sort"] == "desc"
    if panel["type"] == "timeseries":
        assert "stacking" not in panel["fieldConfig"]["defaults"].get("custom", {})


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=PANEL_IDS)
def test_links_lead_somewhere(uid: str, panel: Document) -> None:
    for link in reading.links(panel):
        assert set(link) == {"title", "url", "targetBlank"}, link
        url = urlsplit(link["url"])
        # Relative: Grafana may be served anywhere.
        assert not url.scheme
        target = reading.board(url.path.removeprefix("/d/"))
        known = {v["name"] for v in reading.variables(target)}
        assert {key.removeprefix("var-") for key in parse_qs(url.query) if key.startswith("var-")} <= known
        here = {v["name"] for v in reading.variables(reading.board(uid))}
        assert reading.used_variables(link["url"]) & set(ORDER) <= here | {"datasource"}
        assert "${__url_time_range}" in link["url"]


def test_every_dashboard_but_the_service_is_reached_by_a_data_link() -> None:
    reached = {urlsplit(link["url"]).path.removeprefix("/d/") for _, panel in PANELS for link in reading.links(panel)}

    assert reached >= {"gw-http", "gw-providers", "gw-models", "gw-performance"}


def test_every_family_and_statistic_of_the_catalogue_has_a_panel() -> None:
    asked = {node.expr.name for target in reading.every_promql() for node in reading.selectors(target.query["expr"])}
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} | asked
    stated = {_statistic(target) for board in reading.boards() for target in reading.targets(board)}
    catalogue = load()

    # A quantile or a mean is drawn from the family that it comes from.
    derived = {family.name for family in catalogue.families if family.quantile_of or family.name not in bases}
    assert derived == {
        "fastapi_requests_duration_seconds_quantile",
        "provider_response_time_seconds_quantile",
        "model_inference_duration_seconds_quantile",
        "database_query_duration_seconds_mean",
        "cache_hit_ratio",
    }
    # Totals since the start of the gateway stay out, other than those of Business: nobody can read them.
    unread = {s.name for s in catalogue.statistics} - stated
    assert unread == {
        "http.total_requests",
        "models.total_inference_requests",
        "models.tokens_used_total",
        "models.credits_used_total",
        "database.total_queries",
    }


def test_every_family_of_the_service_has_a_panel() -> None:
    promql = " ".join(target.query["expr"] for target in reading.targets(reading.board("gw-service"), "prometheus"))

    assert not [name for name in contract.own() if name not in promql]


def _statistic(target: reading.Target) -> str:
    if target.kind == INFINITY:
        section = target.query["root_selector"].removeprefix("metrics.")
        return f"{section}.{target.query['columns'][0]['selector']}"
    return str(target.query.get("target", ""))


def test_summary_panels_ask_for_numbers_by_name() -> None:
    names = {s.name for s in load().statistics if isinstance(s, Statistic)}
    for board in reading.boards():
        for target in reading.targets(board, INFINITY):
            assert target.query["parser"] == "backend"
            assert target.query["url"].startswith("/"), "the datasource has the host"
            if target.query["url"] != "/readyz":
                assert _statistic(target) in names


def test_payloads_of_the_json_datasource_parse() -> None:
    found = [target for board in reading.boards() for target in reading.targets(board, JSON)]
    assert found
    for target in found:
        assert isinstance(json.loads(target.query["payload"]), dict)
        assert target.query["editorMode"] == "code"
        # A variable in a payload would arrive escaped, or break the JSON without a word.
        assert "$" not in target.query["payload"] + target.query["target"]
        assert target.query["target"] in load().by_name
