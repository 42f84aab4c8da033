"""Every recorded request of the plugins, answered as they need it."""

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.json_datasource import recorded_data
from tests.json_datasource.asking import answer, assert_error, executed, notices, replay
from tests.json_datasource.recorded_data import INSTANCE_COUNT
from tests.support.engine import Engine

FIRST, SECOND, THIRD = recorded_data.INSTANCES["api"]
MINUTE_BEFORE = 1746093600000  # ten o'clock, in milliseconds


def instances(elements: list[dict[str, Any]]) -> list[str]:
    return [element["tags"]["instance"] for element in elements]


def step_of(element: dict[str, Any]) -> int:
    found = re.search(r"Step: (\d+)(ms|s|m|h|d)$", executed(element))
    assert found, executed(element)
    return int(found[1]) * {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[found[2]]


def test_01_health_is_200_and_json(client: TestClient) -> None:
    response = client.get("/", follow_redirects=False)

    assert answer(response) == {"status": "ok"}


def test_02_the_code_editor_gets_every_name(client: TestClient) -> None:
    found = answer(replay(client, "02"))

    assert {"traffic.rate", "http_rps", "request_seconds"} <= {entry["value"] for entry in found}
    assert all(knob["name"] for entry in found for knob in entry["payloads"])


def test_03_the_builder_gets_its_own_metric_back(client: TestClient) -> None:
    found = answer(replay(client, "03", metric="rate(up[5m])"))

    assert found[-1]["value"] == "rate(up[5m])"
    assert {"format", "legend", "instant"} <= {knob["name"] for knob in found[-1]["payloads"]}


def test_03_a_known_metric_is_not_doubled(client: TestClient) -> None:
    names = [entry["value"] for entry in answer(replay(client, "03"))]

    assert names.count("http_rps") == 1


def test_04_options_are_live_and_narrowed_by_the_others(client: TestClient) -> None:
    api = answer(replay(client, "04"))
    web = answer(replay(client, "04", payload={"job": ["web"], "topk": "5"}))

    assert api == [{"label": name, "value": name} for name in (FIRST, SECOND, THIRD)]
    assert [option["value"] for option in web] == ["a.b:1", "c.d:2"]


def test_05_filters_are_in_every_selector_and_escapes_repaired(client: TestClient) -> None:
    request = recorded_data.recorded("05")["body"]
    [wide, empty] = request["targets"]
    wide = wide | {"target": wide["target"].replace("[5s]", "[5m]") + " / up"}

    found = answer(replay(client, "05", targets=[wide, empty], filters=request["filters"][::2]))
    alone = answer(replay(client, "05"))

    assert {element["refId"] for element in found} == {"A"}
    assert executed(found[0]).count('job="api",instance=~"10\\\\.0\\\\.0\\\\.1:9090|10\\\\.0\\\\.0\\\\.2:9090"') == 2
    assert 'instance=~"(10\\\\.0\\\\.0\\\\.1:9090|10\\\\.0\\\\.0\\\\.2:9090)"' in executed(found[0])
    # As recorded: Grafana made `[$__interval]` a window that holds no two scrapes, and the panel says so.
    assert [element["refId"] for element in alone] == ["A"]
    assert executed(alone[0]).count('status=~"5.."') == 1
    assert "$__rate_interval" in notices(alone[0])[0]


def test_05_the_legend_of_the_payload_names_the_series(client: TestClient) -> None:
    [target, _] = recorded_data.recorded("05")["body"]["targets"]
    target = target | {"target": target["target"].replace("[5s]", "[5m]")}

    found = answer(replay(client, "05", targets=[target]))

    assert {element["title"] for element in found} == {FIRST, SECOND}
    # Three statuses would be there; the filter leaves the 5xx.
    assert {element["tags"]["status"] for element in found} == {"500", "503"}


def test_06_builder_strings_are_understood(client: TestClient) -> None:
    found = answer(replay(client, "06"))

    assert instances(found) == [FIRST, SECOND]
    assert [len(element["datapoints"]) for element in found] == [1, 1]  # instant: "true"
    assert found[0]["datapoints"][0][1] == 1746097205000
    assert 'job="api"' in executed(found[0])


def test_07_any_payload_is_tolerated(client: TestClient) -> None:
    found = answer(replay(client, "07"))

    assert list(dict.fromkeys(element["refId"] for element in found)) == list("ABCDEFGHIJ")
    assert all(element["datapoints"] for element in found)


def test_08_all_selected(client: TestClient) -> None:
    assert instances(answer(replay(client, "08"))) == ["a.b:1", "c.d:2"]


def test_09_a_custom_all_value(client: TestClient) -> None:
    assert len(answer(replay(client, "09"))) == INSTANCE_COUNT


def test_10_every_macro_and_every_stray_variable(client: TestClient) -> None:
    targets = recorded_data.recorded("10")["body"]["targets"]
    found = {element["refId"]: element for element in answer(replay(client, "10", filters=[]))}

    assert {element: found[element]["datapoints"][0][0] for element in ("M3", "M5", "M6", "M7", "M13")} == {
        "M3": 60_000,  # at the clamped step of 15 s: max(15 + 15, 4 * 15) seconds
        "M5": 3600,
        "M6": 3_600_000,
        "M7": 1746093605000,
        "M13": 1,
    }
    # A duration alone is no expression, but the inspector shows what the macro stands for.
    assert executed(found["M2"]).startswith("Expr: 1m\n")
    assert executed(found["M4"]).startswith("Expr: 3600s\n")
    for ref_id in ("M14", "M15", "M16", "M17", "M18", "M30", "M31", "M32"):
        written = next(target["target"] for target in targets if target["refId"] == ref_id)
        assert written in notices(found[ref_id])[0]
    assert found.keys() == {target["refId"] for target in targets} - {"M12"}  # the empty one


@pytest.mark.parametrize("spelling", ["$__range_s", "${__range_s}", "[[__range_s]]"])
def test_10_macros_in_all_three_spellings(client: TestClient, spelling: str) -> None:
    target = {"refId": "A", "target": f"vector({spelling})"}

    [found] = answer(replay(client, "10", targets=[target], filters=[]))

    assert found["datapoints"][0][0] == 3600


def test_11_a_range_vector_is_refused_readably(client: TestClient) -> None:
    assert_error(replay(client, "11"), 400, "query_refused", "target A: ", "range vector")


def test_11_no_step_is_finer_than_the_scrapes(client: TestClient) -> None:
    found = answer(replay(client, "11", targets=[{"refId": "A", "target": "up"}]))

    times = [time for _, time in found[0]["datapoints"]]
    assert step_of(found[0]) == 15_000
    assert {time % 15_000 for time in times} == {0}
    assert len(times) == 5 * 60 // 15 + 1  # of five minutes, both ends


def test_12_a_long_range_is_within_what_engines_answer(client: TestClient) -> None:
    [found] = answer(replay(client, "12", targets=[{"refId": "A", "target": "vector(1)"}]))

    times = [time for _, time in found["datapoints"]]
    assert len(times) <= 11_000
    assert {time % step_of(found) for time in times} == {0}
    assert [element["refId"] for element in answer(replay(client, "12"))] == ["A"]


def test_13_raw_times_are_ignored(client: TestClient) -> None:
    found = answer(replay(client, "13"))
    body = recorded_data.recorded("13")["body"]

    assert len(found) == INSTANCE_COUNT
    assert found[0]["datapoints"][0] == [1.0, MINUTE_BEFORE]
    assert answer(replay(client, "13", range=body["range"] | {"raw": {"from": "nonsense", "to": []}})) == found


def test_14_explore_reports_the_variable_it_could_not_replace(client: TestClient) -> None:
    found = answer(replay(client, "14"))

    assert "$job" in notices(found[0])[0]
    assert "target A" in notices(found[0])[0]
    assert instances(found[1:]) == [FIRST, SECOND, THIRD, "a.b:1", "c.d:2"]


def test_15_annotations_are_events_and_never_series(client: TestClient) -> None:
    [found] = answer(replay(client, "15"))

    fields = {field["name"]: field for field in found["schema"]["fields"]}
    assert fields["time"]["type"] == fields["timeEnd"]["type"] == "time"
    assert fields["title"]["type"] == fields["text"]["type"] == "string"
    assert not any("labels" in field for field in fields.values())
    [[time], [end], [title], [text], _] = found["data"]["values"]
    assert time == 1746095400000  # half past ten, when the build changed
    assert end == time + 5 * 60_000 - 15_000
    assert (title, text) == ("Deploys", "deploy")


@pytest.mark.parametrize("number", ["16", "17"])
def test_16_17_variables_have_texts_and_values_on_every_row(client: TestClient, number: str) -> None:
    found = answer(replay(client, number))

    assert found == [{"__text": name, "__value": name} for name in (FIRST, SECOND, THIRD)]


def test_18_a_variable_without_a_query_has_no_values(client: TestClient) -> None:
    assert answer(replay(client, "18")) == []


def test_19_keys_within_the_other_filters(client: TestClient) -> None:
    assert [key["text"] for key in answer(replay(client, "19"))] == ["instance", "job", "status"]


def test_20_values_within_the_other_filters(client: TestClient) -> None:
    assert [key["text"] for key in answer(replay(client, "20"))] == ["200", "500", "503"]


@pytest.mark.parametrize("number", ["21", "22"])
def test_21_22_keys_without_filters_or_any_body(client: TestClient, number: str) -> None:
    keys = {key["text"] for key in answer(replay(client, number))}

    assert {"instance", "job", "status", "alertname"} <= keys
    assert "__name__" not in keys


def test_20_values_outside_the_range_are_left_out(client: TestClient) -> None:
    early = {"from": "2024-05-01T10:00:00.000Z", "to": "2024-05-01T11:00:00.000Z"}

    assert answer(replay(client, "20", timeRange=early)) == []


def test_23_both_names_of_the_filters_apply_once(client: TestClient) -> None:
    found = answer(replay(client, "23"))

    assert instances(found) == [FIRST, SECOND, THIRD]
    assert executed(found[0]).splitlines()[0] == 'Expr: up{job="api"}'


def test_24_the_first_plugin_gets_texts_and_values(client: TestClient) -> None:
    found = answer(replay(client, "24"))

    assert {"text": "http_rps", "value": "http_rps"} in found
    assert all(pair.keys() == {"text", "value"} and pair["text"] for pair in found)


def test_24_search_serves_variables_too(client: TestClient) -> None:
    found = answer(replay(client, "24", target='label_values(up{job="api"}, instance)'))

    assert [pair["value"] for pair in found] == []  # without a range: the last hour, when nothing was scraped
    early = answer(replay(client, "24", target="rps"))
    assert [pair["value"] for pair in early] == ["http_rps"]


def test_25_series_and_a_table_in_one_answer(client: TestClient) -> None:
    found = answer(replay(client, "25"))
    series, [table] = found[:-1], found[-1:]

    assert {element["refId"] for element in series} == {"A"}
    assert instances(series) == [FIRST, SECOND, THIRD]  # adhocFilters: job="api"
    assert (table["refId"], table["type"]) == ("B", "table")
    assert [(column["text"], column["type"]) for column in table["columns"]] == [
        ("Time", "time"),
        ("instance", "string"),
        ("job", "string"),
        ("Value", "number"),
    ]
    assert [row[0] for row in table["rows"]] == [1746097200000] * 3
    assert [row[-1] for row in table["rows"]] == [1.0] * 3


def test_26_the_first_plugins_annotations_are_an_array_of_events(client: TestClient) -> None:
    [event] = answer(replay(client, "26"))

    assert event["annotation"] == recorded_data.recorded("26")["body"]["annotation"]
    assert (event["time"], event["timeEnd"]) == (1746095400000, 1746095685000)
    assert event["title"] == "Deploys"


@pytest.mark.parametrize("number", ["28", "29"])
def test_28_29_the_summary_keeps_every_key(client: TestClient, number: str) -> None:
    found = answer(replay(client, number))

    assert found["metrics"]["traffic"].keys() == {"rate", "error_rate"}


def test_every_filterless_text_reaches_the_engine_as_written(recorded_engine: Engine, client: TestClient) -> None:
    text = 'sum  by(job)( up{instance!="x"} )   # why not'
    found = answer(replay(client, "13", targets=[{"refId": "A", "target": text}]))

    assert executed(found[0]).startswith(f"Expr: {text}")
    assert len(found) == len(recorded_engine.vector(text, recorded_data.TEN))
