"""A range cache over a real engine, with a clock that tests move and an upstream that remembers what it was asked."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gatewayz_metrics import Settings
from gatewayz_metrics.range_cache import RangeAnswer, RangeCache, RangeQuery
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import UpstreamClient
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint
from gatewayz_metrics.upstream.response import Vector

FRESHNESS = 30
TTL = 600


@dataclass
class Clock:
    """The moment that the cache believes in."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass
class Recording:
    """A source that notes each call on its way."""

    source: UpstreamClient
    calls: list[ApiRequest] = field(default_factory=list)

    async def forward(self, call: ApiRequest) -> ApiResponse:
        self.calls.append(call)
        return await self.source.forward(call)

    async def instant(self, query: str, time: float | None = None) -> Vector:
        return await self.source.instant(query, time)

    async def aclose(self) -> None:
        await self.source.aclose()


@dataclass
class Rig:
    """The cache with everything around it."""

    ranges: RangeCache
    source: Recording
    clock: Clock
    runner: asyncio.Runner
    settings: Settings
    telemetry: Telemetry

    def ask(self, question: RangeQuery) -> RangeAnswer:
        return self.runner.run(self.ranges.answer(question))

    def ask_all(self, questions: list[RangeQuery]) -> list[RangeAnswer]:
        async def together() -> list[RangeAnswer]:
            return await asyncio.gather(*(self.ranges.answer(question) for question in questions))

        return self.runner.run(together())

    def direct(self, question: RangeQuery) -> ApiResponse:
        """What the engine itself says, asked for everything."""
        span = question.range
        times = (("start", f"{span.start_ms / 1000:.3f}"), ("end", f"{span.end_ms / 1000:.3f}"))
        pairs = (("query", question.query), *times, ("step", f"{span.step_ms}ms"), *question.extra)
        return self.runner.run(
            self.source.source.forward(ApiRequest(Endpoint.QUERY_RANGE, pairs, tenant=question.tenant))
        )

    def restart(self) -> None:
        """The service anew: nothing is known."""
        gate = QueryLimiter(self.source, self.settings)
        self.ranges = RangeCache(gate, self.settings, self.telemetry, now=self.clock, clock=self.clock)


@contextmanager
def rig(url: str, now: float, **settings: Any) -> Iterator[Rig]:
    """A cache over the engine at a URL."""
    found = Settings(prometheus_url=url, cache_freshness=FRESHNESS, cache_range_ttl=TTL, **settings)
    telemetry, clock = Telemetry(), Clock(now)
    with asyncio.Runner() as runner:

        async def connected() -> UpstreamClient:
            return UpstreamClient(found, telemetry)

        source = Recording(runner.run(connected()))
        gate = QueryLimiter(source, found)
        ranges = RangeCache(gate, found, telemetry, now=clock, clock=clock)
        try:
            yield Rig(ranges, source, clock, runner, found, telemetry)
        finally:
            runner.run(source.aclose())


def told(answer: ApiResponse | RangeAnswer) -> tuple[int, Any]:
    """Status and JSON, without what is about this one evaluation."""
    document = json.loads(answer.body)
    if isinstance(document.get("data"), dict):
        document["data"].pop("stats", None)
    return answer.status, document
