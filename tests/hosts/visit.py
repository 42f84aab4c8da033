"""Visit a host in each form of installation: `python -m tests.hosts.visit sentry opentelemetry` prints what came back.

A process of its own, for some companions change FastAPI for good.
"""

import json
import sys

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.hosts.backend import OWN_PAGES, dress
from tests.hosts.companions import COMPANIONS, Companion
from tests.support import fake_upstream as fakes
from tests.support.fake_upstream import FakeUpstream
from tests.test_integration import HOSTS, PAGES, Host, Setup, over


def without(_: Setup) -> FastAPI:
    """The host without us."""
    return FastAPI()


def visit(form: Host, companions: list[Companion], upstream: FakeUpstream) -> dict[str, object]:
    """The status of every page, whether the host's own pages are its own, and how much each companion noted."""
    app = form(over(upstream))
    dress(app)
    before = [companion.seen() for companion in companions]
    for companion in companions:
        companion.join(app)
    with TestClient(app, raise_server_exceptions=False) as client:
        ours = {page: client.get(f"/prometheus/metrics/{page}") for page in PAGES}
        own = {path: client.get(path).text for path in OWN_PAGES}
    return {
        "ours": {page: answer.status_code for page, answer in ours.items()},
        "signed": all("x-request-id" in answer.headers for answer in ours.values()),
        "own": {path: OWN_PAGES[path] in text for path, text in own.items()},
        "noted": [companion.seen() - earlier for companion, earlier in zip(companions, before, strict=True)],
    }


if __name__ == "__main__":
    forms: list[Host] = [without, *HOSTS]
    present = [COMPANIONS[name]() for name in sys.argv[1:]]
    with FakeUpstream(fakes.healthy) as healthy:
        print(json.dumps({form.__name__: visit(form, present, healthy) for form in forms}))  # noqa: T201  # the result
