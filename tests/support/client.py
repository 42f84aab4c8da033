"""The service as its callers see it."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, create_app

# Whatever Starlette's test client is made of answers with this: httpx2 where it is installed, or else httpx.
try:
    from httpx2 import Response as Answer
except ModuleNotFoundError:
    from httpx import Response as Answer  # type: ignore[assignment]

__all__ = ["Answer", "serving"]


@contextmanager
def serving(url: str = "http://127.0.0.1:9", **settings: object) -> Iterator[TestClient]:
    """A client of the stand-alone application over an upstream."""
    with TestClient(create_app(Settings(prometheus_url=url, **settings))) as client:  # type: ignore[arg-type]
        yield client
