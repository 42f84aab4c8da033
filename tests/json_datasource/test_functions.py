"""The builder's functions over every family of the built-in catalogue, judged by a real engine."""

import pytest
from gatewayz_metrics.catalogue import Family, load
from gatewayz_metrics.json_datasource.targets import bucket_increase, build_terms, functions_of, regroup
from gatewayz_metrics.promql.build import Slots

from tests.support.engine import Engine
from tests.support.samples import END

CATALOGUE = load()
SLOTS = Slots('env="production"', "5m")
# The one family that the known hour lacks.
FAMILIES = [family for family in CATALOGUE.families if family.name != "gatewayz_provider_health_score"]
EVERY = [(family, function) for family in FAMILIES for function in functions_of(family)]


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
            if family.expr is not None:
                promql = regroup(promql, family.by, ())
            found = prometheus.vector(promql, END)

            assert len({frozenset(k for k in labels if k not in ("le", "quantile")) for labels, _ in found}) == 1, (
                promql
            )


def test_a_histogram_has_its_buckets_for_heatmaps(prometheus: Engine) -> None:
    family = CATALOGUE.by_name["fastapi_requests_duration_seconds"]
    assert isinstance(family, Family)

    found = prometheus.vector(SLOTS.fill(bucket_increase(family).template), END)

    assert {labels["le"] for labels, _ in found} >= {"0.1", "0.5", "+Inf"}


@pytest.mark.parametrize(
    ("promql", "expected"),
    [
        ("max by (a) (x)", "max by (b, c) (x)"),
        ("max(x) BY (a)", "max(x) BY (b, c)"),
        ("(sum by(a)(x)) / sum by ( a ) (y)", "(sum by(b, c)(x)) / sum by (b, c) (y)"),
        ('sum by (a) (x{l="by (a)"})', 'sum by (b, c) (x{l="by (a)"})'),
        ("sum by (a) (count by (a, b) (x))", "sum by (b, c) (count by (a, b) (x))"),
    ],
)
def test_groupings_are_exchanged_and_nothing_else(promql: str, expected: str) -> None:
    assert regroup(promql, ("a",), ("b", "c")) == expected


def test_an_expression_without_that_grouping_is_refused() -> None:
    with pytest.raises(ValueError, match="fixed by its expression"):
        regroup("sum(x)", ("a",), ())
