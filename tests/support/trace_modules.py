"""Which modules one request goes through: `python -m tests.support.trace_modules` prints a table.

A module is entered when a function of it is called or a coroutine of it goes on. A move is such a
call whose nearest caller within the package stands in another module. The application runs in this
process over a fake upstream; what is measured is the path, so the numbers do not depend on the machine.
"""

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType

from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, create_app

from tests.support.fake_upstream import Exchange, FakeUpstream, one_each, vector_body

PACKAGE = "gatewayz_metrics."
LABELS = {"job": "gateway", "instance": "10.0.0.1:8000"}
# A fixed hour long ago: all of it is old enough for the range cache.
BEGIN, END, STEP = 1_760_000_400, 1_760_004_000, 15


@dataclass
class Trace:
    """How often each module was called while recording, and how many moves led from one to another."""

    calls: Counter[str] = field(default_factory=Counter)
    moves: int = 0
    recording: bool = False

    def enter(self, frame: FrameType) -> None:
        """Count a call of a function, if the function is one of the package."""
        if self.recording and (module := _module_of(frame)):
            self.calls[module] += 1
            self.moves += _nearest_caller(frame) not in (module, "")


def _module_of(frame: FrameType) -> str:
    """The module of the package that a function stands in, or nothing."""
    name: str = frame.f_globals.get("__name__", "")
    return name.removeprefix(PACKAGE) if name.startswith(PACKAGE) else ""


def _nearest_caller(frame: FrameType) -> str:
    """The module of the nearest function of the package up the stack, or nothing."""
    above = frame.f_back
    while above is not None:
        if module := _module_of(above):
            return module
        above = above.f_back
    return ""


def answer(exchange: Exchange) -> None:
    """One series for everything: a matrix for a range query, a vector else."""
    request = exchange.request
    if request.path.endswith("/query_range"):
        start, end = (int(float(request.form[name][0])) for name in ("start", "end"))
        series = {"metric": LABELS, "values": [[time, "1.5"] for time in range(start, end + 1, STEP)]}
        data = {"resultType": "matrix", "result": [series]}
        exchange.reply(json.dumps({"status": "success", "data": data}, separators=(",", ":")).encode())
    else:
        exchange.reply(one_each(request) if request.parts else vector_body([(LABELS, "1.5")]))


def panel_query(promql: str) -> dict[str, object]:
    """A body of `/query` with one target."""
    return {
        "range": {"from": f"{BEGIN * 1000}", "to": f"{END * 1000}"},
        "intervalMs": STEP * 1000,
        "maxDataPoints": 1000,
        "targets": [{"refId": "A", "target": promql}],
    }


PROMQL = "sum by (job) (rate(fastapi_requests_total[5m]))"


class Tracer:
    """Sends requests to an application and keeps the trace of those that have a name."""

    def __init__(self) -> None:
        self.traces: dict[str, Trace] = {}
        self._current = Trace()

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """What the interpreter calls at every call and return of a function."""
        if event == "call":
            self._current.enter(frame)

    def ask(self, client: TestClient, method: str, path: str, body: object = None, *, name: str = "") -> None:
        """One request, traced when it has a name."""
        self._current = Trace(recording=bool(name))
        response = client.request(method, path, json=body)
        assert response.status_code == 200, response.text
        if name:
            self._current.recording = False
            self.traces[name] = self._current


def trace_requests() -> dict[str, Trace]:
    """The trace of each request, by its name."""
    tracer = Tracer()
    # The application runs in a thread of the client, which has to be profiled from its beginning.
    threading.setprofile(tracer.profile)
    try:
        with FakeUpstream(answer) as upstream, TestClient(create_app(Settings(prometheus_url=upstream.url))) as client:
            for name in ("", "instant query, cached"):
                tracer.ask(client, "GET", f"/api/v1/query?query=up&time={BEGIN}", name=name)
            # Another text first: what is built once per process is no part of the path.
            # The second time is not noted: whoever asks before the points are kept has that done first.
            for name, text in (
                ("", "up"),
                ("/query, PromQL text", PROMQL),
                ("", PROMQL),
                ("/query, the same again", PROMQL),
            ):
                tracer.ask(client, "POST", "/query", panel_query(text), name=name)
            for name in ("", "summary, warm"):
                tracer.ask(client, "GET", "/prometheus/metrics/summary", name=name)
    finally:
        threading.setprofile(None)
    return tracer.traces


def render_traces(traces: dict[str, Trace]) -> Iterator[str]:
    """A table of the numbers, and below it the modules of each request by how often they were called."""
    yield f"{'request':<26}{'modules':>8}{'moves':>8}{'calls':>8}"
    for name, trace in traces.items():
        yield f"{name:<26}{len(trace.calls):>8}{trace.moves:>8}{trace.calls.total():>8}"
    for name, trace in traces.items():
        yield f"\n{name}: " + ", ".join(f"{module} {calls}" for module, calls in trace.calls.most_common())


if __name__ == "__main__":
    sys.stdout.write("\n".join(render_traces(trace_requests())) + "\n")
