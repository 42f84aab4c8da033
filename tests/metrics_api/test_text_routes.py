"""The text routes: every sample against the engine, every page against independent parsers."""

import math
import subprocess
from collections import Counter
from collections.abc import Iterable

import pytest
from gatewayz_demo import engines
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.promql.build import Slots
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.samples import END, HOSTILE

CATALOGUE = load()
ENVIRONMENTS = ["production", "bare", "idle", "written", "calls", "hostile", "nowhere"]
PAGES = [*CATALOGUE.categories, "all"]
OPENMETRICS = "application/openmetrics-text;version=1.0.0"

Labels = frozenset[tuple[str, str]]


def page(engine: Engine, env: str, name: str, accept: str = "*/*") -> str:
    with serving(engine.url, selector=f'env="{env}"') as client:
        response = client.get(f"/prometheus/metrics/{name}", params={"time": END}, headers={"accept": accept})
    assert response.status_code == 200
    text: str = response.text
    return text


def samples(families: Iterable[Metric]) -> dict[tuple[str, Labels], float]:
    """The samples of a parsed page without the marker, which every one of them must carry."""
    found = {}
    for family in families:
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("aggregated_by") == "gatewayz-metrics"
            found[sample.name, frozenset(labels.items())] = sample.value
    return found


def direct(engine: Engine, env: str, category: str | None) -> dict[tuple[str, Labels], float]:
    """What the engine itself answers to each expression of a category, one by one."""
    slots = Slots(f'env="{env}"')
    return {
        # An empty label is no label: the engine leaves it out, whatever the source exported.
        (term.sample, frozenset((k, v) for k, v in labels.items() if k != "__name__")): float(value)
        for family in CATALOGUE.in_category(category)
        for term in family.terms
        for labels, value in engine.vector(slots.fill(term.template), END)
    }


@pytest.mark.parametrize("env", ENVIRONMENTS)
@pytest.mark.parametrize("name", PAGES)
def test_every_sample_equals_its_expression_asked_alone(engine: Engine, env: str, name: str) -> None:
    found = samples(parse_text(page(engine, env, name)))
    expected = direct(engine, env, None if name == "all" else name)

    assert found.keys() == expected.keys()
    for key, value in expected.items():
        # An engine adds floats in no fixed order, so their last digits differ from one query to the next.
        assert found[key] == pytest.approx(value, rel=1e-12, nan_ok=True), key


@pytest.mark.parametrize(
    ("env", "available", "failing"),
    [
        ("written", {"openai": 1, "groq": 0, "mistral": 1, "xai": 1}, {"openai": 0.2, "groq": 1, "mistral": 0}),
        ("calls", {"openai": 1, "groq": 0, "mistral": 1}, {"openai": 0.2, "groq": 1, "mistral": 0}),
    ],
)
def test_providers_are_told_from_what_the_gateway_writes(
    prometheus: Engine, env: str, available: dict[str, float], failing: dict[str, float]
) -> None:
    found = samples(parse_text(page(prometheus, env, "providers")))
    by_provider = {
        name: {dict(labels)["provider"]: value for (each, labels), value in found.items() if each == name}
        for name in ("provider_availability", "provider_error_rate", "provider_response_time_seconds_count")
    }

    assert by_provider["provider_availability"] == available
    assert by_provider["provider_error_rate"] == pytest.approx(failing)
    counted = set(by_provider["provider_response_time_seconds_count"])
    assert counted == (set(available) if env == "written" else set())


@pytest.mark.parametrize("name", PAGES)
def test_openmetrics_says_the_same(prometheus: Engine, name: str) -> None:
    text = samples(parse_text(page(prometheus, "production", name)))
    openmetrics = samples(parse_openmetrics(page(prometheus, "production", name, OPENMETRICS)))

    assert openmetrics == text


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("env", ["production", "written", "calls", "hostile", "nowhere"])
def test_promtool_accepts_the_page(prometheus: Engine, env: str, name: str) -> None:
    tool = engines.find_engine("promtool")
    done = subprocess.run(
        [tool.path, "check", "metrics"], input=page(prometheus, env, name).encode(), capture_output=True, check=False
    )
    remarks = done.stderr.decode().splitlines()

    # 3 is a matter of style: names which the specification gives, and quantiles that are gauges.
    assert done.returncode in (0, 3), remarks
    tolerated = ("gatewayz_providers_total ", "subscription_count ", "_quantile ")
    assert [line for line in remarks if not any(name in line for name in tolerated)] == []


