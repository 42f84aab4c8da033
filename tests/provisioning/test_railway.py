"""Railway's config file names what is there."""

import json
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics import create_app
from gatewayz_metrics.settings import Settings, read_settings

from tests.support.client import serving

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "provisioning/railway"
CONFIG = json.loads((FOLDER / "railway.json").read_text("utf-8"))


def test_it_builds_the_image_and_asks_a_probe_that_needs_no_token() -> None:
    assert (ROOT / CONFIG["build"]["dockerfilePath"]).exists()
    with serving(api_tokens=["secret"]) as client:
        assert client.get(CONFIG["deploy"]["healthcheckPath"]).status_code == 200


def test_the_variables_are_settings() -> None:
    named = set(re.findall(r"`(?:GATEWAYZ_METRICS_)?([A-Z][A-Z_]+)`", (FOLDER / "README.md").read_text("utf-8")))

    assert {"PROMETHEUS_URL", "API_TOKENS"} <= named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_a_token_is_written_as_the_service_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    [example] = re.findall(r"^\| `API_TOKENS` \| `([^`]+)`", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE)
    monkeypatch.setenv("API_TOKENS", example.replace("<openssl rand -hex 24>", "s3cret"))
    with TestClient(create_app(read_settings())) as client:
        assert client.get("/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 200
