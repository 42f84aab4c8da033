"""Lines, titles and numbers that people can read, over every panel."""

import re

import pytest
from gatewayz_demo import topology

from tests.dashboards import reading
from tests.dashboards.reading import Document
from tests.dashboards.test_lint_boards import PANEL_IDS, PANELS
from tests.dashboards.test_lint_honesty import overrides

# The bound of the last bucket, in seconds, of the histograms that the boards take quantiles of.
LAST_BUCKETS = {
    "fastapi_requests_duration_seconds": "5",
    "model_inference_duration_seconds": "60",
    "provider_response_time_seconds": "10",
}
STATUS = re.compile(r"\{\{status(_code)?\}\}|[45]xx|429")
LONG = re.compile(r"\{\{(model|path|exception_type|from_state)\}\}")
COLOURS = {"/^2/": "green", "/^3/": "blue", "/^4/": "orange", "/^5/": "red"}

each_panel = pytest.mark.parametrize("panel", [panel for *_, panel in PANELS], ids=PANEL_IDS)


def legends(panel: Document) -> str:
    return " ".join(query.get("legendFormat", "") for query in panel.get("targets", []))


@each_panel
def test_a_title_is_no_longer_than_its_panel(panel: Document) -> None:
    # At 1600 pixels a column of the grid has about 50 of them, and a letter 8; the icon takes some.
    assert panel["title"] == "$provider" or len(panel["title"]) <= 4.6 * panel["gridPos"]["w"]


@each_panel
def test_status_classes_have_the_same_colours_everywhere(panel: Document) -> None:
    if panel["type"] != "timeseries" or not STATUS.search(legends(panel)):
        return
    assert {pattern: each["fixedColor"] for pattern, each in overrides(panel, "color")} == COLOURS
    if "{{status" in legends(panel):
        # Beside good answers, failures are a flat line at zero.
        places = {pattern: str(each) for pattern, each in overrides(panel, "custom.axisPlacement")}
        assert places == {"/^4/": "right", "/^5/": "right"}


MANY = re.compile(r"\{\{(provider|model|path|gateway)\}\}")


@each_panel
def test_lines_of_many_series_can_be_told_apart(panel: Document) -> None:
    """A point per pixel counts so few events of each that its line jumps between extremes; so do many lines."""
    many = [query for query in panel.get("targets", []) if MANY.search(query.get("legendFormat", ""))]
    if panel["type"] != "timeseries" or not many:
        return
    assert panel["maxDataPoints"] == 100
    assert len(many) == 1, "one line for each name"
    # Two of them would have a line for every pair.
    assert len(MANY.findall(many[0]["legendFormat"])) == 1


@pytest.mark.parametrize("uid", ["gw-http", "gw-models"])
def test_of_dozens_of_names_the_busiest_are_drawn(uid: str) -> None:
    drawn = [
        (found[1], query["expr"])
        for panel in reading.panels(reading.board(uid))
        for query in panel["targets"]
        if panel["type"] == "timeseries" and (found := re.search(r"\{\{(model|path)\}\}", query["legendFormat"]))
    ]

    assert len(drawn) > 1
    for label, promql in drawn:
        assert all(f'{label}=~"$busiest"' in each for each in re.findall(r"\{[^{}]*\}", promql))


@each_panel
def test_a_line_does_not_come_and_go(panel: Document) -> None:
    """What a comparison or a choice at each point leaves out is drawn as dots and holes."""
    if panel["type"] == "timeseries":
        for query in panel["targets"]:
            promql = query.get("expr", "")
            assert "topk" not in promql
            # A quantile of nothing is not a number.
            assert not re.search(r"[<>]=? *[0-9.]+$", promql.removesuffix(" >= 0")), promql


@each_panel
def test_a_name_has_the_same_colour_on_every_panel(panel: Document) -> None:
    if panel["type"] in ("timeseries", "piechart") and "{{" in legends(panel):
        assert panel["fieldConfig"]["defaults"]["color"]["mode"] == "palette-classic-by-name"


@each_panel
def test_long_names_stand_beside_the_graph(panel: Document) -> None:
    if panel["type"] == "timeseries":
        legend = panel["options"]["legend"]
        expected = ("table", "right") if LONG.search(legends(panel)) else ("list", "bottom")
        assert (legend["displayMode"], legend["placement"]) == expected


@each_panel
def test_an_axis_of_zeros_does_not_end_at_a_hundred(panel: Document) -> None:
    if panel["type"] != "timeseries":
        return
    defaults = panel["fieldConfig"]["defaults"]
    highest = [step["value"] for step in defaults["thresholds"]["steps"] if step["value"] is not None]
    assert defaults["custom"]["axisSoftMin"] == 0
    assert max([0.0, *highest]) < defaults["custom"]["axisSoftMax"] <= max([1024, *(1.3 * each for each in highest)])


