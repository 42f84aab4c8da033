"""What a dashboard's viewers cost the upstream: through the service fewer questions than directly, counted.

Two viewers whose clocks differ by seconds refresh three times, half a minute apart. The service's clocks are those
of the story, so that lists age as they would.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial

import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics import service
from gatewayz_metrics.upstream.clock import TrustedClock

from tests.dashboards import reading
from tests.dashboards.conftest import Stage
from tests.dashboards.reading import Document, PanelTarget
from tests.range_cache.relay import Relay
from tests.support.client import serving
from tests.support.fake_upstream import FakeUpstream

VIEWERS = (0.0, 4.25)  # seconds by which their clocks are ahead
REFRESHES, PAUSE = 3, 30.0
STEP = 15
VALUES = {"env": "production"}


@dataclass
class StoryClock:
    """The time in the story: its last refresh is just over."""

    passed: float = 0.0

    def __post_init__(self) -> None:
        # Ten seconds past a step: both viewers look within the same minute, and the same PAUSE, whenever this runs.
        self._begun = time.time() // PAUSE * PAUSE - PAUSE * REFRESHES + 10

    def wall(self) -> float:
        return self._begun + self.passed

    def monotonic(self) -> float:
        return self.passed


@dataclass
class Viewer:
    """A browser with a dashboard, as Grafana asks for it."""

    client: TestClient
    board: Document
    # What Grafana would ask of Prometheus for the same, by kind: one query for each query, number and list.
    direct: Counter[str]

    def refresh(self, now: float) -> None:
        begin = now - 3600
        for variable in reading.variables(self.board):
            if variable["type"] == "query" and not reading.is_of_labels(variable):
                self._ask_instant(reading.asked_by(variable), now)
            elif variable["type"] == "query":
                selector, label = reading.label_values(variable)
                span = {"start": f"{begin:.3f}", "end": f"{now:.3f}"}
                params = {"match[]": reading.filled(selector, **VALUES), **span}
                self._ask("GET", f"/api/v1/label/{label}/values", params=params)
                self.direct["lists"] += 1
        for annotation in self.board["annotations"]["list"]:
            self._ask_range(annotation["expr"], begin, now, 60)
        for panel in reading.panels(self.board):
            for target in (PanelTarget(self.board["uid"], panel, each) for each in panel.get("targets", [])):
                self._show(target, begin, now)

    def _show(self, target: PanelTarget, begin: float, now: float) -> None:
        if target.kind == "prometheus" and target.query.get("instant"):
            self._ask_instant(target.query["expr"], now)
        elif target.kind == "prometheus":
            self._ask_range(target.query["expr"], begin, now, STEP)
        elif target.kind == "simpod-json-datasource":
            span = {"from": round(begin * 1000), "to": round(now * 1000)}
            one = {**target.query, "payload": json.loads(target.query["payload"])}
            body = {"range": span, "intervalMs": 1000 * STEP, "maxDataPoints": 500, "targets": [one]}
            self._ask("POST", "/query", json=body)
            self.direct["catalogue"] += 1
        elif target.query["url"].startswith("/prometheus/"):
            params = {each["key"]: each["value"] for each in target.query["url_options"]["params"]}
            self._ask("GET", target.query["url"], params=params)
            self.direct["catalogue"] += sum(each["type"] == "number" for each in target.query["columns"])

    def _ask_instant(self, promql: str, now: float) -> None:
        form = {"query": reading.filled(promql, **VALUES), "time": f"{now:.3f}"}
        self._ask("POST", "/api/v1/query", data=form)
        self.direct["instants"] += 1

    def _ask_range(self, promql: str, begin: float, now: float, step: int) -> None:
        span = {"start": f"{begin // step * step:.0f}", "end": f"{now // step * step:.0f}", "step": f"{step}"}
        self._ask("POST", "/api/v1/query_range", data={"query": reading.filled(promql, **VALUES), **span})
        self.direct["ranges"] += 1

    def _ask(self, method: str, path: str, **content: object) -> None:
        answer = self.client.request(method, path, **content)  # type: ignore[arg-type]  # httpx types each alone
        assert answer.status_code == 200, answer.text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoryClock:
    story = StoryClock()
    monkeypatch.setattr(service, "TrustedClock", partial(TrustedClock, wall=story.wall, monotonic=story.monotonic))
    return story


def watch(stage: Stage, clock: StoryClock, uid: str, **settings: object) -> tuple[Counter[str], Counter[str]]:
    """Questions of the same viewers to Prometheus itself, and those that reach it through the service."""
    direct: Counter[str] = Counter()
    with FakeUpstream(Relay(stage.engine)) as upstream, serving(upstream.url, **settings) as client:
        before = len(upstream.requests)
        clock.passed = 0.0
        for _ in range(REFRESHES):
            for ahead in VIEWERS:
                Viewer(client, reading.board(uid), direct).refresh(clock.wall() + ahead)
            clock.passed += PAUSE
        sent = Counter(
            request.path.rpartition("/api/v1/")[2].partition("/")[0] for request in upstream.requests[before:]
        )
    return direct, sent


@pytest.mark.parametrize("stage", [False], indirect=True, ids=["real"])
@pytest.mark.parametrize("uid", ["gw-overview", "gw-models"])
def test_a_dashboard_asks_less_through_the_service(stage: Stage, clock: StoryClock, uid: str) -> None:
    direct, sent = watch(stage, clock, uid)
    shared_direct, shared = watch(stage, clock, uid, instant_granularity=PAUSE)
    print(f"{uid}: directly {direct.total()} {dict(direct)}")  # noqa: T201
    print(f"{uid}: through the service {sent.total()} {dict(sent)}, shared {shared.total()} {dict(shared)}")  # noqa: T201

    assert shared_direct == direct
    assert sent.total() < direct.total()
    assert shared.total() < sent.total()
    assert sent["label"] <= direct["lists"] / 2
