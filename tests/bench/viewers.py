"""What a crowd costs the upstream: requests a second against the number of viewers of one dashboard.

`python -m tests.bench.viewers` drives the service's own caches over an upstream that only counts. Time is simulated:
the event loop jumps to whatever comes next, so a minute of ten thousand viewers takes some seconds. Each viewer opens
the dashboard at a moment of its own and refreshes it every half minute; panels ask as Grafana does, a range that ends
at the last whole step. Questions that fall together share one answer for as long as the upstream takes.
"""

import argparse
import asyncio
import json
import random
import selectors
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from gatewayz_metrics.catalogue import load
from gatewayz_metrics.prometheus_api.parameters import RequestParams, parse_range
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.query import QueryLayer
from gatewayz_metrics.range_cache import RangeCache, RangeQuery
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.clock import TrustedClock
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint
from gatewayz_metrics.upstream.response import Vector
from gatewayz_metrics.upstream.response_cache import ResponseCache

from dashboards.generate import ROOT

DASHBOARD = ROOT / "grafana/dashboards/gatewayz/gw-overview.json"
VIEWERS = (1, 10, 100, 1_000, 10_000)
REFRESH = 30.0
# The dashboard's range, and the step that a panel of 800 pixels gets for it.
RANGE_MS, STEP_MS = 6 * 3600 * 1000, 30_000
# When it begins, in Unix seconds.
_EPOCH = 1_760_000_000.0
_SERIES = 4
_MACROS = {
    "$__rate_interval": "1m",
    "$__range": "21600s",
    "$__interval": "30s",
    "$env": "production",
    "$app": ".*",
}


@dataclass
class SimulatedClock:
    """A clock that goes on only when nothing can be done before."""

    now: float = _EPOCH

    def __call__(self) -> float:
        return self.now


class JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting it puts the clock forward."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Nothing ever arrives: there is no network in it."""
        # A little more, as the loop takes what is due within its resolution.
        self._clock.now += (timeout or 0.0) + 1e-6
        return []


@dataclass
class CountingUpstream:
    """Answers after a while, and counts what it was asked."""

    seconds: float
    asked: Counter[str] = field(default_factory=Counter)

    async def forward(self, call: ApiRequest) -> ApiResponse:
        """An envelope as an engine would write it."""
        if call.endpoint is not Endpoint.QUERY_RANGE:
            return await self._after(
                "instant",
                b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[0,"1"]}]}}',
            )
        span = parse_range(RequestParams(call.parameters))
        assert span is not None
        values = [[at / 1000, "1.5"] for at in range(span.start_ms, span.end_ms + 1, span.step_ms)]
        series = [{"metric": {"n": str(number)}, "values": values} for number in range(_SERIES)]
        body = {"status": "success", "data": {"resultType": "matrix", "result": series}}
        return await self._after("range", json.dumps(body).encode())

    async def instant(self, *_: object, **__: object) -> Vector:
        """What the metrics routes ask."""
        await self._after("metrics routes", b"")
        return Vector({})

    async def _after(self, kind: str, body: bytes) -> ApiResponse:
        self.asked[kind] += 1
        await asyncio.sleep(self.seconds)
        return ApiResponse(200, body)


@dataclass(frozen=True)
class Panels:
    """What one refresh of the dashboard asks."""

    ranges: Sequence[QueryText]
    instants: Sequence[str]
    summaries: int

    @classmethod
    def read(cls) -> "Panels":
        """Those of the generated dashboard that ask the Prometheus API and the summary."""
        targets = list(_targets(json.loads(DASHBOARD.read_text("utf-8"))["panels"]))
        asked = [(_fill(target["expr"]), bool(target.get("instant"))) for target in targets if "expr" in target]
        return cls(
            [QueryText(text) for text, is_instant in asked if not is_instant],
            [text for text, is_instant in asked if is_instant],
            sum(target.get("url", "").endswith("/summary") for target in targets),
        )

    def __len__(self) -> int:
        return len(self.ranges) + len(self.instants) + self.summaries


