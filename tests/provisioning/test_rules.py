"""Each alert of Prometheus fires when it should, and only then: `promtool test rules` over made-up hours."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml

from dashboards import generate
from tests.dashboards.catalogues import made
from tests.provisioning.promtool import promtool

RULES = generate.ROOT / generate.RULES

Labels = dict[str, str]


@dataclass(frozen=True)
class Case:
    """What Prometheus sees, one value per interval, and which alerts fire by then."""

    series: dict[str, str]
    at: str
    firing: dict[str, list[Labels]] = field(default_factory=dict)
    interval: str = "1m"


def requests(good: int, bad: int, minutes: int, env: str = "production") -> dict[str, str]:
    """The gateway's counters, by so much a minute."""
    name = f'fastapi_requests_total{{env="{env}",status_code='
    return {f'{name}"200"}}': f"0+{good}x{minutes}", f'{name}"500"}}': f"0+{bad}x{minutes}"}


def buckets(fast: int, slow: int, minutes: int) -> dict[str, str]:
    name = 'fastapi_requests_duration_seconds_bucket{env="production",le='
    return {
        f'{name}"1.0"}}': f"0+{fast}x{minutes}",
        f'{name}"5.0"}}': f"0+{fast}x{minutes}",
        f'{name}"+Inf"}}': f"0+{fast + slow}x{minutes}",
    }


def calls(provider: str, good: int, bad: int, minutes: int) -> dict[str, str]:
    name = f'model_inference_requests_total{{env="production",provider="{provider}",status='
    return {f'{name}"success"}}': f"0+{good}x{minutes}", f'{name}"error"}}': f"0+{bad}x{minutes}"}


PRODUCTION = {"env": "production"}
WELL = requests(100, 0, 480)

CASES = {
    "all is well": Case(WELL | calls("openai", 20, 1, 480) | buckets(99, 1, 480), "7h"),
    "only good requests were ever counted": Case({'fastapi_requests_total{env="p",status_code="200"}': "0+9x99"}, "1h"),
    "nobody asks": Case(requests(0, 0, 480), "7h"),
    "one in five fails, elsewhere all is well": Case(
        requests(80, 20, 90) | requests(100, 0, 90, "staging"),
        "80m",
        {"budget-burns-fast": [PRODUCTION], "budget-burns-slowly": [PRODUCTION], "error-rate": [PRODUCTION]},
    ),
    "it failed for an hour and is over": Case(
        {
            'fastapi_requests_total{env="production",status_code="200"}': "0+80x60 4880+100x30",
            'fastapi_requests_total{env="production",status_code="500"}': "0+20x60 1200+0x30",
        },
        "75m",
        {"budget-burns-slowly": [PRODUCTION]},
    ),
    "one in fourteen fails for hours": Case(
        requests(93, 7, 480), "7h", {"budget-burns-slowly": [PRODUCTION], "error-rate": [PRODUCTION]}
    ),
    "our own exports do not count": Case(
        WELL
        | {'fastapi_requests_total{env="production",status_code="500",aggregated_by="gatewayz-metrics"}': "0+50x99"},
        "1h",
    ),
    "a provider is down, on one scale only": Case(
        WELL
        | {
            'provider_availability{env="production",provider="groq"}': "1x10 0x20",
            'provider_availability{env="production",provider="groq",source="prometheus_data"}': "99x30",
            'provider_availability{env="production",provider="xai"}': "1x30",
        },
        "20m",
        {"provider-down": [PRODUCTION | {"provider": "groq"}]},
    ),
    "a breaker is open, where nothing writes the availability": Case(
        WELL
        | {
            'provider_availability{env="staging",provider="groq"}': "1x30",
            'circuit_breaker_current_state{env="staging",provider="groq",state="open"}': "1x30",
            'circuit_breaker_current_state{env="production",provider="groq",state="open"}': "1x30",
            'circuit_breaker_current_state{env="production",provider="groq",state="closed"}': "0x30",
            'circuit_breaker_current_state{env="production",provider="xai",state="open"}': "0x30",
            'circuit_breaker_current_state{env="production",provider="xai",state="half_open"}': "1x30",
        },
        "20m",
        {"provider-down": [PRODUCTION | {"provider": "groq"}]},
    ),
    "a provider is down for a moment": Case(
        WELL | {'provider_availability{env="production",provider="groq"}': "1x10 0 1x20"}, "10m30s"
    ),
    "calls to a busy provider fail, to a quiet one as well": Case(
        WELL | calls("groq", 7, 3, 30) | calls("xai", 0, 1, 30) | calls("openai", 10, 0, 30),
        "20m",
        {"provider-errors": [PRODUCTION | {"provider": "groq"}]},
    ),
    "answers are slow": Case(WELL | buckets(90, 10, 60), "30m", {"latency": [PRODUCTION]}),
    "the upstream is away": Case(
        WELL
        | {
            'gatewayz_metrics_upstream_up{job="m",instance="a:8000"}': "1x5 0x20",
            'gatewayz_metrics_upstream_up{job="m",instance="b:8000"}': "1x25",
        },
        "10m",
        {"upstream-down": [{"job": "m", "instance": "a:8000"}]},
    ),
    "nothing scrapes the service": Case(WELL, "1h"),
    "there is nothing at all": Case({'up{job="gatewayz"}': "0x30"}, "15m", {"no-data": [{}]}),
}

