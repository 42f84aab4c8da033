"""The service as its callers see it."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, create_app


@contextmanager
def serving(url: str = "http://127.0.0.1:9", **settings: object) -> Iterator[TestClient]:
    """A client of the stand-alone application over an upstream."""
    with TestClient(create_app(Settings(prometheus_url=url, **settings))) as client:  # type: ignore[arg-type]
        yield client
