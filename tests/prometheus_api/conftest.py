"""The Prometheus API of the stand-alone service over a real engine."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.support.client import serving
from tests.support.engine import Engine


@pytest.fixture(scope="module")
def api(prometheus: Engine) -> Iterator[TestClient]:
    with serving(prometheus.url) as client:
        yield client