@each_panel
def test_a_quantile_at_the_last_bucket_says_that_it_may_be_more(panel: Document) -> None:
    for query in panel.get("targets", []):
        found = re.search(r"histogram_quantile\(.*?(\w+)_bucket", query.get("expr", ""))
        if found and found[1] in LAST_BUCKETS and panel["type"] == "timeseries":
            bound = LAST_BUCKETS[found[1]]
            texts = [each["options"].get(bound, {}) for each in panel["fieldConfig"]["defaults"]["mappings"]]
            assert {"text": f"{bound} s or more", "index": 0} in texts


@each_panel
def test_what_is_said_holds_in_both_themes(panel: Document) -> None:
    assert not re.search(r"[Bb]righter|[Dd]arker|\b(black|white)\b", panel["description"])


def columns(panel: Document, name: str) -> dict[str, object]:
    return dict(overrides(panel, name))


@each_panel
def test_every_column_of_a_table_is_in_sight(panel: Document) -> None:
    """At 1600 pixels with the menu open a table of full width has 1250 of them."""
    if panel["type"] != "table":
        return
    widths, least = columns(panel, "custom.width"), columns(panel, "custom.minWidth")
    assert columns(panel, "unit").keys() <= widths.keys()
    together = [*widths.values(), *least.values()]
    assert sum(int(str(each)) for each in together) <= 1250 * panel["gridPos"]["w"] / 24
    assert least, "one column takes what is left"


# What a table tells first; where it is not named here, its first two values.
FIRST = {
    "Provider health": ["State", "Failed calls", "95th percentile"],
    "Every route": ["Failed", "95th percentile"],
    "Models": ["Calls", "Failing"],
}


@each_panel
def test_a_phone_shows_the_columns_that_matter(panel: Document) -> None:
    """Of 420 pixels a panel has 400; columns stand in the order of their overrides, the names before the values."""
    if panel["type"] != "table":
        return
    widths = columns(panel, "custom.width") | columns(panel, "custom.minWidth")
    values = list(columns(panel, "unit"))
    first = FIRST.get(panel["title"], values[:2])

    assert values[: len(first)] == first
    assert sum(int(str(each)) for name, each in widths.items() if name not in values or name in first) <= 400
    organized = next(each["options"] for each in panel["transformations"] if each["id"] == "organize")
    names = [organized["renameByName"].get(key, key) for key in organized["indexByName"]]
    # The service orders its own tables in the same way.
    assert not names or (set(names[: -len(values)]), names[-len(values) :]) == (widths.keys() - values, values)


# Rows that a panel has to show, and how many pixels a row, a head and a panel's own head and padding take.
ROWS = {"Provider health": 13, "Every route": 10, "Models": 12, "Time available": 13}
ROW, HEADS = {"table": 36, "bargauge": 28}, {"table": 72, "bargauge": 44}


@pytest.mark.parametrize("title", ROWS)
def test_a_list_shows_the_rows_that_matter(title: str) -> None:
    (panel,) = [p for board in reading.boards() for p in reading.panels(board) if p["title"] == title]
    pixels = panel["gridPos"]["h"] * 38 - 8 - HEADS[panel["type"]]

    assert pixels // ROW[panel["type"]] >= ROWS[title]


@each_panel
def test_names_have_the_room_that_is_left(panel: Document) -> None:
    """anthropic/claude-sonnet-4.5 takes 240 pixels."""
    if panel["type"] == "table" and panel["gridPos"]["w"] == 24:
        left = 1250 - sum(int(str(each)) for each in columns(panel, "custom.width").values())
        assert left / len(columns(panel, "custom.minWidth")) >= 240


@each_panel
def test_the_worst_or_the_largest_comes_first(panel: Document) -> None:
    if panel["type"] == "bargauge":
        assert re.match(r"(sort|topk)\(", panel["targets"][0]["expr"])


@each_panel
def test_shares_have_two_decimals(panel: Document) -> None:
    """0.00480% is no better known than 0.00%."""
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    if panel["type"] in ("stat", "gauge", "bargauge") and defaults["unit"] in ("percent", "percentunit"):
        assert defaults["decimals"] == 2
    if panel["type"] == "table":
        shares = [name for name, unit in columns(panel, "unit").items() if unit in ("percent", "percentunit")]
        assert [columns(panel, "decimals")[name] for name in shares] == [2] * len(shares)


