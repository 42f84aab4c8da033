"""The answers as Grafana's own package reads them: types, labels, units, names, NaN."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.json_datasource.asking import panel, panels
from tests.json_datasource.recorded_data import INSTANCE_COUNT
from tests.support import grafana_data

SCRIPT = Path(__file__).parent / "frames.cjs"
MINUTES = 60 + 1  # a point at each end of the hour

Frame = dict[str, Any]


@pytest.fixture(scope="session")
def read(client: TestClient) -> dict[str, list[Frame]]:
    """Answers of every shape, read by Grafana's package."""
    found: dict[str, list[Frame]] = grafana_data.run(SCRIPT, _answers(client))
    return found


def _answers(client: TestClient) -> dict[str, list[Frame]]:
    mean = {"function": "mean", "legend": "job {{job}}"}
    return {
        "series": panel(client, "request_seconds", mean),
        "rates": panel(client, "http_requests_total", {"function": "rate"}),
        "frames": panel(client, "request_seconds", mean | {"format": "frame"}),
        "special": panel(client, 'up{instance="a.b:1"} / 0 or 1 / up{job="web"} or -1 / up{instance="c.d:2"}'),
        "infinite": panel(client, '-1 / up{instance="c.d:2"}', {"legend": "minus"}),
        "gaps": panel(client, "gappy"),
        "gaps as frame": panel(client, "gappy", {"format": "frame"}),
        "table": panel(client, "http_requests_total", {"format": "table", "function": "rate"}),
        "empty table": panel(client, "nothing", {"format": "table"}),
        "table of NaN": panel(client, 'up{job="web"} / 0', {"format": "table"}),
        "joined": panels(
            client,
            [
                {"refId": "A", "target": "sum by (job) (up)", "payload": {"format": "table", "join": "true"}},
                {"refId": "B", "target": "count by (job) (up)", "payload": {"format": "table", "join": "true"}},
            ],
        ),
        "heatmap": panel(client, "request_seconds", {"format": "heatmap"}),
        "nothing": panel(client, "nothing"),
        "partial": panels(client, [{"refId": "A", "target": "up"}, {"refId": "B", "target": "up{"}]),
        "annotation": panel(client, "ALERTS", {"text": "{{severity}}"}, scopedVars={"__annotation": {}}),
    }


def value(frame: Frame) -> Frame:
    """The second field, which is what is measured."""
    found: Frame = frame["fields"][1]
    return found


@pytest.mark.parametrize("shape", ["series", "frames"])
def test_series_have_types_labels_units_and_names(read: dict[str, list[Frame]], shape: str) -> None:
    [frame] = read[shape]
    time, number = frame["fields"]

    assert (time["type"], number["type"]) == ("time", "number")
    assert number["labels"] == {"job": "api"}
    assert number["shown"] == "job api"
    assert number["config"]["unit"] == "s"
    assert number["unit"] == " mins"  # 1234.5678 as Grafana writes it in this unit
    assert frame["refId"] == "A"
    assert time["values"] == sorted(time["values"])
    assert len(time["values"]) == MINUTES
    assert frame["meta"]["executedQueryString"].endswith("Step: 1m")


def test_rates_are_per_second(read: dict[str, list[Frame]]) -> None:
    assert {value(frame)["config"]["unit"] for frame in read["rates"]} == {"reqps"}
    assert {value(frame)["unit"] for frame in read["rates"]} == {"K req/s"}


def test_numbers_that_json_lacks_arrive(read: dict[str, list[Frame]]) -> None:
    assert {text for frame in read["special"] for text in value(frame)["values"]} == {"NaN", "Infinity"}
    assert set(value(read["infinite"][0])["values"]) == {"-Infinity"}
    assert value(read["infinite"][0])["shown"] == "minus"


def test_gaps_are_nulls_or_told_by_the_interval(read: dict[str, list[Frame]]) -> None:
    [series], [frame] = read["gaps"], read["gaps as frame"]

    # Missing from 10:10 to 10:30, and Prometheus looks back five minutes.
    missing = 20 - 5
    assert value(series)["values"].count(None) == missing
    assert len(value(series)["values"]) == MINUTES
    assert frame["fields"][0]["config"]["interval"] == 60_000
    assert len(value(frame)["values"]) == MINUTES - missing


def test_tables_have_typed_label_columns(read: dict[str, list[Frame]]) -> None:
    [frame] = read["table"]

    assert [(field["name"], field["type"]) for field in frame["fields"]] == [
        ("Time", "time"),
        ("job", "string"),
        ("status", "string"),
        ("Value", "number"),
    ]
    assert frame["fields"][2]["values"] == ["200", "500", "503", "200"]  # text, though it looks like numbers
    assert frame["fields"][3]["config"]["unit"] == "reqps"
    assert frame["fields"][3]["values"] == pytest.approx([18.0, 1.5, 0.75, 14.0])


def test_an_empty_table_keeps_its_head(read: dict[str, list[Frame]]) -> None:
    [frame] = read["empty table"]

    assert [field["name"] for field in frame["fields"]] == ["Time", "Value"]
    assert frame["length"] == 0


def test_a_table_can_hold_nan(read: dict[str, list[Frame]]) -> None:
    [frame] = read["table of NaN"]

    assert frame["fields"][-1]["values"] == ["NaN", "NaN"]
    assert [field["name"] for field in frame["fields"]] == ["Time", "instance", "job", "Value"]


def test_tables_join_on_their_labels(read: dict[str, list[Frame]]) -> None:
    [frame] = read["joined"]

    assert [field["shown"] for field in frame["fields"]] == ["Time", "job", "Value #A", "Value #B"]
    assert [field["values"] for field in frame["fields"][1:]] == [["api", "web"], [3, 0], [3, 2]]


def test_a_heatmap_has_a_row_per_bucket(read: dict[str, list[Frame]]) -> None:
    [frame] = read["heatmap"]

    assert frame["meta"]["type"] == "heatmap-rows"
    assert [field["name"] for field in frame["fields"]] == ["Time", "0.1", "1.0", "+Inf"]
    # Three replicas with weights 1, 2, 3; per scrape 3, then 5 more, then 1 more, and 5 scrapes in a window of 75 s.
    assert [field["values"][30] for field in frame["fields"][1:]] == pytest.approx([90, 150, 30])


def test_a_target_without_data_is_an_empty_frame(read: dict[str, list[Frame]]) -> None:
    [frame] = read["nothing"]

    assert (frame["refId"], frame["fields"]) == ("A", [])


def test_a_failed_target_leaves_the_others(read: dict[str, list[Frame]]) -> None:
    *good, failed = read["partial"]

    assert {frame["refId"] for frame in good} == {"A"}
    assert len(good) == INSTANCE_COUNT
    assert failed["refId"] == "B"
    assert failed["meta"]["notices"][0]["severity"] == "error"


def test_annotations_have_the_fields_that_grafana_looks_for(read: dict[str, list[Frame]]) -> None:
    [frame] = read["annotation"]
    fields = {field["shown"]: field for field in frame["fields"]}

    assert fields.keys() == {"time", "timeEnd", "title", "text", "tags"}
    assert [fields[name]["type"] for name in ("time", "timeEnd", "title", "text")] == [
        "time",
        "time",
        "string",
        "string",
    ]
    assert fields["title"]["values"] == ["HighErrorRate"]
    assert fields["text"]["values"] == ["page"]
