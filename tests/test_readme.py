"""What the README says is what the code does."""

import re
import subprocess
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics.settings import Settings

from tests.support.client import serving
from tests.support.readme import DOCS, README

TEXT = README.read_text("utf-8")
REPOSITORY = README.parent
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_has_a_row(name: str) -> None:
    assert f"| `{name.upper()}` |" in DOCS.joinpath("configuration.md").read_text("utf-8")


@pytest.mark.parametrize("task", sorted(set(re.findall(r"make ([\w-]+)", TEXT))))
def test_a_make_target_exists(task: str) -> None:
    done = subprocess.run(["make", "-n", task], cwd=REPOSITORY, capture_output=True, check=False)  # noqa: S607  # make is the point

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", re.findall(r"\]\((\S+?)\)", TEXT))
def test_a_link_leads_somewhere(path: str) -> None:
    assert Path(REPOSITORY, path).exists()


def test_the_error_answers_are_real() -> None:
    said = [line for line in TEXT.splitlines() if line.startswith(('{"error"', "# The upstream", '{"timestamp"'))]
    with serving() as client:
        down = client.get("/prometheus/metrics/summary?category=http")
        page = client.get("/prometheus/metrics/system")
        wrong = client.get("/prometheus/metrics/summary?category=https")

    assert down.json()["error"] in said[1]
    assert list(down.json()) == ["timestamp", "metrics", "error"]
    assert page.text.strip() in said
    assert wrong.text.strip() in said


def test_one_call_serves() -> None:
    namespace: dict[str, object] = {}
    exec(EXAMPLES[0], namespace)  # noqa: S102  # the README's own example
    app = namespace["app"]

    assert isinstance(app, FastAPI)
    assert TestClient(app).get("/prometheus/metrics/docs").status_code == 200
