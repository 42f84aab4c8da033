"""Answers that are about all workers, when not all of them can be asked."""

from collections.abc import Sequence

import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings
from gatewayz_metrics.main import create_app
from gatewayz_metrics.measurements import Measurements
from gatewayz_metrics.siblings import SiblingsSilent


class Silent:
    """Other workers that do not answer."""

    async def measure(self, own: Measurements) -> Sequence[Measurements]:
        assert own
        raise SiblingsSilent("could be asked what it measures")

    async def purge(self) -> int:
        raise SiblingsSilent("has forgotten what it kept")


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [("GET", "/metrics", "could be asked what it measures"), ("POST", "/-/purge", "has forgotten what it kept")],
)
def test_a_part_of_the_truth_is_no_answer(method: str, path: str, what: str) -> None:
    app = create_app(Settings(prometheus_url="http://127.0.0.1:9"), siblings=Silent())
    with TestClient(app) as client:
        answer = client.request(method, path)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["error"] == f"Not every worker process {what}; ask again in a moment."
