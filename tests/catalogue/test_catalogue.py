"""The catalogue: refused when it contradicts itself, valid for every engine, replaceable without Python."""

from pathlib import Path

import promql_parser
import pytest
from gatewayz_metrics.catalogue import Catalogue, load, parse_catalogue
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.promql.build import Slots

from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.samples import END

CATALOGUE = load()
EXPRESSIONS = [term.template for family in CATALOGUE.families for term in family.terms]
EXPRESSIONS += [statistic.template for statistic in CATALOGUE.statistics]

SPECIFIED = {
    "system": "fastapi_requests_total fastapi_requests_duration_seconds fastapi_requests_in_progress "
    "fastapi_exceptions_total",
    "providers": "gatewayz_providers_total gatewayz_providers_healthy gatewayz_providers_degraded "
    "gatewayz_providers_down provider_availability provider_error_rate provider_response_time_seconds "
    "gatewayz_provider_health_score",
    "models": "model_inference_requests_total model_inference_duration_seconds tokens_used_total credits_used_total",
    "business": "active_api_keys subscription_count trial_active tokens_used_total credits_used_total",
    "performance": "fastapi_requests_duration_seconds database_query_duration_seconds cache_size_bytes",
}

HEAD = """
title = "Shop"
[categories]
tills = "Tills."
[sections]
sales = "Sales."
"""
FAMILY = '[families.{name}]\ntype = "{type}"\nunit = "x"\nhelp = "X."\ncategories = ["tills"]\n{more}\n'


def family(name: str = "sold", type: str = "gauge", more: str = "") -> str:  # noqa: A002  # the catalogue's own word
    return FAMILY.format(name=name, type=type, more=more)


@pytest.mark.parametrize(("category", "names"), SPECIFIED.items())
def test_the_specified_families_are_there(category: str, names: str) -> None:
    assert {f.name for f in CATALOGUE.in_category(category)} >= set(names.split())


@pytest.mark.parametrize("template", EXPRESSIONS)
def test_every_expression_is_valid_for_every_engine(engine: Engine, template: str) -> None:
    assert engine.ask(Slots('env="production"').fill(template), END)["resultType"] == "vector"


@pytest.mark.parametrize("template", EXPRESSIONS)
def test_every_selector_has_the_slot(template: str) -> None:
    promql = Slots('env="production"').fill(template)
    selectors = _selectors(promql_parser.parse(promql))

    assert selectors
    for selector in selectors:
        names = {matcher.name for matcher in selector.matchers.matchers}
        assert {"env", "aggregated_by"} <= names, promql


