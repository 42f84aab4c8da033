"""Whole answers: shared while they are under way, kept while they are true."""

import asyncio
from dataclasses import dataclass, field

import pytest
from gatewayz_metrics import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint
from gatewayz_metrics.upstream.response import Vector
from gatewayz_metrics.upstream.response_cache import ResponseCache

GOOD = ApiResponse(200, b'{"status":"success","data":[]}')
CALL = ApiRequest(Endpoint.LABELS)


@dataclass
class Source:
    """An upstream whose answers the test holds."""

    answer: ApiResponse = GOOD
    calls: int = 0
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def forward(self, call: ApiRequest) -> ApiResponse:  # noqa: ARG002
        self.calls += 1
        await self.free.wait()
        return self.answer

    async def instant(self, query: str, time: float | None = None) -> Vector:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


def answers(source: Source, *, keeps: bool = True) -> tuple[ResponseCache, Telemetry]:
    telemetry = Telemetry()
    return ResponseCache(QueryLimiter(source, Settings()), telemetry, keeps=keeps), telemetry


def counted(telemetry: Telemetry, result: str) -> float:
    return (
        telemetry.registry.get_sample_value(
            "gatewayz_metrics_cache_lookups_total", {"cache": "responses", "result": result}
        )
        or 0.0
    )


def test_each_caller_is_counted_for_what_it_met() -> None:
    async def ask() -> tuple[int, list[float]]:
        source = Source()
        found, telemetry = answers(source)
        under_way = [asyncio.ensure_future(found.get(CALL, 30)) for _ in range(3)]
        await asyncio.sleep(0)
        source.free.set()
        await asyncio.gather(*under_way)
        await found.get(CALL, 30)
        return source.calls, [counted(telemetry, result) for result in ("miss", "coalesced", "hit")]

    assert asyncio.run(ask()) == (1, [1.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("answer", "seconds", "keeps", "calls"),
    [
        pytest.param(GOOD, 30, True, 1, id="good"),
        pytest.param(ApiResponse(204, b""), 30, True, 1, id="nothing"),
        pytest.param(GOOD, 0, True, 2, id="not to be kept"),
        pytest.param(GOOD, 30, False, 2, id="turned off"),
        pytest.param(ApiResponse(200, GOOD.body, cacheable=False), 30, True, 2, id="no-store"),
        pytest.param(ApiResponse(200, GOOD.body[:-1] + b',"warnings":["w"]}'), 30, True, 2, id="warnings"),
        pytest.param(ApiResponse(200, GOOD.body[:-1] + b',"isPartial":true}'), 30, True, 2, id="partial"),
        pytest.param(ApiResponse(200, b'{"status":"success","data":[{"a":"b"}'), 30, True, 2, id="cut between braces"),
        pytest.param(ApiResponse(200, b'{"status":"error"}'), 30, True, 2, id="error within a 200"),
        pytest.param(ApiResponse(400, b'{"status":"error"}', cacheable=False), 30, True, 1, id="parse error"),
        pytest.param(ApiResponse(422, b'{"status":"error"}', cacheable=False), 30, True, 2, id="too costly"),
        pytest.param(ApiResponse(503, b'{"status":"error"}', cacheable=False), 30, True, 2, id="overloaded"),
        pytest.param(
            ApiResponse(200, b'{"status":"success","data":"%b"}' % (b"x" * 2**25)), 30, True, 2, id="too large"
        ),
    ],
)
def test_only_what_stays_true_is_kept(answer: ApiResponse, seconds: float, *, keeps: bool, calls: int) -> None:
    async def ask_twice() -> int:
        source = Source(answer)
        source.free.set()
        found, _ = answers(source, keeps=keeps)
        await found.get(CALL, seconds)
        await found.get(CALL, seconds)
        return source.calls

    assert asyncio.run(ask_twice()) == calls
