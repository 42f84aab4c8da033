"""Engines are rows of one table: another one is another row, and nothing else."""

import json
import re

import pytest
from gatewayz_metrics.engines import ENGINES, HeaderIsolation, LabelIsolation, UpstreamEngine
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.settings import Settings, read_settings

from tests.prometheus_api.test_limits import bearer
from tests.range_cache.relay import Relay
from tests.support import samples
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream

SPAN = {"query": "up", "start": str(samples.START), "end": str(samples.START + 600), "step": "15"}
MADE_UP = [
    UpstreamEngine(
        "hydra",
        "Hydra",
        range_parameters=(("grid", "exact"), ("heads", "all")),
        isolation=HeaderIsolation("X-Hydra-Head"),
        narrowing=("neck", "neck[]"),
    ),
    UpstreamEngine(
        "hydra",
        "Hydra",
        range_parameters=(("grid", "exact"), ("heads", "all")),
        isolation=LabelIsolation("only"),
        narrowing=("neck", "neck[]", "only"),
    ),
]


@pytest.fixture(params=MADE_UP, ids=["header", "label"])
def row(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> UpstreamEngine:
    """An engine that nobody has heard of, in the table."""
    found: UpstreamEngine = request.param
    monkeypatch.setitem(ENGINES, found.name, found)
    return found


def test_another_row_is_another_engine(row: UpstreamEngine, prometheus: Engine) -> None:
    tenant = row.isolation.example
    settings = {"prometheus_engine": "hydra", "tenants": {"token-a": tenant}, "api_tokens": ("admin",)}
    asked = {**SPAN, "neck": "long", "neck[]": "longer", "only": "team=b", "kept": "yes"}
    with FakeUpstream(Relay(prometheus.url)) as upstream, serving(upstream.url, **settings) as client:
        for token in ("token-a", "admin"):
            assert client.get("/api/v1/query_range", params=asked, headers=bearer(token)).status_code == 200
            assert client.get("/api/v1/labels", params=asked, headers=bearer(token)).status_code == 200
        restricted, _, unrestricted, labels = upstream.requests

    assert restricted.form["grid"] == ["exact"]
    assert restricted.form["heads"] == ["all"]
    assert restricted.form["kept"] == ["yes"]
    assert not {"neck", "neck[]"} & restricted.form.keys()
    assert restricted.header("X-Hydra-Head") == [value for _, value in row.isolation.headers(tenant)]
    expected = dict(row.isolation.parameters(tenant)).get("only", "team=b")
    assert restricted.form["only"] == [expected]
    assert unrestricted.form["neck"] == ["long"]
    assert unrestricted.form["grid"] == ["exact"]
    assert unrestricted.header("X-Hydra-Head") == []
    assert "grid" not in labels.form


def test_a_tenants_name_is_the_engines_to_judge(row: UpstreamEngine) -> None:
    tokens = {"prometheus_engine": "hydra", "api_tokens": "admin"}
    good, bad = row.isolation.example, {"team-a": "two\nlines", "team=a": "no label"}[row.isolation.example]

    assert read_settings(**tokens, tenants=json.dumps({"t": good})).engine is row
    with pytest.raises(ConfigurationError, match=r"on Hydra a tenant .*TENANTS") as caught:
        read_settings(**tokens, tenants=json.dumps({"t": bad}))
    assert bad not in caught.value.sentence


def test_an_unknown_engine_is_told_the_known_ones(row: UpstreamEngine) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(prometheus_engine="medusa")

    assert caught.value.sentence.startswith("PROMETHEUS_ENGINE cannot be used: ")
    assert all(name in caught.value.sentence for name in ENGINES)
    assert row.name in caught.value.sentence


def test_a_row_without_means_of_its_own_is_narrowed_by_us() -> None:
    assert UpstreamEngine("hydra", "Hydra").isolation.matcher("team=a") == 'team=~"a"'


def test_the_settings_name_every_engine() -> None:
    description = str(Settings.model_fields["prometheus_engine"].description)
    tenants = str(Settings.model_fields["tenants"].description)

    assert set(re.findall("`([a-z]+)`", description)) == ENGINES.keys()
    assert all(row.title in tenants for row in ENGINES.values())