def test_what_answers_is_not_praised_for_it() -> None:
    """A provider that answers may still fail every third call; one without failures has a zero, not a blank."""
    (health,) = [p for p in reading.panels(reading.board("gw-overview")) if p["title"] == "Provider health"]
    (models,) = [p for p in reading.panels(reading.board("gw-models")) if p["title"] == "Models"]
    mappings = columns(health, "mappings")["State"]
    words = {key: each for m in mappings if m["type"] == "value" for key, each in m["options"].items()}  # type: ignore[attr-defined]

    assert {each["text"]: each["color"] for each in words.values()} == {"answers": "text", "down": "red"}
    failed = models["targets"][list(columns(models, "unit")).index("Failed")]["expr"]
    assert " or 0 * sum by (provider, model) (increase(" in failed


@each_panel
def test_a_share_is_not_described_as_what_it_is_a_share_of(panel: Document) -> None:
    """The burn rate's text began with that of the requests."""
    ratios = {"percentunit", "percent", "none"}
    if panel.get("fieldConfig", {}).get("defaults", {}).get("unit") in ratios:
        assert not panel["description"].startswith(("HTTP requests served", "Model calls, by", "Requests answered, by"))


@each_panel
def test_a_table_begins_with_what_matters(panel: Document) -> None:
    if panel["type"] == "table":
        (order,) = [each["options"]["sort"] for each in panel["transformations"] if each["id"] == "sortBy"]
        assert [each["desc"] for each in order] == [True]
        assert order[0]["field"] in columns(panel, "unit")


@each_panel
def test_bars_are_scaled_by_their_own_column(panel: Document) -> None:
    bars = (
        [name for name, each in overrides(panel, "custom.cellOptions") if each["type"] == "gauge"]
        if (panel["type"] == "table")
        else []
    )
    for name in bars:
        assert columns(panel, "fieldMinMax")[name] is True


@each_panel
def test_counts_are_whole_numbers(panel: Document) -> None:
    """An increase is estimated: 1.33 exceptions. And 2.10 K leaves open how many it is."""
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    if panel["type"] in ("stat", "gauge", "bargauge", "piechart", "barchart"):
        assert defaults["unit"] != "short"
        assert defaults["unit"] != "locale" or defaults["decimals"] == 0
    if panel["type"] == "table":
        units, digits = columns(panel, "unit"), columns(panel, "decimals")
        assert "short" not in units.values()
        assert [digits[name] for name, unit in units.items() if unit == "locale"] == [0] * list(units.values()).count(
            "locale"
        )
    if panel["type"] == "timeseries" and defaults["custom"].get("drawStyle") == "bars" and defaults["unit"] == "short":
        assert defaults["decimals"] == 0


@pytest.mark.parametrize("board", reading.boards(), ids=reading.uids())
def test_nothing_is_shown_twice_on_a_board(board: Document) -> None:
    asked = [
        (str(sorted(query.items())), panel["title"])
        for panel in reading.panels(board)
        for target in panel.get("targets", [])
        for query in [{key: value for key, value in target.items() if key not in ("refId", "legendFormat")}]
        if panel["type"] in ("stat", "gauge", "bargauge")
    ]

    assert len({query for query, _ in asked}) == len(asked), asked


def test_healthy_providers_are_shown_of_how_many() -> None:
    (panel,) = [p for p in reading.panels(reading.board("gw-overview")) if p["title"] == "Providers"]

    assert [query["target"] for query in panel["targets"]] == [
        "providers.healthy_providers",
        "providers.total_providers",
    ]
    assert panel["options"]["textMode"] == "value_and_name"
    assert [step["color"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]] == ["text"]


def test_every_provider_has_its_status_page_or_none() -> None:
    (panel,) = [p for p in reading.panels(reading.board("gw-providers")) if p["title"] == "Provider status pages"]
    text = panel["options"]["content"].lower().replace(" ", "-")

    assert [name for name in sorted({model.provider for model in topology.MODELS}) if name not in text] == []


# What numbers beside one another, or none on the first day, leave people to wonder about.
EXPLAINED = {
    ("gw-performance", "Model call, mean"): "Most requests call no model",
    ("gw-business", "Credits a day"): "midnight UTC",
    ("gw-business", "Credits in 30 days"): "Since the data begins",
}


@pytest.mark.parametrize(("uid", "title"), EXPLAINED)
def test_what_surprises_is_explained(uid: str, title: str) -> None:
    (panel,) = [each for each in reading.panels(reading.board(uid)) if each["title"] == title]

    assert EXPLAINED[uid, title] in panel["description"]


@each_panel
def test_nothing_is_extrapolated_to_a_month(panel: Document) -> None:
    for query in panel.get("targets", []):
        assert not re.search(r"/ 7 \* 30|\* 30\b", query.get("expr", "")), query["expr"]