# A provider dies after five minutes and is back four minutes and a quarter later; a value every 15 seconds.
GROQ = [PRODUCTION | {"provider": "groq"}]
DIES = {
    'provider_availability{env="production",provider="groq"}': "1x19 0x16 1x60",
    'model_inference_requests_total{env="production",provider="groq",status="success"}': "0+10x20 200+0x16 210+10x60",
    'model_inference_requests_total{env="production",provider="groq",status="error"}': "0x20 10+10x16 170+0x60",
}
# The scrapes of half a minute are missing in the midst of it.
HANGS = DIES | {
    'provider_availability{env="production",provider="groq"}': "1x19 0x1 _ _ 0x12 1x60",
    'model_inference_requests_total{env="production",provider="groq",status="success"}': "0+10x20 _ _ 200x14 210x9",
}
UPSTREAM = 'gatewayz_metrics_upstream_up{job="m",instance="a:8000"}'
BOTH = {"provider-down": GROQ, "provider-errors": GROQ}

TIMELINES = {
    "before a provider dies": Case(DIES, "4m45s"),
    "a provider has been dead for a moment": Case(DIES, "5m45s"),
    "a provider has been dead for two minutes": Case(DIES, "7m", BOTH),
    "a provider has been dead for four minutes": Case(DIES, "9m", BOTH),
    "a provider has been back for two minutes": Case(DIES, "11m30s"),
    "a dead provider, and half a minute without scrapes": Case(HANGS, "7m", BOTH),
    "the upstream hangs for 28 seconds": Case({UPSTREAM: "1x19 0x1 1x60"}, "5m45s"),
    "the upstream has been back for a minute": Case({UPSTREAM: "1x19 0x1 1x60"}, "6m45s"),
    "the upstream has been away for two minutes": Case(
        {UPSTREAM: "1x19 0x60"}, "7m", {"upstream-down": [{"job": "m", "instance": "a:8000"}]}
    ),
}
CASES |= {name: replace(case, series=WELL | case.series, interval="15s") for name, case in TIMELINES.items()}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_alerts_that_fire(case: Case, tmp_path: Path) -> None:
    content, said = promtool("test", "rules", _file(case, tmp_path))

    assert content, said


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    assert {name for case in CASES.values() for name in case.firing} == {alert.name for alert in made().alerts}


def test_promtool_accepts_the_rules() -> None:
    content, said = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)

    assert content, said


def _file(case: Case, folder: Path) -> Path:
    """The case in promtool's words: every alert is expected, most of them silent."""
    test = {
        "interval": case.interval,
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [
            {"eval_time": case.at, "alertname": rule["alert"], "exp_alerts": _expected(rule, case.firing.get(name, []))}
            for name, rule in _rules().items()
        ],
    }
    document = {"rule_files": [str(RULES)], "evaluation_interval": "30s", "tests": [test]}
    file = folder / "rules.test.yml"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def _expected(rule: dict[str, dict[str, str]], firing: list[Labels]) -> list[dict[str, Labels]]:
    return [{"exp_labels": labels | rule["labels"], "exp_annotations": rule["annotations"]} for labels in firing]


def _rules() -> dict[str, dict[str, dict[str, str]]]:
    """The alerting rules by the name of their alert."""
    group = yaml.safe_load(RULES.read_text("utf-8"))["groups"][1]
    return {alert.name: rule for alert, rule in zip(made().alerts, group["rules"], strict=True)}
