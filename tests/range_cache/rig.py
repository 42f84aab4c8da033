"""A range cache over a real engine, with a clock that tests move and an upstream that remembers what it was asked."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from gatewayz_metrics import Settings
from gatewayz_metrics.range_cache import RangeAnswer, RangeCache, RangeQuery
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import UpstreamClient
from gatewayz_metrics.upstream.clock import TrustedClock
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
    """A source that notes each call on its way, and whose answers carry the Date that the test says."""

    source: UpstreamClient
    trusted: TrustedClock
    calls: list[ApiRequest] = field(default_factory=list)
    # The upstream's clock in Unix seconds; None is an upstream that sends no Date.
    dated: Callable[[], float | None] = lambda: None

    async def forward(self, call: ApiRequest) -> ApiResponse:
        self.calls.append(call)
        answer = await self.source.forward(call)
        if (now := self.dated()) is not None:
            self.trusted.note_date(formatdate(now, usegmt=True))
        return answer

    async def instant(self, query: str, time: float | None = None) -> Vector:
        return await self.source.instant(query, time)

    async def aclose(self) -> None:
        await self.source.aclose()


@dataclass
class Rig:
    """The cache with everything around it."""

    ranges: RangeCache
    source: Recording
    # The wall clock, and the one that only goes on; they are one until a test gives each its own.
    clock: Clock
    monotonic: Clock
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
        self.source.trusted = TrustedClock(self.telemetry, wall=self.clock, monotonic=self.monotonic)
        gate = QueryLimiter(self.source, self.settings)
        self.ranges = RangeCache(gate, self.settings, self.telemetry, self.source.trusted)


@contextmanager
def rig(url: str, now: float, *, monotonic: Clock | None = None, **settings: Any) -> Iterator[Rig]:
    """A cache over the engine at a URL."""
    found = Settings(prometheus_url=url, cache_freshness=FRESHNESS, cache_range_ttl=TTL, **settings)
    telemetry, clock = Telemetry(), Clock(now)
    with asyncio.Runner() as runner:

        async def connected() -> UpstreamClient:
            return UpstreamClient(found, telemetry)

        trusted = TrustedClock(telemetry, wall=clock, monotonic=monotonic or clock)
        source = Recording(runner.run(connected()), trusted)
        ranges = RangeCache(QueryLimiter(source, found), found, telemetry, trusted)
        try:
            yield Rig(ranges, source, clock, monotonic or clock, runner, found, telemetry)
        finally:
            runner.run(source.aclose())


def told(answer: ApiResponse | RangeAnswer) -> tuple[int, Any]:
    """Status and JSON, without what is about this one evaluation."""
    document = json.loads(answer.body)
    if isinstance(document.get("data"), dict):
        document["data"].pop("stats", None)
    return answer.status, document
