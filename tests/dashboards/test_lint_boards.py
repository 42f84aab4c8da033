"""The rules of Grafana's dashboard linter and our own, over every dashboard, panel, variable and link."""

import json
import re
from collections import Counter
from itertools import combinations
from urllib.parse import parse_qs, urlsplit

import pytest
from grafana_foundation_sdk.models import units as grafana_units

from dashboards import queries
from tests.dashboards import contract, reading
from tests.dashboards.catalogues import CATALOGUES, checked, made
from tests.dashboards.reading import Document

BOARDS = checked()
PANELS = [(name, board, panel) for name, board in BOARDS for panel in reading.panels(board)]
BOARD_IDS = [f"{name}: {board['uid']}" for name, board in BOARDS]
PANEL_IDS = [f"{name}: {board['uid']}: {panel['title']}" for name, board, panel in PANELS]
KNOWN_UNITS = {value for value in vars(grafana_units).values() if isinstance(value, str)}
ORDER = ("datasource", "env", "app", "provider", "model", "busiest", "interval", "job", "instance")
JSON, INFINITY = "simpod-json-datasource", "yesoreyeram-infinity-datasource"
FIXED = {JSON: "gatewayz-json", INFINITY: "gatewayz-summary"}

# Units of the grid that a screen of 1600 by 900 shows below Grafana's own head, and how many of a panel tell something.
FOLD = (900 - 148) // 38
ENOUGH = 5
# The panels that answer the question of a written board.
ANSWERS = {
    "gw-overview": ("Scrapes", "Error rate", "Average latency", "Burn rate", "Providers", "Provider health", "Credits"),
    "gw-http": ("Every route", "Share of failed requests"),
    "gw-providers": ("Degraded", "Down", "Availability", "Time available"),
    "gw-models": ("Models",),
    "gw-business": ("Total tokens used", "Total credits used", "Credits a day", "Credits by provider"),
    "gw-performance": ("Request, mean", "Model call, mean", "Query, mean", "Cache hit rate"),
    "gw-examples": ("How to copy", "A statistic over time", "A family as a rate", "Numbers side by side"),
    "gw-service": ("Metrics service", "Upstream reached", "95th percentile by route", "Cache hit ratio"),
}

each_catalogue = pytest.mark.parametrize("name", CATALOGUES)
each_board = pytest.mark.parametrize("board", [board for _, board in BOARDS], ids=BOARD_IDS)
each_panel = pytest.mark.parametrize("panel", [panel for *_, panel in PANELS], ids=PANEL_IDS)


def test_the_built_in_catalogue_has_eight_and_those_of_further_families() -> None:
    written = ("overview", "http", "providers", "models", "business", "performance", "service", "examples")
    names = (*written, "system", "streaming", "cost", "reliability", "cache")

    assert [f"gw-{name}" for name in names] == reading.uids()
    assert {f"gw-{name}" for name in written} == ANSWERS.keys()
    assert made().left_out == {}
    assert [target for board in reading.boards() for target in reading.targets(board, JSON)]


@each_catalogue
def test_titles_and_uids_are_unique(name: str) -> None:
    boards = made(name).documents

    assert len({each["title"] for each in boards}) == len({each["uid"] for each in boards}) == len(boards)


@each_board
def test_the_uid_is_one_that_every_grafana_takes(board: Document) -> None:
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", board["uid"])


@each_board
def test_it_cannot_be_edited_and_carries_no_state(board: Document) -> None:
    assert board["editable"] is False
    assert board["id"] is None
    assert board["schemaVersion"] == 41
    assert not {"version", "iteration"} & board.keys()


@each_board
def test_it_has_a_range_and_refreshes_no_faster_than_data_changes(board: Document) -> None:
    assert board["time"]["from"].startswith("now-")
    assert board["time"]["to"] == "now"
    assert board["refresh"] in ("30s", "1m", "5m")


@each_board
def test_there_is_one_datasource_variable(board: Document) -> None:
    found = [v for v in reading.variables(board) if v["type"] == "datasource"]

    assert [(v["name"], v["label"], v["query"]) for v in found] == [("datasource", "Data source", "prometheus")]
    # Beside another Prometheus the board would open on whichever comes first.
    assert found[0]["current"] == {"text": queries.PROMETHEUS_NAME, "value": queries.PROMETHEUS_UID}


@each_board
def test_variables_keep_one_order_everywhere(board: Document) -> None:
    names = [v["name"] for v in reading.variables(board)]

    assert names == [name for name in ORDER if name in names]


@each_board
def test_query_variables_follow_the_time_range(board: Document) -> None:
    for variable in reading.variables(board):
        if variable["type"] == "query":
            assert variable["refresh"] == 2
            # The busiest come in their own order.
            assert variable["sort"] == (1 if reading.is_of_labels(variable) else 0)
            assert variable["label"]
            assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert (variable["multi"], variable.get("allValue")) == _choice(variable["name"])


