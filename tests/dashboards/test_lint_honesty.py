"""Nothing absent looks healthy: what a panel shows where there is no value, over every panel."""

from collections.abc import Iterator

import pytest

from tests.dashboards import reading
from tests.dashboards.reading import Document
from tests.dashboards.test_lint_boards import PANEL_IDS, PANELS
from tests.support.client import serving
from tests.support.fake_upstream import closed_port

# The last is that of a state of which there is no news.
NEUTRAL = {"text", "#8e8e8e"}
SHOWN_AS_A_VALUE = ("stat", "gauge", "bargauge")
# Those about the service itself are red when it is dead.
DEAD = ("Metrics service", "Why degraded")

each_panel = pytest.mark.parametrize("panel", [panel for *_, panel in PANELS], ids=PANEL_IDS)


def overrides(panel: Document, name: str) -> Iterator[tuple[str, Document]]:
    """The values that overrides set for one property, by column."""
    for override in panel["fieldConfig"]["overrides"]:
        for each in override["properties"]:
            if each["id"] == name:
                yield override["matcher"]["options"], each["value"]


def missing(mappings: list[Document]) -> list[Document]:
    return [each["options"] for each in mappings if each["type"] == "special"]


@each_panel
def test_what_is_missing_has_no_colour_that_judges(panel: Document) -> None:
    """Null, NaN and no answer take the base step's colour; only the panel about the service itself is red then."""
    if panel["type"] == "text":
        return
    thresholds = [panel["fieldConfig"]["defaults"]["thresholds"], *(each for _, each in overrides(panel, "thresholds"))]
    for each in thresholds:
        base = each["steps"][0]
        assert base["value"] is None
        assert base["color"] == ("red" if panel["title"] in DEAD else "text")


@each_panel
def test_null_and_not_a_number_are_mapped_to_a_grey_text(panel: Document) -> None:
    if panel["type"] not in SHOWN_AS_A_VALUE or panel["title"] in DEAD:
        return
    (options,) = missing(panel["fieldConfig"]["defaults"]["mappings"])
    assert options["match"] == "null+nan"
    assert options["result"]["color"] in NEUTRAL
    # Grafana looks for null here first, and no answer at all is null to it.
    assert options["result"]["text"] == panel["fieldConfig"]["defaults"]["noValue"]


@each_panel
def test_cells_without_a_value_are_neutral_and_never_walls_of_colour(panel: Document) -> None:
    if panel["type"] != "table":
        return
    values = dict(overrides(panel, "unit"))
    mapped = dict(overrides(panel, "mappings"))
    assert values.keys() == mapped.keys() == dict(overrides(panel, "noValue")).keys()
    for each in mapped.values():
        (options,) = missing(each)  # type: ignore[arg-type]
        assert options["match"] == "null+nan"
        assert options["result"]["color"] in NEUTRAL
    assert not [each for _, each in overrides(panel, "custom.cellOptions") if each["type"] == "color-background"]


@each_panel
def test_a_panel_without_data_says_why(panel: Document) -> None:
    if panel["type"] == "text":
        return
    text = panel["fieldConfig"]["defaults"].get("noValue", "")
    assert len(text) > 5
    assert text not in ("N/A", "No data")
    if panel["type"] in ("stat", "gauge"):
        assert len(text) <= 7 * panel["gridPos"]["w"], "it would be too small to read"


# What these show where there is no answer at all is what the panel has for no value. A bar chart says "No data in
# response", and a state timeline that a time field is missing: that one is never without an answer (test_states.py).
SAY_WHY = {"stat", "gauge", "bargauge", "piechart", "timeseries", "heatmap", "table", "text"}


@each_panel
def test_a_panel_is_of_a_kind_that_can_say_why(panel: Document) -> None:
    if panel["type"] not in SAY_WHY:
        assert panel["type"] == "state-timeline"
        (query,) = panel["targets"]
        assert ") or on () label_replace(vector(-2)," in query["expr"]


@each_panel
def test_no_colour_judges_what_grows_with_the_range(panel: Document) -> None:
    """Twenty failed calls are many of an hour and few of a month."""
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    judges = {step["color"] for step in defaults.get("thresholds", {}).get("steps", [])} & {"orange", "red"}
    counts = [q["expr"] for q in panel.get("targets", []) if "[$__range]" in q.get("expr", "")]
    if panel["type"] in SHOWN_AS_A_VALUE and judges and counts:
        assert defaults["unit"] == "percentunit"


def test_the_service_board_says_that_nothing_scrapes_it() -> None:
    for panel in reading.panels(reading.board("gw-service")):
        if panel["datasource"]["type"] == "prometheus":
            # Or scraped, and nothing of the kind was counted within the window: a number says both, too.
            assert panel["fieldConfig"]["defaults"]["noValue"].startswith("Not scraped, or none yet"), panel["title"]


@each_panel
def test_a_state_ends_when_nothing_tells_of_it_any_more(panel: Document) -> None:
    """Grafana draws the last state on: green through a whole outage. A value of its own tells where nothing was."""
    if panel["type"] != "state-timeline":
        return
    (query,) = panel["targets"]
    assert " or 0 * last_over_time((" in query["expr"]
    texts = {
        key: each
        for m in panel["fieldConfig"]["defaults"]["mappings"]
        if m["type"] == "value"
        for key, each in m["options"].items()
    }
    assert texts["-1"]["color"] in NEUTRAL


@pytest.mark.parametrize("tokens", [(), ("the-token",)], ids=["open", "with tokens"])
def test_the_reason_of_an_outage_is_told_whoever_may_ask(tokens: tuple[str, ...]) -> None:
    targets = reading.targets(reading.board("gw-service"), "yesoreyeram-infinity-datasource")
    (query,) = (target.query for target in targets if target.panel["title"] == "Why degraded")
    (column,) = query["columns"]
    with serving(f"http://127.0.0.1:{closed_port()}", api_tokens=tokens) as client:
        answer = client.get(query["url"], headers={"Authorization": "Bearer the-token"}).json()

    assert "cannot be reached" in answer[column["selector"]]
