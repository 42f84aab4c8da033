"""The embedded default end to end: what a newcomer sees is what the engine says."""

import asyncio
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from gatewayz_demo import engines
from gatewayz_demo.fetch import ignore_progress
from gatewayz_demo.run import Demo, embedded_upstream
from gatewayz_metrics import Settings, create_app
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.promql.build import Slots
from prometheus_client.parser import text_string_to_metric_families

from tests.support.engine import Engine

CATALOGUE = load()
# What nothing writes: in the real gateway's shape, and where the specification's families are written.
ABSENT = {
    False: {"business.active_api_keys", "business.active_subscriptions", "business.active_trials"},
    True: {"business.active_trials"},
}
LEFT_OUT = {
    False: {
        "active_api_keys",
        "cache_hit_ratio",
        "cache_hits_total",
        "cache_misses_total",
        "cache_size_bytes",
        "fastapi_exceptions_total",
        "gatewayz_provider_health_score",
        "gatewayz_providers_degraded",
        "gatewayz_providers_down",
        "gatewayz_providers_healthy",
        "gatewayz_providers_total",
        "subscription_count",
        "trial_active",
    },
    True: {"gatewayz_provider_health_score", "trial_active"},
}


@pytest.fixture(scope="module", params=[False, True], ids=["real", "specified"])
def spec_families(request: pytest.FixtureRequest) -> bool:
    """Whether the simulated gateway writes what the specification names and the real one does not."""
    return bool(request.param)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, spec_families: bool) -> dict[str, Any]:
    """Every answer about one moment in the history, with the engine's own values beside it."""
    return asyncio.run(_pages(tmp_path_factory.mktemp("demo"), spec_families=spec_families))


async def _pages(folder: Path, *, spec_families: bool) -> dict[str, Any]:
    environ = {
        "XDG_CACHE_HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        "PROMETHEUS_BIN": str(engines.find_engine("prometheus").path),
    }
    demo = Demo(progress=ignore_progress, environ=environ, hours=0.5, days=0, spec_families=spec_families)
    async with embedded_upstream(demo) as url:
        app = create_app(Settings(prometheus_url=url))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        ):
            at = time.time() - 120
            found: dict[str, Any] = {"direct": await asyncio.to_thread(_direct, Engine("prometheus", url), at)}
            for name in ("summary", *CATALOGUE.categories, "all"):
                response = await client.get(f"/prometheus/metrics/{name}", params={"time": at})
                assert response.status_code == 200
                found[name] = response.text
            return found


def _direct(engine: Engine, at: float) -> dict[str, Any]:
    slots = Slots()
    return {
        "statistics": {s.name: engine.value(slots.fill(s.template), at) for s in CATALOGUE.statistics},
        "samples": {
            (term.sample, frozenset((k, v) for k, v in labels.items() if k != "__name__")): float(value)
            for family in CATALOGUE.families
            for term in family.terms
            for labels, value in engine.vector(slots.fill(term.template), at)
        },
    }


def test_every_statistic_has_its_value(pages: dict[str, Any], spec_families: bool) -> None:
    metrics = json.loads(pages["summary"])["metrics"]
    absent = {name for name, value in pages["direct"]["statistics"].items() if value is None}

    assert absent == ABSENT[spec_families]
    for statistic in CATALOGUE.statistics:
        if statistic.name not in absent:
            text = metrics[statistic.section][statistic.key]
            direct = pages["direct"]["statistics"][statistic.name]
            relative = 5e-4 if statistic.format == "rounded" else 0
            absolute = 0.005 if statistic.format == "money" else 0
            assert float(Decimal(text)) == pytest.approx(float(direct), rel=relative, abs=absolute), statistic.name


def test_every_sample_of_every_page_is_the_engines(pages: dict[str, Any]) -> None:
    for name in (*CATALOGUE.categories, "all"):
        terms = {term.sample for f in CATALOGUE.in_category(None if name == "all" else name) for term in f.terms}
        expected = {key: value for key, value in pages["direct"]["samples"].items() if key[0] in terms}
        found = {
            (sample.name, frozenset(sample.labels.items()) - {("aggregated_by", "gatewayz-metrics")}): sample.value
            for family in text_string_to_metric_families(pages[name])
            for sample in family.samples
        }
        assert found == pytest.approx(expected, rel=1e-12, nan_ok=True), name


def test_every_text_route_has_samples(pages: dict[str, Any]) -> None:
    for name in (*CATALOGUE.categories, "all"):
        assert any(line and not line.startswith("#") for line in pages[name].splitlines()), name


def test_the_families_left_out_are_named(pages: dict[str, Any], spec_families: bool) -> None:
    exported = {name for name, _ in pages["direct"]["samples"]}
    missing = {f.name for f in CATALOGUE.families if not exported & {term.sample for term in f.terms}}

    assert missing == LEFT_OUT[spec_families]
    for name in missing:
        assert f"# {name}: no data\n" in pages["all"]