def _choice(name: str) -> tuple[bool, str | None]:
    # One deployment at a time: staging would count as production. All of the busiest are those that were found.
    return {"env": (False, None), "busiest": (True, None)}.get(name, (True, ".+"))


@each_board
def test_query_variables_ask_for_label_values_or_for_the_largest(board: Document) -> None:
    for variable in reading.variables(board):
        if variable["type"] == "query":
            assert reading.selectors(reading.asked_by(variable))
            if not reading.is_of_labels(variable):
                label = re.search(r"sum by \((\w+)\)", reading.asked_by(variable))
                assert label
                assert variable["regex"] == f'/{label[1]}="([^"]*)"/'
                # Nobody chooses them; all that are found are chosen.
                assert variable["hide"] == 2
                assert variable["includeAll"] is True


@each_board
def test_only_interval_variables_have_an_automatic_width(board: Document) -> None:
    for variable in reading.variables(board):
        assert ("auto" in variable) == (variable["type"] == "interval")


@each_board
def test_every_variable_is_defined_before_it_is_used_and_used(board: Document) -> None:
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
def test_ids_are_unique(board: Document) -> None:
    counts = Counter(panel["id"] for panel in board["panels"])

    assert counts.most_common(1)[0][1] == 1
    assert 0 not in counts


@each_board
def test_panels_fit_the_grid_and_do_not_overlap(board: Document) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]

    assert all(p["x"] + p["w"] <= 24 and p["w"] > 0 and p["h"] > 0 for p in places)
    assert not [pair for pair in combinations(places, 2) if _overlap(*pair)]


@each_board
def test_every_line_of_the_grid_is_full(board: Document) -> None:
    lines: dict[int, list[Document]] = {}
    for panel in board["panels"]:
        lines.setdefault(panel["gridPos"]["y"], []).append(panel["gridPos"])

    assert all(sum(place["w"] for place in line) == 24 for line in lines.values())
    assert all(len({place["h"] for place in line}) == 1 for line in lines.values())


@pytest.mark.parametrize(("name", "board"), BOARDS, ids=BOARD_IDS)
def test_the_first_screen_answers_the_question(name: str, board: Document) -> None:
    places = {panel["title"]: panel["gridPos"] for panel in reading.panels(board)}
    # One that is made of a catalogue alone answers with what comes first.
    titles = ANSWERS.get(board["uid"], ()) if name == "gatewayz" else ()
    for title in titles or [next(iter(places))]:
        place = places[title]
        assert place["y"] + min(place["h"], ENOUGH) <= FOLD, title


def _overlap(a: Document, b: Document) -> bool:
    return bool(
        a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]
    )


@each_board
def test_it_leads_to_the_others_with_time_and_variables(board: Document) -> None:
    (link,) = board["links"]

    assert link["type"] == "dashboards"
    # The switch of an annotation would push it to a line of its own.
    assert all(annotation["hide"] for annotation in board["annotations"]["list"])
    # Beside four variables, as measured, a screen of 1600 pixels has room for the list and the time.
    assert sum(variable.get("hide") != 2 for variable in reading.variables(board)) <= 4
    assert link["tags"] == board["tags"] == ["gatewayz"]
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
        assert unit in KNOWN_UNITS or re.fullmatch(r"suffix: [A-Za-z ]*/s", unit), unit
        assert unit != "cps", "c/s says nothing: of what?"


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
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        # Bars of several kinds add up; this week does not add to the one before.
        kinds = custom.get("drawStyle") == "bars" and "{{" in panel["targets"][0]["legendFormat"]
        assert ("stacking" in custom) == kinds


@pytest.mark.parametrize(("name", "board", "panel"), PANELS, ids=PANEL_IDS)
def test_links_lead_somewhere(name: str, board: Document, panel: Document) -> None:
    here = {v["name"] for v in reading.variables(board)}
    for link in reading.links(panel):
        assert set(link) == {"title", "url", "targetBlank"}, link
        url = urlsplit(link["url"])
        # Relative: Grafana may be served anywhere.
        assert not url.scheme
        target = reading.board(url.path.removeprefix("/d/"), made(name))
        known = {v["name"] for v in reading.variables(target)}
        assert {key.removeprefix("var-") for key in parse_qs(url.query) if key.startswith("var-")} <= known
        assert reading.used_variables(link["url"]) & set(ORDER) <= here | {"datasource"}
        assert "from=${__from}&to=${__to}" in link["url"]
        # That variable would pin a time zone, in tables UTC.
        assert "timezone" not in link["url"]
        assert "__url_time_range" not in link["url"]


