"""Prometheus takes its configuration, and the aggregated page can be scraped without counting twice."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards import generate
from tests.provisioning.promtool import promtool

CONFIG = generate.ROOT / "prometheus/prometheus.yml"
TOKEN = "/run/gatewayz/token"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration as it stands in its container: token and rules in place."""
    token = tmp_path / "token"
    token.write_text("secret", encoding="utf-8")
    copy = tmp_path / "prometheus.yml"
    copy.write_text(CONFIG.read_text("utf-8").replace(TOKEN, str(token)), encoding="utf-8")
    (tmp_path / "rules").symlink_to(CONFIG.parent / "rules")
    return copy


def test_promtool_accepts_the_configuration(config: Path) -> None:
    content, said = promtool("check", "config", config)

    assert content, said
    assert "12 rules found" in said


def test_promtool_accepts_it_with_the_example_switched_on(config: Path) -> None:
    config.write_text(_switched_on(config.read_text("utf-8")), encoding="utf-8")
    content, said = promtool("check", "config", config)
    jobs = {job["job_name"]: job for job in _parsed(config)["scrape_configs"]}

    assert content, said
    assert jobs["gatewayz-aggregated"]["honor_labels"] is True
    assert jobs["gatewayz-aggregated"]["metrics_path"] == "/prometheus/metrics/all"


def test_the_second_scale_of_availability_is_told_apart(config: Path) -> None:
    jobs = {job["job_name"]: job for job in _parsed(config)["scrape_configs"]}

    assert jobs["gatewayz-data"]["static_configs"][0]["labels"]["source"] == "prometheus_data"


def test_the_scrape_interval_is_the_one_that_dashboards_reckon_with() -> None:
    datasource = yaml.safe_load((generate.ROOT / "grafana/datasources/gatewayz.yml").read_text("utf-8"))["datasources"][
        0
    ]

    assert _parsed(CONFIG)["global"]["scrape_interval"] == datasource["jsonData"]["timeInterval"]


def _switched_on(text: str) -> str:
    """The text with the example at its end no longer a comment."""
    before, mark, example = text.partition("  # - job_name: gatewayz-aggregated")
    lines = (mark + example).splitlines()
    return before + "\n".join("  " + line.removeprefix("  # ") for line in lines) + "\n"


def _parsed(config: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(config.read_text("utf-8"))
    return found
