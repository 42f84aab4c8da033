"""Settings inside a host: under their own names, and none that cannot be used stops or opens anything."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, setup_prometheus_routes
from gatewayz_metrics.host_settings import read_host_settings

from tests.support import fake_upstream as fakes
from tests.support.fake_upstream import FakeUpstream
from tests.test_settings import BAD, SECRET, plain

pytestmark = pytest.mark.usefixtures("shipped_limits")

# Where the default would let more be seen than was meant, or would ask somebody else.
CLOSING = ("API_TOKENS", "TENANTS", "PROMETHEUS_URL", "PROMETHEUS_HEADERS", "PROMETHEUS_BEARER_TOKEN", "SELECTOR")
NEVER_READ = ("HOST", "PORT", "CORS_ORIGINS")
SHARED = [name for name in Settings.model_fields if name.startswith("prometheus_")][:6]
# What a host may well have in its environment for itself.
FOREIGN = {
    "CORS_ORIGINS": "*",
    "PORT": "tcp://10.0.0.1:8000",
    "HOST": "a b",
    "CACHE_TTL": "1h",
    "TENANTS": "a,b",
    "SELECTOR": "app",
    "CATALOGUE": "/srv/products.toml",
    "MAX_SERIES": "many",
    "PROMETHEUS_ENGINE": "graphite",
    "PROMETHEUS_TIMEOUT": "10s",
    "ALLOW_PROMQL": "never",
}
VALUES: dict[str, str] = {
    "api_tokens": "a,b",
    "prometheus_url": "http://h:1",
    "prometheus_username": "ann",
    "prometheus_password": SECRET,
    "prometheus_bearer_token": SECRET,
    "prometheus_bearer_token_file": "/run/token",
    "prometheus_headers": '{"X": "y"}',
    "prometheus_engine": "mimir",
    "prometheus_gzip": "on",
    "selector": 'env="a"',
    "cache_range": "off",
    "cache_alerts": "on",
    "allow_promql": "off",
    # Small enough and large enough for each of the other limits.
    **dict.fromkeys(
        ("prometheus_connect_timeout", "prometheus_timeout", "cache_ttl", "cache_stale", "scrape_interval"), "7"
    ),
    **dict.fromkeys(("prometheus_connections", "max_concurrent_queries", "max_targets"), "7"),
    **dict.fromkeys(("max_response_bytes", "cache_range_bytes", "max_query_length", "max_body_bytes"), "65537"),
    **dict.fromkeys(("cache_range_ttl", "cache_freshness", "max_range", "max_points", "max_series"), "99"),
}


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("gatewayz_metrics")]


# --------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", VALUES)
def test_a_setting_is_read_under_its_own_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"GATEWAYZ_METRICS_{name.upper()}", VALUES[name])
    found = read_host_settings()

    assert found.fault is None
    assert plain(found.settings) == plain(Settings(**{name: VALUES[name]}))  # type: ignore[arg-type]  # as text
    assert plain(found.settings) != plain(Settings())


@pytest.mark.parametrize("name", [name for name in VALUES if name not in SHARED])
def test_the_short_name_is_the_hosts(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{name.upper()}={VALUES[name]}\n")
    monkeypatch.setenv(name.upper(), VALUES[name])
    found = read_host_settings()

    assert (plain(found.settings), found.fault) == (plain(Settings.model_construct()), None)


@pytest.mark.parametrize("name", SHARED)
def test_the_upstream_and_its_credentials_have_their_short_names_too(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name.upper(), VALUES[name])

    assert plain(read_host_settings().settings)[name] == plain(Settings(**{name: VALUES[name]}))[name]  # type: ignore[arg-type]  # as text


@pytest.mark.parametrize("name", NEVER_READ)
def test_where_the_host_listens_is_never_read(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for prefix in ("", "GATEWAYZ_METRICS_"):
        monkeypatch.setenv(prefix + name, "not usable at all")

    assert read_host_settings() == (read_host_settings().settings, None)
    assert plain(read_host_settings().settings) == plain(Settings.model_construct())
    assert said(caplog) == []


def test_the_hosts_own_environment_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    with FakeUpstream(fakes.healthy) as upstream:
        monkeypatch.setenv("PROMETHEUS_URL", upstream.url)
        summary = serve().get("/prometheus/metrics/summary").json()

    assert "error" not in summary
    assert {value for keys in summary["metrics"].values() for value in keys.values()} <= {"1.5", "1.50"}
    assert not [line for line in said(caplog) if "cannot be used" in line]


def test_a_life_meant_for_the_hosts_cache_makes_no_answer_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_TTL", "3600")

    assert read_host_settings().settings.cache_ttl == 5.0


@pytest.mark.parametrize("name", ["API_TOKENS", "TENANTS"])
def test_whoever_expects_the_short_name_to_close_it_is_told(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(name, SECRET)
    read_host_settings()

    assert said(caplog) == [f"{name} is not read inside a host application; GATEWAYZ_METRICS_{name} is."]


# --------------------------------------------------------------------------- which of two wins


def test_the_prefix_wins_and_the_environment_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "GATEWAYZ_METRICS_PROMETHEUS_URL=http://file:1\nGATEWAYZ_METRICS_CACHE_TTL=9\nGATEWAYZ_METRICS_MAX_SERIES=3\n"
    )
    monkeypatch.setenv("PROMETHEUS_URL", "http://environment:2")
    monkeypatch.setenv("GATEWAYZ_METRICS_CACHE_TTL", "7")
    found = read_host_settings().settings

    assert (found.prometheus_url, found.cache_ttl, found.max_series) == ("http://file:1", 7, 3)
    assert read_host_settings("http://argument:3").settings.prometheus_url == "http://argument:3"


@pytest.mark.parametrize(
    ("own", "user"),
    [
        ({}, "ann"),
        ({"PROMETHEUS_URL": "http://elsewhere:1"}, ""),
        ({"PROMETHEUS_BEARER_TOKEN": "t"}, ""),
        ({"CACHE_TTL": "1"}, "ann"),
    ],
    ids=["none", "another server", "another credential", "something else"],
)
def test_credentials_go_to_the_server_that_they_are_for(
    own: dict[str, str], user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_USERNAME", "ann")
    monkeypatch.setenv("PROMETHEUS_PASSWORD", SECRET)
    for name, value in own.items():
        monkeypatch.setenv(f"GATEWAYZ_METRICS_{name}", value)
    found = read_host_settings()

    assert found.fault is None
    assert (found.settings.prometheus_username, plain(found.settings)["prometheus_password"] == SECRET) == (
        user,
        bool(user),
    )


# --------------------------------------------------------------------------- what cannot be used


@pytest.mark.parametrize("case", [case for case in BAD if BAD[case][0] not in (*CLOSING, *NEVER_READ)])
def test_a_value_that_cannot_be_used_costs_its_setting_alone(
    case: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name, value = BAD[case]
    monkeypatch.setenv(f"GATEWAYZ_METRICS_{name}", value)
    monkeypatch.setenv("GATEWAYZ_METRICS_MAX_TARGETS", "7")
    found = read_host_settings()

    assert found.fault is None
    assert plain(found.settings) == plain(Settings(max_targets=7))
    [line] = said(caplog)
    assert line.startswith(f"GATEWAYZ_METRICS_{name} cannot be used: ")
    assert line.endswith(". Until then its default is used.")
    assert SECRET not in line


def test_several_are_told_one_by_one(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    names = ["GATEWAYZ_METRICS_CACHE_TTL", "GATEWAYZ_METRICS_CATALOGUE", "GATEWAYZ_METRICS_MAX_SERIES"]
    for name in names:
        monkeypatch.setenv(name, "/nowhere")
    found = read_host_settings()

    assert (plain(found.settings), found.fault) == (plain(Settings()), None)
    assert sorted(line.split()[0] for line in said(caplog)) == names
    assert [line.endswith("the built-in catalogue is used.") for line in sorted(said(caplog))] == [False, True, False]


def test_the_catalogue_that_was_asked_for_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Path(__file__).parent / "dashboards" / "shop.toml"
    monkeypatch.setenv("GATEWAYZ_METRICS_CATALOGUE", str(shop))

    assert read_host_settings().settings.catalogue == shop


@pytest.mark.parametrize(
    ("prefix", "case"),
    [("GATEWAYZ_METRICS_", case) for case in BAD if BAD[case][0] in CLOSING]
    + [("", case) for case in BAD if BAD[case][0].lower() in SHARED],
)
def test_a_value_without_which_more_would_be_seen_is_a_fault(
    prefix: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, value = BAD[case]
    monkeypatch.setenv(prefix + name, value)
    found = read_host_settings()

    assert found.fault is not None
    assert found.fault.sentence.startswith(f"{prefix}{name} cannot be used: ")
    assert SECRET not in found.fault.sentence
    assert bool(found.settings.api_tokens) == (name == "API_TOKENS")


def test_promql_that_may_have_been_switched_off_is_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GATEWAYZ_METRICS_ALLOW_PROMQL", "never")

    assert not read_host_settings().settings.allow_promql
    assert said(caplog)[0].endswith(". Until then it counts as off.")


@pytest.mark.parametrize(
    "values",
    [
        {"TENANTS": f'{{"{SECRET}": "a"}}'},
        {"TENANTS": f"{SECRET},b", "API_TOKENS": "admin"},
        {"TENANTS": f'{{"{SECRET}": "team-a"}}', "API_TOKENS": "admin", "PROMETHEUS_ENGINE": "mimr"},
        {"PROMETHEUS_USERNAME": "ann", "PROMETHEUS_BEARER_TOKEN": SECRET},
    ],
    ids=["no tokens", "no JSON", "an engine that is none", "two credentials"],
)
def test_what_contradicts_itself_explains_itself_to_those_with_a_token(
    values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"GATEWAYZ_METRICS_{name}", value)
    client = serve()
    answers: dict[str, Any] = {
        token: client.get("/prometheus/metrics/summary", headers={"Authorization": f"Bearer {token}"})
        for token in ("admin", SECRET)
    }

    assert "cannot be used" in answers["admin"].json()["error"]
    assert {value for keys in answers["admin"].json()["metrics"].values() for value in keys.values()} == {"N/A"}
    assert answers[SECRET].status_code == (401 if "API_TOKENS" in values else 200)
    assert SECRET not in answers["admin"].text


@pytest.mark.parametrize("content", [b"API_TOKENS=\xff\xfe\n", None], ids=["no UTF-8", "no permission"])
def test_a_file_that_cannot_be_read_lets_nobody_in(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes(content or b"X=a\n")
    if content is None:
        # A superuser may read everything, so the refusal itself is what is put in place.
        monkeypatch.setattr("dotenv.main.DotEnv.dict", refuse)
    first, second = read_host_settings(), read_host_settings()

    assert first.fault is not None
    assert first.fault.sentence.startswith("The file .env cannot be read")
    assert [len(token.get_secret_value()) > 20 for token in first.settings.api_tokens] == [True]
    assert first.settings.api_tokens != second.settings.api_tokens


def refuse(_: object) -> None:
    raise PermissionError


def serve() -> TestClient:
    """A host with nothing but us."""
    app = FastAPI()
    setup_prometheus_routes(app)
    return TestClient(app)