def test_every_dashboard_but_the_service_is_reached_by_a_data_link() -> None:
    panels = (panel for board in reading.boards() for panel in reading.panels(board))
    reached = {urlsplit(link["url"]).path.removeprefix("/d/") for panel in panels for link in reading.links(panel)}

    assert reached >= {"gw-http", "gw-providers", "gw-models", "gw-performance"}


def _drawn(name: str) -> set[str]:
    """The families whose series the boards of a catalogue ask for."""
    targets = [target for board in made(name).documents for target in reading.targets(board, "prometheus")]
    asked = {node.expr.name for target in targets for node in reading.selectors(target.query["expr"])}
    return {re.sub(r"_(bucket|sum|count)$", "", series) for series in asked} | asked


def _stated(name: str) -> set[str]:
    """The statistics that the boards of a catalogue show."""
    return {_statistic(target) for board in made(name).documents for target in reading.targets(board)}


@each_catalogue
def test_every_family_of_a_catalogue_has_a_panel(name: str) -> None:
    drawn = _drawn(name)

    # A quantile is drawn from its histogram, and an expression from what it reads.
    for family in made(name).metrics.catalogue.families:
        assert family.name in drawn or drawn & {re.sub("_bucket$", "", series) for series in family.sources}


@each_catalogue
def test_without_the_written_overview_every_statistic_has_a_panel(name: str) -> None:
    statistics = {statistic.name for statistic in made(name).metrics.catalogue.statistics}

    assert ("Overview" not in made(name).left_out) or statistics <= _stated(name)


def test_what_the_written_boards_do_not_show_is_meant() -> None:
    catalogue = made().metrics.catalogue

    # A quantile or a mean is drawn from the family that it comes from.
    drawn = _drawn("gatewayz")
    derived = {family.name for family in catalogue.families if family.quantile_of or family.name not in drawn}
    assert derived == {
        "fastapi_requests_duration_seconds_quantile",
        "provider_response_time_seconds_quantile",
        "model_inference_duration_seconds_quantile",
        "database_query_duration_seconds_mean",
        "cache_hit_ratio",
        "redis_keyspace_hit_ratio",
        "redis_commands_per_second",
        "redis_connections_per_second",
        "redis_evicted_keys_per_second",
        "redis_expired_keys_per_second",
    }
    # Totals since the start of the gateway stay out, other than those of Business: nobody can read them.
    unread = {s.name for s in catalogue.statistics} - _stated("gatewayz")
    assert unread == {
        "http.total_requests",
        "models.total_inference_requests",
        "models.tokens_used_total",
        "models.credits_used_total",
        "database.total_queries",
        # Drawn in PromQL, for the chosen deployment and providers.
        "providers.avg_error_rate",
        "providers.avg_response_time_ms",
        "providers.degraded_providers",
        "providers.unavailable_providers",
    }


@each_catalogue
def test_every_family_of_the_service_has_a_panel(name: str) -> None:
    targets = reading.targets(reading.board("gw-service", made(name)), "prometheus")
    promql = " ".join(target.query["expr"] for target in targets)

    assert not [family for family in contract.own() if family not in promql]


def _statistic(target: reading.PanelTarget) -> str:
    if target.kind == INFINITY:
        section = target.query["root_selector"].removeprefix("metrics.")
        return f"{section}.{target.query['columns'][0]['selector']}"
    return str(target.query.get("target", ""))


# What the service says of itself.
SERVICES_OWN_WORDS = {("/readyz", "status"), ("/prometheus/metrics/summary", "error")}


@pytest.mark.parametrize(("name", "board"), BOARDS, ids=BOARD_IDS)
def test_summary_panels_ask_for_numbers_by_name(name: str, board: Document) -> None:
    names = {statistic.name for statistic in made(name).metrics.catalogue.statistics}
    for target in reading.targets(board, INFINITY):
        assert target.query["parser"] == "backend"
        assert target.query["url"].startswith("/"), "the datasource has the host"
        if target.query["root_selector"].startswith("metrics."):
            assert _statistic(target) in names
        else:
            (column,) = target.query["columns"]
            assert (target.query["url"], column["selector"]) in SERVICES_OWN_WORDS


@pytest.mark.parametrize(("name", "board"), BOARDS, ids=BOARD_IDS)
def test_payloads_of_the_json_datasource_parse(name: str, board: Document) -> None:
    for target in reading.targets(board, JSON):
        assert isinstance(json.loads(target.query["payload"]), dict)
        assert target.query["editorMode"] == "code"
        # A variable in a payload would arrive escaped, or break the JSON without a word.
        assert "$" not in target.query["payload"] + target.query["target"]
        assert target.query["target"] in made(name).metrics.catalogue.by_name
