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
from gatewayz_demo.run import embedded_upstream
from gatewayz_metrics import Settings, create_app
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.promql.build import Slots
from prometheus_client.parser import text_string_to_metric_families

from tests.support.engine import Engine

CATALOGUE = load()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every answer about one moment in the history, with the engine's own values beside it."""
    return asyncio.run(_pages(tmp_path_factory.mktemp("demo")))


async def _pages(folder: Path) -> dict[str, Any]:
    environ = {
        "XDG_CACHE_HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        "PROMETHEUS_BIN": str(engines.find_engine("prometheus").path),
    }
    async with embedded_upstream(progress=lambda _: None, environ=environ, hours=0.5) as url:
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


def test_every_statistic_has_its_value(pages: dict[str, Any]) -> None:
    metrics = json.loads(pages["summary"])["metrics"]
    absent = {name for name, value in pages["direct"]["statistics"].items() if value is None}

    assert absent == {"business.active_trials"}  # registered and never written, as in production
    for statistic in CATALOGUE.statistics:
        if statistic.name not in absent:
            text = metrics[statistic.section][statistic.key]
            direct = pages["direct"]["statistics"][statistic.name]
            tolerance = 0 if statistic.format == "exact" else 5e-4
            assert float(Decimal(text)) == pytest.approx(float(direct), rel=tolerance), statistic.name


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


def test_the_one_family_left_out_is_named(pages: dict[str, Any]) -> None:
    exported = {name for name, _ in pages["direct"]["samples"]}
    missing = {f.name for f in CATALOGUE.families if not exported & {term.sample for term in f.terms}}

    assert missing == {"gatewayz_provider_health_score", "trial_active"}
    for name in missing:
        assert f"# {name}: no data\n" in pages["all"]
