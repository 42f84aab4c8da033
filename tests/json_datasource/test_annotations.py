"""Events from any expression: where it is not zero, and for how long."""

import pytest
from fastapi.testclient import TestClient

from tests.json_datasource import recorded_data
from tests.json_datasource.asking import Element, answer, panel, question

MINUTE = 60_000
TEN = recorded_data.TEN * 1000
SCOPED = {"__annotation": {"text": "Waves", "value": {"name": "Waves"}}}


def events(client: TestClient, target: str, payload: object = None, **fields: object) -> list[Element]:
    [frame] = panel(client, target, payload, **({"scopedVars": SCOPED} | fields))
    names = [field["name"] for field in frame["schema"]["fields"]]
    return [dict(zip(names, row, strict=True)) for row in zip(*frame["data"]["values"], strict=True)]


def test_a_region_lasts_while_the_value_is_not_zero(client: TestClient) -> None:
    # Ten minutes each of -1, 0 and 1, over and over; ten o'clock is a multiple of half an hour.
    found = events(client, "waves")

    assert [(event["time"] - TEN, event["timeEnd"] - TEN) for event in found] == [
        (0, 9 * MINUTE),
        (20 * MINUTE, 39 * MINUTE),
        (50 * MINUTE, 60 * MINUTE),
    ]


def test_a_single_point_is_a_moment(client: TestClient) -> None:
    found = events(client, "waves == 1 and on () (minute() == 25)")

    assert [(event["time"] - TEN, event["timeEnd"]) for event in found] == [(25 * MINUTE, None)]


def test_a_gap_ends_a_region(client: TestClient) -> None:
    found = events(client, "gappy")

    assert [(event["time"] - TEN, event["timeEnd"] - TEN) for event in found] == [
        (0, 14 * MINUTE),
        (30 * MINUTE, 60 * MINUTE),
    ]


def test_nan_is_nothing_that_happened(client: TestClient) -> None:
    assert events(client, "0 / (waves * 0)") == []


def test_alerts_are_titled_by_their_name(client: TestClient) -> None:
    [found] = events(client, "ALERTS", {"text": "{{severity}} on {{job}}", "tags": "{{severity}}, gateway ,{{none}}"})

    assert (found["title"], found["text"]) == ("HighErrorRate", "page on api")
    assert found["tags"] == ["page", "gateway"]
    # Firing from 10:20 to 10:35, and Prometheus looks back five minutes.
    assert (found["time"] - TEN, found["timeEnd"] - TEN) == (20 * MINUTE, 39 * MINUTE)


@pytest.mark.parametrize(
    ("payload", "title", "tags"),
    [
        ({"title": "wave at {{job}}"}, "wave at api", []),
        ({"tags": ["{{job}}", "x"]}, "waves", ["api", "x"]),
        ('{"title": "stored as text"}', "stored as text", []),
        ({"title": None, "tags": 5}, "waves", []),
    ],
)
def test_templates(client: TestClient, payload: object, title: str, tags: list[str]) -> None:
    first = events(client, "waves", payload)[0]

    assert (first["title"], first["tags"]) == (title, tags)


def test_an_annotation_is_known_by_its_ref_id_too(client: TestClient) -> None:
    body = question([{"refId": "Anno", "target": "up"}])

    [frame] = answer(client.post("/query", json=body))

    assert [field["name"] for field in frame["schema"]["fields"]] == ["time", "timeEnd", "title", "text", "tags"]


def test_families_are_events_too(client: TestClient) -> None:
    assert {event["title"] for event in events(client, "http_rps")} == {"http_rps"}


def test_too_many_events_are_cut_and_told(client: TestClient) -> None:
    [frame] = panel(client, "wide", scopedVars=SCOPED, intervalMs=15_000)
    every = len(frame["data"]["values"][0])
    alternating = "(wide and on () (minute() % 2 == 0))"
    [cut] = panel(client, alternating, scopedVars=SCOPED)

    assert every == recorded_data.WIDE - 1  # the first one stays zero
    assert len(cut["data"]["values"][0]) == 1000
    assert "the first 1,000 are shown" in cut["schema"]["meta"]["notices"][0]["text"]