def _selectors(node: object) -> list[promql_parser.VectorSelector]:
    if isinstance(node, promql_parser.VectorSelector):
        return [node]
    children = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "param", "vector_selector")]
    children += list(getattr(node, "args", None) or [])
    return [selector for child in children if child is not None for selector in _selectors(child)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("= nonsense", "is not valid TOML"),
        (HEAD + family() + family(), "not valid TOML"),
        (HEAD + family(more="fallbacks = ['2x']"), "its fallbacks must be metric names; '2x' is none"),
        (
            HEAD + family(more="expr = 'sold{$selector}'\nfallbacks = ['sold']"),
            "the expression 'sold' lacks a $selector",
        ),
        (HEAD + family("2x"), "the family 2x '2x' is not a metric name"),
        (HEAD + family(more="expr = 'sold'"), "the family sold, expr: the expression 'sold' lacks a $selector"),
        (
            HEAD + family(more="expr = 'sold{$selector} / bought'"),
            "lacks a $selector; put one into the braces of every",
        ),
        (HEAD + family(more="expr = 'sold{$selector} unless on (a) b{c=\"d\"}'"), "lacks a $selector"),
        (HEAD + family(more="by = ['le']"), "the family sold, by: the label 'le' is set by the service itself"),
        (
            HEAD.replace('title = "Shop"', 'title = "Shop"\ndeployment_label = "a-b"'),
            "deployment_label: 'a-b' is not a label name",
        ),
        (HEAD + family(more="by = ['a-b']"), "'a-b' is not a label name"),
        (HEAD + family(type="counter"), "the family sold is a counter, so its name must end in _total"),
        (HEAD + family(type="meter"), "the family sold, type: Input should be 'counter'"),
        (HEAD + family(type="histogram", more="expr = 'sold{$selector}'"), "it cannot have one expr"),
        (HEAD + family(more="quantiles = [0.5]"), "has quantiles but no quantile_of"),
        (HEAD + family("a_quantile", more="quantile_of = 'a'\nquantiles = [0.5]"), "which is no histogram"),
        (HEAD + family("b", more="quantile_of = 'a'\nquantiles = [0.5]"), "it must be named a_quantile"),
        (HEAD + family("a", "histogram") + family("a_count"), "the sample a_count would belong to a and to a_count"),
        (HEAD + family().replace('["tills"]', '["shelves"]'), "unknown category 'shelves'; there are tills"),
        (HEAD + family(more="colour = 'red'"), "the family sold, colour: Extra inputs are not permitted"),
        (
            HEAD + "[statistics.stock.left]\nunit='x'\nhelp='X.'\nexpr='a{$selector}'",
            "stock.left is in an unknown section",
        ),
        (HEAD + "[statistics.sales]\nleft = 3", "the statistic sales.left"),
        (HEAD.replace("tills", "all"), "the category 'all' cannot be a route of its own"),
        (HEAD.replace('title = "Shop"', 'title = "Shop"\nwindow = "5 minutes"'), "window: String should match"),
    ],
)
def test_a_contradiction_is_refused_with_a_sentence(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_catalogue(text, "shop.toml")

    assert complaint in refused.value.sentence
    assert refused.value.sentence.startswith("The catalogue shop.toml is ")
    assert "\n" not in refused.value.sentence.strip() or "TOML" in refused.value.sentence


def test_another_catalogue_serves_another_system(prometheus: Engine, tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(
        HEAD
        + family("cache_size_bytes", more="by = ['cache_name']")
        + "[statistics.sales.cache]\nunit='bytes'\nhelp='X.'\nformat='exact'\nexpr='max(cache_size_bytes{$selector})'\n"
    )
    with serving(prometheus.url, catalogue=path, selector='env="production"') as client:
        summary = client.get("/prometheus/metrics/summary", params={"time": END}).json()
        page = client.get("/prometheus/metrics/tills", params={"time": END}).text
        docs = client.get("/prometheus/metrics/docs").text
        gone = client.get("/prometheus/metrics/providers")

    assert summary["metrics"] == {"sales": {"cache": "1048576"}}
    assert 'cache_size_bytes{cache_name="keys",aggregated_by="gatewayz-metrics"} 2097152' in page
    assert "# Shop metrics" in docs
    assert gone.status_code == 404


def test_a_statistic_of_several_series_is_an_error_of_its_own(prometheus: Engine, tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(HEAD + "[statistics.sales.cache]\nunit='b'\nhelp='X.'\nexpr='cache_size_bytes{$selector}'\n")
    with serving(prometheus.url, catalogue=path) as client:
        summary = client.get("/prometheus/metrics/summary", params={"time": END}).json()

    assert summary["metrics"] == {"sales": {"cache": "N/A"}}
    assert "series, a statistic is one" in summary["errors"]["sales.cache"]


def test_the_docs_name_everything() -> None:
    with serving() as client:
        response = client.get("/prometheus/metrics/docs")

    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    for entry in (*CATALOGUE.families, *CATALOGUE.statistics):
        assert f"`{entry.name}`" in response.text
        assert entry.help in response.text
        assert f"| {entry.unit} |" in response.text
    for route in (*CATALOGUE.categories, "summary", "all", "docs"):
        assert f"`/prometheus/metrics/{route}`" in response.text


def test_names_lead_to_entries() -> None:
    assert isinstance(CATALOGUE, Catalogue)
    assert CATALOGUE.by_name["http.error_rate"].unit == "percent"
    assert CATALOGUE.by_name["tokens_used_total"].unit == "tokens"
