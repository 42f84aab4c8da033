"""The query editor: every entry's fields, and lists that are live and narrow one another."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics.catalogue import load

from tests.json_datasource.asking import Element, answer, panel
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.samples import END, HOSTILE, START

CATALOGUE = load()
TYPES = {"input", "select", "multi-select", "textarea"}


@pytest.fixture(scope="module")
def gateway(prometheus: Engine) -> Iterator[TestClient]:
    """The service with its own catalogue over the known hour of two deployments."""
    with serving(prometheus.url, selector='env=~"production|hostile"', cache_ttl=0) as found:
        yield found


@pytest.fixture(scope="module")
def entries(gateway: TestClient) -> dict[str, Element]:
    return {entry["value"]: entry for entry in answer(gateway.post("/metrics", json={}))}


def options(client: TestClient, metric: str, name: str, **payload: object) -> list[str]:
    body = {"metric": metric, "payload": payload, "name": name}
    return [option["value"] for option in answer(client.post("/metric-payload-options", json=body))]


def test_every_statistic_and_family_is_offered(entries: dict[str, Element]) -> None:
    assert entries.keys() == CATALOGUE.by_name.keys()


@pytest.mark.parametrize("name", CATALOGUE.by_name)
def test_every_field_is_one_that_the_builder_draws(entries: dict[str, Element], name: str) -> None:
    knobs = entries[name]["payloads"]

    assert CATALOGUE.by_name[name].help in entries[name]["label"]
    assert {knob["type"] for knob in knobs} <= TYPES
    assert len({knob["name"] for knob in knobs}) == len(knobs)
    for knob in knobs:
        assert knob["name"]
        assert all(option["value"] and option["label"] for option in knob.get("options", []))


FUNCTIONS = {
    "tokens_used_total": ["rate", "increase", "raw"],
    "fastapi_requests_duration_seconds": ["mean", "p50", "p90", "p95", "p99", "rate", "increase", "raw"],
    "database_query_duration_seconds": ["mean", "rate", "increase", "raw"],
    "provider_error_rate": None,
    "http.error_rate": None,
}


@pytest.mark.parametrize(("name", "functions"), FUNCTIONS.items())
def test_functions_are_those_that_the_type_allows(
    entries: dict[str, Element], name: str, functions: list[str] | None
) -> None:
    [*found] = [knob["options"] for knob in entries[name]["payloads"] if knob["name"] == "function"]

    assert [[option["value"] for option in each] for each in found] == ([functions] if functions else [])


@pytest.mark.parametrize("name", CATALOGUE.by_name)
def test_every_offered_option_is_one_that_panels_take(
    gateway: TestClient, entries: dict[str, Element], name: str
) -> None:
    span = {"from": (END - 600) * 1000, "to": END * 1000}
    for knob in entries[name]["payloads"]:
        for option in knob.get("options", []):
            assert panel(gateway, name, {knob["name"]: option["value"]}, range=span)


def test_labels_to_group_by_are_live(gateway: TestClient) -> None:
    found = options(gateway, "model_inference_requests_total", "by")

    assert found[0] == "()"
    assert {"model", "provider", "status", "instance", "job", "env"} <= set(found)
    assert not {"__name__", "le"} & set(found)
    assert "le" not in options(gateway, "model_inference_duration_seconds", "by")


def test_values_narrow_one_another(gateway: TestClient) -> None:
    every = options(gateway, "model_inference_requests_total", "model")
    of_one = options(gateway, "model_inference_requests_total", "model", provider=["openai"])
    itself = options(gateway, "model_inference_requests_total", "model", model=["gpt-4"], provider=["openai"])

    assert set(every) >= {"gpt-4", "anthropic/claude-opus-4.5", *filter(None, HOSTILE)}
    assert of_one == itself == ["gpt-4"]


def test_values_of_other_deployments_are_not_offered(prometheus: Engine) -> None:
    with serving(prometheus.url, selector='env="oneshot"') as client:
        assert options(client, "model_inference_requests_total", "status") == ["error", "success"]
        assert options(client, "model_inference_requests_total", "model") == ["gpt-4"]
        assert options(client, "cache_hits_total", "cache_name") == ["keys"]


def test_options_of_free_text_come_from_its_first_selector(gateway: TestClient) -> None:
    assert options(gateway, 'rate(tokens_used_total{env="production"}[5m])', "token_type") == ["input", "output"]


@pytest.mark.parametrize("text", [text for text in HOSTILE if text])
def test_a_chosen_value_of_any_text_selects_itself(gateway: TestClient, text: str) -> None:
    span = {"from": START * 1000, "to": END * 1000}
    payload = {"model": [text], "instant": "true"}
    filters = [{"key": "model", "operator": "=|", "values": [text], "value": text}]

    built = panel(gateway, "model_inference_requests_total", payload, range=span)
    filtered = panel(gateway, "model_inference_requests_total{}", {"instant": "true"}, range=span, filters=filters)

    for found in (built, filtered):
        assert [element["tags"]["model"] for element in found] == [text]


UNITS = {
    ("provider_error_rate", "raw"): "percentunit",
    ("cache_size_bytes", "raw"): "bytes",
    ("tokens_used_total", "raw"): "short",
    ("tokens_used_total", "rate"): "suffix: tokens/s",
    ("fastapi_requests_total", "rate"): "reqps",
    ("fastapi_requests_duration_seconds", "p95"): "s",
    ("fastapi_requests_duration_seconds", "rate"): "ops",
    ("database_query_duration_seconds", "mean"): "s",
}


@pytest.mark.parametrize(("name", "function"), UNITS)
def test_units_are_grafanas(gateway: TestClient, name: str, function: str) -> None:
    span = {"from": START * 1000, "to": END * 1000}

    found = panel(gateway, name, {"function": function}, range=span)

    assert {element["unit"] for element in found} == {UNITS[name, function]}


@pytest.mark.parametrize(
    ("legend", "titles"),
    [
        ("", {"anthropic", "google-vertex", "groq", "openai"}),
        ("{{provider}} errors", {f"{name} errors" for name in ("anthropic", "google-vertex", "groq", "openai")}),
        ("{{ provider }}/{{nothing}}", {f"{name}/" for name in ("anthropic", "google-vertex", "groq", "openai")}),
        ("all", {"all"}),
        ("{{__name__}}", {"provider_error_rate"}),
    ],
)
def test_legends(gateway: TestClient, legend: str, titles: set[str]) -> None:
    span = {"from": START * 1000, "to": END * 1000}

    found = panel(gateway, "provider_error_rate", {"legend": legend}, range=span)

    assert {element["title"] for element in found} == titles


def test_a_statistic_has_no_labels_to_choose(gateway: TestClient) -> None:
    assert options(gateway, "http.error_rate", "job") == []
    assert "1h" in options(gateway, "http.error_rate", "window")


def test_without_promql_only_the_catalogue_has_options(prometheus: Engine) -> None:
    with serving(prometheus.url, allow_promql=False) as client:
        assert options(client, "tokens_used_total{}", "token_type") == []
        assert options(client, "tokens_used_total", "token_type") == ["input", "output"]
