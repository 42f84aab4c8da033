"""The functions of every family of the built-in catalogue, judged by a real engine."""

import pytest
from gatewayz_metrics.catalogue import Family, Slots, build_heatmap, build_terms, functions_of, load

from tests.support.engine import Engine
from tests.support.samples import END

CATALOGUE = load()
SLOTS = Slots('env="production"', "5m")
# The one family that the known hour lacks.
FAMILIES = [family for family in CATALOGUE.families if family.name != "gatewayz_provider_health_score"]
EVERY = [(family, function) for family in FAMILIES for function in functions_of(family)]


def named(name: str) -> Family:
    family = CATALOGUE.by_name[name]
    assert isinstance(family, Family)
    return family


@pytest.mark.parametrize(("family", "function"), EVERY, ids=[f"{f.name}-{name}" for f, name in EVERY])
def test_every_function_of_every_family_has_an_answer(prometheus: Engine, family: Family, function: str) -> None:
    for term in build_terms(family, function, family.by):
        promql = SLOTS.fill(term.template)
        found = prometheus.vector(promql, END)

        assert found, promql
        assert {name for labels, _ in found for name in labels} - {"le", "quantile"} == set(family.by)
        assert promql.count('aggregated_by=""') == promql.count("{")


GROUPED = [family for family in FAMILIES if family.by]


@pytest.mark.parametrize("family", GROUPED, ids=[family.name for family in GROUPED])
def test_every_grouping_can_be_narrowed_to_nothing(prometheus: Engine, family: Family) -> None:
    for function in functions_of(family):
        for term in build_terms(family, function, ()):
            promql = SLOTS.fill(term.template)
            found = prometheus.vector(promql, END)

            assert len({frozenset(k for k in labels if k not in ("le", "quantile")) for labels, _ in found}) == 1, (
                promql
            )


def test_a_histogram_has_its_buckets_for_heatmaps(prometheus: Engine) -> None:
    found = prometheus.vector(SLOTS.fill(build_heatmap(named("fastapi_requests_duration_seconds")).template), END)

    assert {labels["le"] for labels, _ in found} >= {"0.1", "0.5", "+Inf"}


def test_the_grouping_of_an_expression_is_exchanged() -> None:
    (term,) = build_terms(named("active_api_keys"), "raw", ("region",))

    assert term == ("active_api_keys", "max by (region) (active_api_keys{$selector})")


def test_a_grouping_is_exchanged_in_every_fallback() -> None:
    (term,) = build_terms(named("provider_error_rate"), "raw", ("region",))

    assert "by (region) (provider_error_rate" in term.template
    assert "by (region) (rate(model_inference_requests_total" in term.template
    assert "by (provider)" not in term.template


def test_a_function_reads_the_first_metric_that_has_series() -> None:
    (term,) = build_terms(named("provider_response_time_seconds"), "increase", ("a",))
    first, second = (
        f"sum by (a) (increase(provider_response_{name}_seconds_count{{$selector}}[$window]))"
        for name in ("time", "duration")
    )

    assert term == ("provider_response_time_seconds", f"({first} or ({second} unless on () ({first})))")


def test_an_expression_that_groups_by_nothing_keeps_to_it() -> None:
    with pytest.raises(ValueError, match="fixed by its expression; leave `by` out"):
        build_terms(named("gatewayz_providers_total"), "raw", ("provider",))


@pytest.mark.parametrize(
    ("name", "function", "template"),
    [
        ("fastapi_requests_total", "raw", "sum by (a) (fastapi_requests_total{$selector})"),
        ("fastapi_requests_total", "rate", "sum by (a) (rate(fastapi_requests_total{$selector}[$window]))"),
        (
            "model_inference_duration_seconds",
            "increase",
            "sum by (a) (increase(model_inference_duration_seconds_count{$selector}[$window]))",
        ),
        (
            "model_inference_duration_seconds",
            "p99",
            "histogram_quantile(0.99, "
            "sum by (a, le) (rate(model_inference_duration_seconds_bucket{$selector}[$window])))",
        ),
        (
            "database_query_duration_seconds",
            "mean",
            "sum by (a) (rate(database_query_duration_seconds_sum{$selector}[$window])) "
            "/ (sum by (a) (rate(database_query_duration_seconds_count{$selector}[$window])) > 0)",
        ),
    ],
)
def test_a_function_is_one_template(name: str, function: str, template: str) -> None:
    (term,) = build_terms(named(name), function, ("a",))

    assert term == (name, template)