def test_every_family_of_all_is_there_once(prometheus: Engine) -> None:
    lines = page(prometheus, "production", "all").splitlines()
    headings = Counter(line.split()[2] for line in lines if line.startswith("# TYPE"))

    assert headings == dict.fromkeys((family.name for family in CATALOGUE.families), 1)


def test_a_sum_over_all_equals_the_direct_sum(prometheus: Engine) -> None:
    found = samples(parse_text(page(prometheus, "production", "all")))

    for family in CATALOGUE.families:
        if family.type == "counter":
            total = math.fsum(value for (name, _), value in found.items() if name == family.name)
            selector = 'env="production"'
            assert total == pytest.approx(float(prometheus.value(f"sum({family.name}{{{selector}}})", END) or 0))


def test_hostile_labels_arrive_whole(prometheus: Engine) -> None:
    found = samples(parse_text(page(prometheus, "hostile", "models")))
    models = {dict(labels).get("model", "") for name, labels in found if name == "model_inference_requests_total"}

    assert models == set(HOSTILE)


def test_histograms_are_complete_and_cumulative(prometheus: Engine) -> None:
    for family in parse_text(page(prometheus, "production", "all")):
        if family.type == "histogram":
            _assert_histogram(family)


def _assert_histogram(family: Metric) -> None:
    children: dict[Labels, dict[str, float]] = {}
    for sample in family.samples:
        labels = {k: v for k, v in sample.labels.items() if k != "le"}
        part = sample.labels.get("le", sample.name.removeprefix(family.name))
        children.setdefault(frozenset(labels.items()), {})[part] = sample.value
    assert children
    for child in children.values():
        buckets = [value for _, value in sorted((float(le), v) for le, v in child.items() if not le.startswith("_"))]
        assert buckets == sorted(buckets)
        assert child["+Inf"] == child["_count"]
        assert "_sum" in child


def test_a_family_without_data_is_named(prometheus: Engine) -> None:
    text = page(prometheus, "production", "providers")

    assert "# gatewayz_provider_health_score: no data\n" in text
    assert "# TYPE gatewayz_provider_health_score gauge\n" in text


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("text/html, */*;q=0.1", "text/plain; charset=utf-8"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (  # Prometheus 2.42
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (  # Prometheus 3
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("application/openmetrics-text;q=0.2, text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;q=0", "text/plain; charset=utf-8"),
        ("application/openmetrics-text;q=high", "text/plain; charset=utf-8"),
        (";;;,,=,q", "text/plain; charset=utf-8"),
    ],
)
def test_the_client_chooses_the_format(accept: str, content_type: str) -> None:
    with serving() as client:
        response = client.get("/prometheus/metrics/system", headers={"accept": accept})

    assert response.headers["content-type"] == content_type
    assert response.headers["vary"] == "Accept, Accept-Encoding"


def test_a_cold_page_costs_at_most_two_requests(prometheus: Engine) -> None:
    for name in PAGES:
        with serving(prometheus.url) as client:
            client.get(f"/prometheus/metrics/{name}", params={"time": END})
            lines = client.get("/metrics").text.splitlines()
        sent = [line for line in lines if line.startswith("gatewayz_metrics_upstream_requests_total")]
        assert sum(float(line.rpartition(" ")[2]) for line in sent) <= 2, name


@pytest.mark.parametrize("path", ["/prometheus/metrics/nope", "/prometheus/metrics//", "/prometheus/metrics/a/b", "/x"])
def test_an_unknown_path_is_a_sentence(path: str) -> None:
    with serving() as client:
        response = client.get(path)

    assert response.status_code == 404
    assert response.json()["code"] == "unknown_route"
    assert response.json()["error"].startswith("There is no ")


def test_another_method_is_refused_with_those_allowed() -> None:
    with serving() as client:
        response = client.post("/prometheus/metrics/all")

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"
    assert response.json()["code"] == "method_not_allowed"


def test_head_answers_like_get() -> None:
    with serving() as client:
        response = client.head("/prometheus/metrics/all")

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
