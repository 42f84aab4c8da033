"""What a number shows where there is nothing, null, not a number, or something: by Grafana's own code."""

from pathlib import Path
from typing import Any

import pytest

from dashboards.service_panels import NOT_DEGRADED
from tests.dashboards import reading
from tests.dashboards.reading import Document
from tests.dashboards.test_lint_boards import PANEL_IDS, PANELS
from tests.dashboards.test_lint_honesty import DEAD, SHOWN_AS_A_VALUE
from tests.support import grafana_data

SCRIPT = Path(__file__).with_name("shown.cjs")
NUMBERS = [
    (name, panel) for name, (*_, panel) in zip(PANEL_IDS, PANELS, strict=True) if panel["type"] in SHOWN_AS_A_VALUE
]
# The answers without a value: no frame at all, one without fields as Prometheus has it, and what JSON cannot hold.
NOTHING: dict[str, list[Document]] = {
    "no answer": [],
    "no series": [{"fields": []}],
    "null": [{"fields": [{"name": "a", "type": "number", "values": [None]}]}],
}

Shown = list[dict[str, str]]


def shown(panels: list[tuple[Document, list[Document]]]) -> tuple[dict[str, str], list[Shown]]:
    """The colours by their names, and texts and colours of each panel with its answer."""
    given = [
        {"fieldConfig": p["fieldConfig"], "reduceOptions": p["options"]["reduceOptions"], "frames": frames}
        for p, frames in panels
    ]
    found: dict[str, Any] = grafana_data.run(SCRIPT, given)
    return found["colours"], found["shown"]


@pytest.mark.parametrize("frames", NOTHING.values(), ids=NOTHING)
def test_without_a_value_a_number_says_why_and_looks_neither_well_nor_ill(frames: list[Document]) -> None:
    colours, found = shown([(panel, frames) for _, panel in NUMBERS])
    wrong = {
        name: each
        for (name, panel), (each, *_) in zip(NUMBERS, found, strict=True)
        if each["text"] != panel["fieldConfig"]["defaults"]["noValue"]
        or each["color"] != colours["red" if panel["title"] in DEAD else "text"]
    }

    assert wrong == {}


def panel(uid: str, title: str) -> Document:
    return next(each for each in reading.panels(reading.board(uid)) if each["title"] == title)


def text(value: str) -> list[Document]:
    return [{"fields": [{"name": "error", "type": "string", "values": [value]}]}]


def number(value: float) -> list[Document]:
    return [{"fields": [{"name": "a", "type": "number", "values": [value]}]}]


SEEN = [
    ("gw-service", "Why degraded", text(NOT_DEGRADED), NOT_DEGRADED, "text"),
    ("gw-service", "Why degraded", text("The upstream cannot be reached."), "The upstream cannot be reached.", "red"),
    ("gw-service", "Metrics service", text("ok"), "ok", "green"),
    ("gw-service", "Metrics service", text("degraded"), "degraded", "red"),
    ("gw-overview", "Scrapes", number(-3), "complete", "text"),
    ("gw-overview", "Scrapes", number(-2), "missing", "orange"),
    ("gw-overview", "Scrapes", number(-1), "missing", "orange"),
    ("gw-overview", "Scrapes", number(0), "none", "red"),
    ("gw-overview", "Error rate", number(0), "0.00%", "green"),
    ("gw-overview", "Error rate", number(12), "12.00%", "red"),
    ("gw-overview", "Availability", number(0.9), "90.00%", "red"),
    ("gw-overview", "Availability", number(0.999), "99.90%", "green"),
    ("gw-providers", "Degraded", number(0), "0", "green"),
    ("gw-providers", "Degraded", number(1), "1", "orange"),
    ("gw-providers", "Down", number(1), "1", "red"),
    ("gw-business", "Total tokens used", number(2149), "2,149", "text"),
    ("gw-business", "Total credits used", number(172.129), "$172.13", "text"),
]


def test_values_have_the_text_and_the_colour_that_is_meant() -> None:
    colours, found = shown([(panel(uid, title), frames) for uid, title, frames, *_ in SEEN])
    names = {colour: name for name, colour in colours.items()}

    seen = [(each["text"], names[each["color"]]) for (each,) in found]
    assert seen == [(words, colour) for *_, words, colour in SEEN]