def _targets(panels: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield from panel.get("targets", ())
        yield from _targets(panel.get("panels", ()))


def _fill(expression: str) -> str:
    for macro, text in _MACROS.items():
        expression = expression.replace(macro, text)
    return expression


class Crowd:
    """Viewers of one dashboard, over the caches of one process."""

    def __init__(self, panels: Panels, upstream: CountingUpstream, clock: SimulatedClock) -> None:
        settings, telemetry = Settings(prometheus_url="http://nowhere"), Telemetry()
        trusted = TrustedClock(telemetry, wall=clock, monotonic=clock)
        gate = QueryLimiter(upstream, settings)  # type: ignore[arg-type]  # the part of it that is asked
        self._panels = panels
        self._clock = clock
        self._ranges = RangeCache(gate, settings, telemetry, trusted)
        self._responses = ResponseCache(gate, settings, telemetry, trusted)
        self._layer = QueryLayer(
            load(),
            upstream,
            telemetry,
            cache_ttl=settings.cache_ttl,
            cache_stale=settings.cache_stale,
            clock=clock,
            now=clock,
        )

    async def watch(self, viewers: int, refreshes: int) -> None:
        """Everybody refreshes so many times."""
        # The same moments in every run.
        moments = random.Random(viewers)  # noqa: S311  # no secret
        await asyncio.gather(*(self._view(moments.uniform(0, REFRESH), refreshes) for _ in range(viewers)))

    async def _view(self, offset: float, refreshes: int) -> None:
        begun = self._clock.now + offset
        for number in range(refreshes):
            await asyncio.sleep(begun + number * REFRESH - self._clock.now)
            await asyncio.gather(*self._refresh())

    def _refresh(self) -> Iterator[Any]:
        now_ms = int(self._clock.now * 1000)
        end = now_ms // STEP_MS * STEP_MS
        span = TimeRange(end - RANGE_MS, end, STEP_MS)
        for text in self._panels.ranges:
            yield self._ranges.answer(RangeQuery(text.text, span, text=text))
        for query in self._panels.instants:
            parameters = (("query", query), ("time", f"{now_ms / 1000:.3f}"))
            yield self._responses.get(ApiRequest(Endpoint.QUERY, parameters))
        for _ in range(self._panels.summaries):
            yield self._layer.statistics()


@contextmanager
def simulated(clock: SimulatedClock) -> Iterator[asyncio.Runner]:
    """An event loop in which nothing takes time but waiting."""
    with (
        patch.object(time, "monotonic", clock),
        asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(JumpingSelector(clock))) as runner,
    ):
        yield runner


def count(viewers: int, seconds: float, panels: Panels) -> dict[str, float]:
    """Requests a second that reach the upstream, by kind, once everybody has seen the dashboard."""
    clock, upstream = SimulatedClock(), CountingUpstream(seconds)

    async def measure() -> dict[str, float]:
        crowd = Crowd(panels, upstream, clock)
        await crowd.watch(viewers, 1)
        upstream.asked.clear()
        begun = clock.now
        # Few viewers are watched for longer, so that their number is not a matter of chance.
        await crowd.watch(viewers, 10 if viewers < 1000 else 2)
        return {kind: number / (clock.now - begun) for kind, number in upstream.asked.items()}

    with simulated(clock) as runner:
        return runner.run(measure())


def describe(viewers: int, seconds: float, panels: Panels) -> str:
    """A row of the table."""
    found = count(viewers, seconds, panels)
    kinds = (found.get(kind, 0.0) for kind in ("range", "instant", "metrics routes"))
    numbers = (viewers * len(panels) / REFRESH, sum(found.values()), *kinds)
    return f"| {viewers:,} | {' | '.join(f'{number:,.1f}' for number in numbers)} |"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.02, help="seconds that the upstream takes")
    parser.add_argument("--viewers", type=int, nargs="*", default=VIEWERS)
    options = parser.parse_args()
    panels = Panels.read()
    print("| Viewers | They ask, a second | Upstream, a second | of these ranges | instant | metrics routes |")  # noqa: T201
    print("|---|---|---|---|---|---|")  # noqa: T201
    for viewers in options.viewers:
        print(describe(viewers, options.latency, panels), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
