"""Every page is served in a host of the backend's shape, whatever else the host has installed and made active."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_integration import HOSTS, PAGES

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "companions",
    [[], ["instrumentator"], ["sentry"], ["opentelemetry"], ["sentry", "opentelemetry", "instrumentator"]],
    ids=lambda companions: " and ".join(companions) or "alone",
)
def test_every_page_is_served_beside(companions: list[str]) -> None:
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "api")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.hosts.visit", *companions],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    # Some pairs of a FastAPI and a companion break the host's own pages; that must not be our doing.
    before = found.pop("without")["own"]
    assert before["/metrics"]
    assert list(found) == [form.__name__ for form in HOSTS]
    for seen in found.values():
        assert seen["ours"] == dict.fromkeys(PAGES, 200)
        assert seen["signed"]
        assert seen["own"] == before
        assert all(noted >= len(PAGES) for noted in seen["noted"])
