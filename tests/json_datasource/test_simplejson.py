"""Clients of the first plugin's protocol: the names of an older proxy, annotations by tag, empty answers."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics.catalogue import load, parse_catalogue
from gatewayz_metrics.errors import ConfigurationError

from tests.json_datasource import recorded_data
from tests.json_datasource.asking import Element, answer, assert_error, executed, notices, panel, panels, question
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.samples import END, START

HOUR = {"range": {"from": str(START * 1000), "to": str(END * 1000)}}
EMPTY = {"refId", "target", "fields", "datapoints", "meta"}
TAGS = ["#deploy", "  #deploy ", "#deploy\n\n# release", "#"]


@pytest.fixture(scope="module")
def gateway(prometheus: Engine) -> Iterator[TestClient]:
    """The service with its own catalogue."""
    with serving(prometheus.url, selector='env="production"', cache_ttl=0) as found:
        yield found


def annotated(client: TestClient, query: str) -> list[Element]:
    body = {"annotation": {"name": "Deploys", "query": query}} | {"range": question([])["range"]}
    found: list[Element] = answer(client.post("/annotations", json=body))
    return found


# --------------------------------------------------------------------------- names of the older proxy


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("total_requests", "http.total_requests"),
        ("error_rate", "http.error_rate"),
        ("total_cost", "business.total_credits_used"),
    ],
)
def test_an_old_name_is_answered_under_its_own_name(gateway: TestClient, alias: str, name: str) -> None:
    [old] = panel(gateway, alias, **HOUR)
    [new] = panel(gateway, name, **HOUR)

    assert old["datapoints"] == new["datapoints"]
    assert old["datapoints"]
    assert (old["target"], new["target"]) == (alias, name)
    assert old["unit"] == new["unit"]
    assert executed(old) == executed(new)


def test_old_names_may_be_several_and_in_a_table(gateway: TestClient) -> None:
    both = panel(gateway, "(total_requests|http.error_rate)", **HOUR)
    [table] = panels(gateway, [{"refId": "A", "target": "error_rate", "type": "table"}], **HOUR)

    assert len(both) == 2
    assert len(table["rows"]) == 1


def test_an_old_name_without_a_statistic_says_what_to_use(gateway: TestClient) -> None:
    response = gateway.post("/query", json=question([{"refId": "A", "target": "avg_health_score"}], **HOUR))

    assert_error(response, 400, "invalid_query", "'avg_health_score'; use `gatewayz_provider_health_score`.")


@pytest.mark.parametrize(
    "target", ["http.eror_rate", "http\\.eror_rate", "htp.error_rate", "(error_rate|http.eror_rate)"]
)
@pytest.mark.parametrize("settings", [{}, {"allow_promql": False}])
def test_a_misspelt_statistic_is_told_its_name(prometheus: Engine, target: str, settings: dict[str, bool]) -> None:
    with serving(prometheus.url, **settings) as client:
        response = client.post("/query", json=question([{"refId": "A", "target": target}], **HOUR))

    message = assert_error(response, 400, "invalid_query", "There is no statistic '", "did you mean `http.error_rate`")
    assert "PromQL" not in message
    assert "parse" not in message


def test_promql_is_no_misspelling(gateway: TestClient) -> None:
    for target in ("sum(fastapi_requests_total)", "fastapi_requests_totals", "1.5", 'sum by (path, env) ({job="x.y"})'):
        assert answer(gateway.post("/query", json=question([{"refId": "A", "target": target}], **HOUR)))


def test_an_unknown_word_with_a_dot_stays_the_engines(gateway: TestClient) -> None:
    response = gateway.post("/query", json=question([{"refId": "A", "target": "node.load"}], **HOUR))

    assert_error(response, 400, "query_refused", "parse error")


def test_the_builder_knows_an_old_name(gateway: TestClient) -> None:
    entries = answer(gateway.post("/metrics", json={"metric": "error_rate"}))
    known = next(entry for entry in entries if entry["value"] == "http.error_rate")

    assert entries[-1] == {"value": "error_rate", "label": "error_rate", "payloads": known["payloads"]}


def test_another_catalogue_has_no_such_names(client: TestClient) -> None:
    [found] = panel(client, "total_requests")

    assert found["datapoints"] == []
    assert executed(found).startswith("Expr: total_requests\n")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('[aliases]\nold = "traffic.none"', "the alias 'old' stands for 'traffic.none', which is no statistic"),
        ('[aliases]\nold = "http_rps"', "the alias 'old' stands for 'http_rps', which is no statistic"),
        ('[replacements]\nold = "none"', "'old' is replaced by 'none', which is no statistic and no family"),
        ('[aliases]\nhttp_rps = "traffic.rate"', "'http_rps' is both an entry and another name"),
        (
            '[aliases]\nold = "traffic.rate"\n[replacements]\nold = "http_rps"',
            "'old' is both an alias and a replaced name",
        ),
        ("aliases = 5", "aliases: "),
    ],
)
def test_a_wrong_alias_stops_the_start(table: str, words: str) -> None:
    text = recorded_data.CATALOGUE
    text = f"{table}\n{text}" if table.startswith("aliases") else f"{text}\n{table}\n"

    with pytest.raises(ConfigurationError, match="refused") as caught:
        parse_catalogue(text, "the test's catalogue")

    assert words in caught.value.sentence


def test_the_builtin_names_are_no_entries() -> None:
    catalogue = load()

    assert set(catalogue.aliases) == {"total_requests", "error_rate", "total_cost"}
    assert set(catalogue.replacements) == {"avg_health_score"}


# --------------------------------------------------------------------------- annotations by tag


@pytest.mark.parametrize("tag", TAGS)
def test_an_annotation_by_tag_has_no_events(client: TestClient, tag: str) -> None:
    assert annotated(client, tag) == []
    assert panel(client, tag, scopedVars={"__annotation": {"text": "Deploys"}}) == []


def test_a_comment_before_an_expression_is_no_tag(client: TestClient) -> None:
    assert annotated(client, "# where the waves are\nwaves")


def test_an_annotation_comes_back_in_every_event(client: TestClient) -> None:
    assert {event["annotation"]["name"] for event in annotated(client, "waves")} == {"Deploys"}


def test_a_comment_in_a_panel_is_still_refused(client: TestClient) -> None:
    assert_error(client.post("/query", json=question([{"refId": "A", "target": "#deploy"}])), 400, "query_refused")


# --------------------------------------------------------------------------- empty answers


@pytest.mark.parametrize("target", ["nothing", "traffic.rate", "http_rps"])
def test_an_empty_series_has_the_shape_of_both_plugins(client: TestClient, target: str) -> None:
    early = {"range": {"from": "2024-05-01T10:00:00.000Z", "to": "2024-05-01T11:00:00.000Z"}}

    [found] = panel(client, target, **early)

    assert set(found) == EMPTY
    assert (found["target"], found["datapoints"], found["fields"]) == (target, [], [])


def test_a_failed_target_beside_a_good_one_has_it_too(client: TestClient) -> None:
    good, bad = panels(client, [{"refId": "A", "target": "waves"}, {"refId": "B", "target": "waves["}])

    assert good["datapoints"]
    assert set(bad) == EMPTY
    assert (bad["target"], bad["datapoints"]) == ("waves[", [])
    assert "target B" in notices(bad)[0]
