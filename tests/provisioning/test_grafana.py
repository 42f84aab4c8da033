"""Grafana takes what it is given: one mistake in these files keeps it from starting."""

import re
from itertools import pairwise
from typing import Any

import pytest
import yaml

from dashboards import generate, queries
from tests.dashboards import reading
from tests.dashboards.catalogues import made

GRAFANA = generate.ROOT / "grafana"
UID = re.compile(r"[a-zA-Z0-9_-]{1,40}")
DURATION = re.compile(r"\d+[smh]")
KEYS = {"name", "uid", "type", "access", "url", "isDefault", "editable", "jsonData", "secureJsonData"}


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((GRAFANA / name).read_text("utf-8"))
    # Without it the oldest reader is used, which ignores uids.
    assert found["apiVersion"] == 1
    return found


DATASOURCES = read("datasources/gatewayz.yml")["datasources"]
RULES = read("alerting/gatewayz.yml")["groups"][0]["rules"]
each_datasource = pytest.mark.parametrize("datasource", DATASOURCES, ids=lambda each: each["name"])
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda each: each["uid"])


def test_the_datasources_are_those_that_dashboards_name() -> None:
    found = {each["uid"]: each["type"] for each in DATASOURCES}

    assert found == {
        queries.PROMETHEUS_UID: "prometheus",
        queries.JSON_UID: queries.JSON_PLUGIN,
        queries.SUMMARY_UID: queries.INFINITY_PLUGIN,
    }
    (default,) = [each for each in DATASOURCES if each.get("isDefault")]
    assert (default["name"], default["uid"]) == (queries.PROMETHEUS_NAME, queries.PROMETHEUS_UID)


@each_datasource
def test_a_datasource_has_only_keys_that_grafana_reads(datasource: dict[str, Any]) -> None:
    # Unknown ones are ignored without a word.
    assert datasource.keys() <= KEYS
    assert UID.fullmatch(datasource["uid"])
    assert datasource["access"] == "proxy"
    assert datasource["editable"] is False


@each_datasource
def test_a_datasource_takes_address_and_token_from_the_environment(datasource: dict[str, Any]) -> None:
    assert datasource["url"] == "$GATEWAYZ_METRICS_URL"
    assert len(datasource["secureJsonData"]) == 1
    for secret in datasource["secureJsonData"].values():
        # Not ${...}: that form is expanded twice, which spoils a token with a dollar sign.
        assert re.fullmatch(r"(Bearer )?\$GATEWAYZ_METRICS_TOKEN", secret)


@each_datasource
def test_header_numbers_have_no_gap(datasource: dict[str, Any]) -> None:
    names = [key for key in datasource["jsonData"] if key.startswith("httpHeaderName")]
    values = [key for key in datasource["secureJsonData"] if key.startswith("httpHeaderValue")]

    assert names == [f"httpHeaderName{index + 1}" for index in range(len(names))]
    assert values == [name.replace("Name", "Value") for name in names]


def test_the_dashboards_are_where_the_provider_looks() -> None:
    (provider,) = read("dashboards/gatewayz.yml")["providers"]
    container, inside = provider["options"]["path"].split("/provisioning/")

    assert container == "/etc/grafana"
    assert sorted(path.stem for path in (GRAFANA / inside).glob("*.json")) == sorted(reading.uids())
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    assert UID.fullmatch(provider["folderUid"])


def test_the_alert_group_is_whole() -> None:
    (group,) = read("alerting/gatewayz.yml")["groups"]

    assert group["orgId"] == 1
    assert group["name"]
    assert group["folder"] == read("dashboards/gatewayz.yml")["providers"][0]["folder"]
    # A bare number stops the start.
    assert DURATION.fullmatch(group["interval"])
    assert len({rule["uid"] for rule in RULES}) == len({rule["title"] for rule in RULES}) == len(made().alerts)


@each_rule
def test_an_alert_has_what_grafana_demands(rule: dict[str, Any]) -> None:
    assert UID.fullmatch(rule["uid"])
    assert DURATION.fullmatch(rule["for"])
    assert rule["noDataState"] in ("NoData", "OK", "Alerting", "KeepLast")
    assert rule["execErrState"] in ("Error", "OK", "Alerting", "KeepLast")
    assert rule["condition"] in [step["refId"] for step in rule["data"]]
    assert [step["datasourceUid"] for step in rule["data"]] == [queries.PROMETHEUS_UID, "__expr__"]
    assert rule["data"][1]["model"]["expression"] == rule["data"][0]["refId"]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert len(rule["annotations"]["runbook"]) > 80


@each_rule
def test_an_alert_is_linked_to_its_panel(rule: dict[str, Any]) -> None:
    panels = {panel["id"]: panel for panel in reading.panels(reading.board(rule["dashboardUid"]))}

    assert panels[rule["panelId"]]["type"] in ("timeseries", "state-timeline")
    assert rule["annotations"]["runbook"] in panels[rule["panelId"]]["description"]


@each_rule
def test_a_runbook_names_panels_that_exist(rule: dict[str, Any]) -> None:
    titles = {panel["title"] for board in reading.boards() for panel in reading.panels(board)} | {
        board["title"].partition(" / ")[2] for board in reading.boards()
    }
    named = [title for title in titles if title in rule["annotations"]["runbook"]]

    assert named or rule["uid"] in ("gw-upstream-down", "gw-no-data"), "those two are about empty dashboards"


@each_rule
def test_view_panel_appears(rule: dict[str, Any]) -> None:
    # The fields of the rule alone fill none of these, and Grafana shows the way to the panel by them.
    assert rule["annotations"]["__dashboardUid__"] == rule["dashboardUid"]
    assert rule["annotations"]["__panelId__"] == str(rule["panelId"])


@each_rule
def test_a_failing_query_resets_no_alert(rule: dict[str, Any]) -> None:
    # That about the upstream asks through the service: its own failure is what it is about.
    assert rule["execErrState"] == ("Alerting" if rule["uid"] == "gw-upstream-down" else "KeepLast")


def test_no_data_is_no_alarm_and_the_file_says_why() -> None:
    """What nothing scrapes is not monitored; a provider that nothing tells of has not recovered."""
    states = {rule["uid"]: rule["noDataState"] for rule in RULES}
    lines = (GRAFANA / "alerting/gatewayz.yml").read_text("utf-8").splitlines()
    above = [before for before, line in pairwise(lines) if line.strip().startswith("noDataState:")]

    assert {uid for uid, state in states.items() if state != "OK"} == {"gw-provider-down"}
    assert states["gw-provider-down"] == "KeepLast"
    assert len(above) == len(RULES)
    assert all(re.match(r" +# [A-Z].{20,}\.$", line) for line in above), above


def test_both_evaluate_as_often() -> None:
    (group,) = read("alerting/gatewayz.yml")["groups"]
    rules = yaml.safe_load((generate.ROOT / generate.RULES).read_text("utf-8"))["groups"]

    assert {group["interval"]} == {each["interval"] for each in rules}


def test_every_folder_that_grafana_looks_into_is_there() -> None:
    # It logs an error for each that is missing.
    assert {path.name for path in GRAFANA.iterdir()} == {"alerting", "dashboards", "datasources", "plugins"}
