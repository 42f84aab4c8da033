"""The summary's numbers against the engine that computed them."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gatewayz_demo import processes
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.promql.build import Slots

from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.samples import END

CATALOGUE = load()
ENVIRONMENTS = ["production", "staging", "bare", "idle", "written", "calls", "oneshot", "nowhere"]
SUMMARY = "/prometheus/metrics/summary"


def summary(engine: Engine, env: str, **params: str | list[str]) -> dict[str, Any]:
    with serving(engine.url, selector=f'env="{env}"') as client:
        response = client.get(SUMMARY, params={"time": END, **params})
    assert response.status_code == 200
    document: dict[str, Any] = response.json()
    return document


def value(engine: Engine, env: str, name: str) -> str:
    section, _, key = name.partition(".")
    found: str = summary(engine, env)["metrics"][section][key]
    return found


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_statistic_equals_its_expression_asked_alone(engine: Engine, env: str) -> None:
    document = summary(engine, env)
    slots = Slots(f'env="{env}"')

    for statistic in CATALOGUE.statistics:
        found = document["metrics"][statistic.section][statistic.key]
        direct = engine.value(slots.fill(statistic.template), END)
        if direct is None:
            assert found == "N/A", statistic.name
        elif statistic.format == "exact":
            assert Decimal(found) == Decimal(direct), statistic.name
        elif statistic.format == "money":
            assert abs(Decimal(found) - Decimal(direct)) <= Decimal("0.005"), statistic.name
            assert len(found.partition(".")[2]) == 2, statistic.name
        else:
            assert float(found) == pytest.approx(float(direct), rel=5e-4), statistic.name
            assert len(found.replace(".", "").strip("-0")) <= 4, statistic.name


@pytest.mark.parametrize(
    ("env", "name", "expected"),
    [
        ("production", "http.total_requests", "21040"),  # both replicas, every route and status, no staging
        ("production", "http.request_rate_per_minute", "324"),
        ("production", "http.error_rate", "2.778"),  # 0.06 of 2.16, in percent
        ("production", "http.avg_latency_ms", "400"),
        ("production", "http.in_progress", "12"),  # four series, not the first of them
        ("production", "providers.total_providers", "26"),  # two replicas copy it, so no sum
        ("production", "providers.avg_error_rate", "0.315"),
        ("production", "providers.avg_response_time_ms", "600"),
        ("production", "database.avg_query_latency_ms", "8"),
        ("production", "database.cache_hit_rate", "71.43"),
        ("production", "business.active_api_keys", "412"),  # without the revoked ones
        ("production", "business.active_subscriptions", "157"),  # every plan and cycle
        ("production", "business.active_trials", "19"),
        ("bare", "providers.total_providers", "3"),  # counted per provider, not per replica or scale
        ("bare", "providers.healthy_providers", "2"),
        ("bare", "providers.degraded_providers", "1"),
        ("bare", "providers.unavailable_providers", "1"),
        ("bare", "http.error_rate", "N/A"),  # absent is not zero
        ("idle", "http.total_requests", "1234"),
        ("idle", "http.request_rate_per_minute", "0"),
        ("idle", "http.error_rate", "N/A"),  # nothing was asked: no share of errors, and no NaN
        ("idle", "http.avg_latency_ms", "N/A"),
        ("oneshot", "http.error_rate", "0"),  # requests, but no 5xx series at all
        ("oneshot", "database.cache_hit_rate", "100"),  # hits, but no miss yet
        ("oneshot", "providers.healthy_providers", "1"),
        ("oneshot", "providers.unavailable_providers", "0"),
        ("oneshot", "providers.degraded_providers", "1"),  # from model calls, for providers report no error rates
        ("oneshot", "providers.avg_error_rate", "0.25"),  # from model calls where providers report none
        ("written", "providers.total_providers", "4"),
        ("written", "providers.healthy_providers", "2"),  # no breaker of theirs has ever opened
        ("written", "providers.degraded_providers", "1"),  # half open
        ("written", "providers.unavailable_providers", "1"),
        ("written", "providers.avg_response_time_ms", "800"),
        ("written", "providers.avg_error_rate", "0.55"),  # 2.2 of 4 calls
        ("written", "database.cache_hit_rate", "80"),
        ("calls", "providers.total_providers", "3"),
        ("calls", "providers.healthy_providers", "2"),  # some calls succeed
        ("calls", "providers.degraded_providers", "1"),
        ("calls", "providers.unavailable_providers", "1"),  # every call fails
        ("calls", "providers.avg_response_time_ms", "N/A"),
        ("calls", "database.cache_hit_rate", "75"),
    ],
)
def test_a_number_means_what_its_help_says(prometheus: Engine, env: str, name: str, expected: str) -> None:
    assert value(prometheus, env, name) == expected


def test_money_keeps_its_cents_and_counts_every_digit(tmp_path: Path) -> None:
    lines = (
        "# TYPE credits_used counter",
        f'credits_used_total{{provider="openai",model="gpt-4"}} 137512.34 {END}',
        "# TYPE tokens_used counter",
        *(f'tokens_used_total{{token_type="{kind}"}} {n} {END}' for kind, n in (("input", 2**52), ("output", 1))),
        "# EOF",
    )
    (tmp_path / "money.om").write_text("\n".join(lines) + "\n")
    processes.backfill(tmp_path / "money.om", tmp_path / "tsdb")
    with processes.start_prometheus(tmp_path / "tsdb") as engine, serving(engine.url) as client:
        document = client.get(SUMMARY, params={"time": END}).json()["metrics"]
        rows = client.get(SUMMARY, params={"time": END, "format": "csv", "category": "models"}).text

    assert document["models"]["credits_used_total"] == document["business"]["total_credits_used"] == "137512.34"
    assert document["models"]["tokens_used_total"] == document["business"]["total_tokens_used"] == "4503599627370497"
    assert ",credits_used_total,137512.34," in rows


def test_every_key_is_there_and_absence_has_a_reason(prometheus: Engine) -> None:
    document = summary(prometheus, "nowhere")
    keys = {f"{section}.{key}" for section, values in document["metrics"].items() for key in values}

    assert keys == {statistic.name for statistic in CATALOGUE.statistics}
    assert set(document["absent"]) == keys
    assert "fastapi_requests_total" in document["absent"]["http.error_rate"]
    assert "error" not in document
    assert "errors" not in document


@pytest.mark.parametrize(
    ("env", "name", "metric"),
    [
        ("production", "providers.total_providers", "gatewayz_providers_total"),
        ("bare", "providers.total_providers", "provider_availability"),
        ("written", "providers.total_providers", "model_inference_requests_total"),
        ("written", "providers.unavailable_providers", "circuit_breaker_current_state"),
        ("calls", "providers.unavailable_providers", "model_inference_requests_total"),
        ("production", "database.cache_hit_rate", "cache_hits_total"),
        ("written", "database.cache_hit_rate", "catalog_cache_hits_total"),
        ("calls", "database.cache_hit_rate", "redis_keyspace_hits_total"),
    ],
)
def test_a_value_tells_which_expression_gave_it(prometheus: Engine, env: str, name: str, metric: str) -> None:
    answered = summary(prometheus, env, sources="true")["sources"][name]

    assert re.findall(r"[a-z_]+(?=\{)", answered)[0] == metric
    assert f'env="{env}"' in answered
    assert prometheus.value(answered, END) is not None


@pytest.mark.parametrize("asked", ["", "true", "1"])
def test_sources_come_on_request_and_only_for_values(prometheus: Engine, asked: str) -> None:
    document = summary(prometheus, "calls", sources=asked)

    assert "sources" not in summary(prometheus, "calls")
    assert "sources" not in summary(prometheus, "calls", sources="false")
    assert document["sources"].keys() == {s.name for s in CATALOGUE.statistics} - document["absent"].keys()


def test_absence_names_every_source_that_was_looked_for(prometheus: Engine) -> None:
    reason = summary(prometheus, "nowhere")["absent"]["database.cache_hit_rate"]

    for cache in ("cache", "catalog_cache", "redis_keyspace"):
        assert f" {cache}_hits_total" in reason
        assert f" {cache}_misses_total" in reason


def test_a_category_narrows(prometheus: Engine) -> None:
    assert list(summary(prometheus, "production", category="http")["metrics"]) == ["http"]
    assert list(summary(prometheus, "production", category=["database", "http"])["metrics"]) == ["http", "database"]


def test_numbers_come_as_json_numbers_on_request(prometheus: Engine) -> None:
    as_text = summary(prometheus, "oneshot")["metrics"]
    as_numbers = summary(prometheus, "oneshot", values="number")["metrics"]

    for section, texts in as_text.items():
        for key, text in texts.items():
            expected = None if text == "N/A" else float(text)
            assert as_numbers[section][key] == expected


@pytest.mark.parametrize(
    "params", [{"category": "https"}, {"values": "float"}, {"sources": "maybe"}, {"time": "yesterday"}, {"time": "nan"}]
)
def test_an_unknown_value_is_refused_with_a_sentence(params: dict[str, str]) -> None:
    with serving() as client:
        response = client.get(SUMMARY, params=params)

    assert response.status_code == 400
    assert response.json()["code"] == "invalid_parameter"
    assert repr(next(iter(params.values()))) in response.json()["error"]


def test_a_cold_summary_costs_at_most_four_requests_and_a_warm_one_none(prometheus: Engine) -> None:
    with serving(prometheus.url) as client:
        sent = []
        for _ in range(2):
            assert client.get(SUMMARY).status_code == 200
            sent.append(_counted(client, "gatewayz_metrics_upstream_requests_total"))

    assert 0 < sent[0] <= 4
    assert sent[1] == sent[0]


def test_without_a_cache_every_summary_asks_again(prometheus: Engine) -> None:
    with serving(prometheus.url, cache_ttl=0) as client:
        for _ in range(2):
            client.get(SUMMARY)
        assert _counted(client, 'gatewayz_metrics_cache_lookups_total{cache="snapshots",result="hit"}') == 0
        assert _counted(client, 'gatewayz_metrics_cache_lookups_total{cache="snapshots",result="miss"}') == 2


def _counted(client: Any, prefix: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(prefix))
