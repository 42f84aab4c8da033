"""The stand-alone application over an upstream and clocks that the test moves, asked with and without its front."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from itertools import count
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from gatewayz_metrics import Settings
from gatewayz_metrics.errors import Unreachable, UpstreamError
from gatewayz_metrics.http.front import WarmFront, WarmMiddleware
from gatewayz_metrics.metrics_api.routes import create_metrics_router
from gatewayz_metrics.prometheus_api.routes import create_prometheus_router
from gatewayz_metrics.query import QueryLayer
from gatewayz_metrics.range_cache import RangeCache
from gatewayz_metrics.service import Service, ServiceProvider
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.clock import TrustedClock
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint
from gatewayz_metrics.upstream.response import SampleTable, Vector
from gatewayz_metrics.upstream.response_cache import ResponseCache
from gatewayz_metrics.watched_files import WatchedFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOW = 1_760_010_000.0
STEP = 15
# A settled moment.
END = int(NOW) - 1200

_PART = re.compile(r'"_part","([^"]+)"')
# What differs between equal answers, or is no count.
_UNCOUNTED = re.compile(r"_(seconds(_.*)?|created|bytes|skew.*)$")

Headers = Mapping[str, str]


@dataclass
class Clocks:
    """Our wall clock, the monotonic one, and how far the upstream's Date is from ours."""

    wall: float = NOW
    monotonic: float = 5000.0
    date_shift: float | None = None

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.monotonic += seconds


@dataclass
class Source:
    """An upstream no two of whose answers are the same."""

    clocks: Clocks
    trusted: TrustedClock
    down: bool = False
    # Series that an answer has.
    size: int = 2
    asked: int = 0
    # A question waits for it.
    free: asyncio.Event = field(default_factory=asyncio.Event)
    watched_files: tuple[WatchedFiles, ...] = ()
    _numbers: Iterable[int] = field(default_factory=lambda: count(1))

    async def forward(self, call: ApiRequest) -> ApiResponse:
        """A success whose values tell how many were given before."""
        number = await self._begin()
        match call.endpoint:
            case Endpoint.QUERY_RANGE:
                begin, end = (int(float(call.get(name) or "")) for name in ("start", "end"))
                values = [[at, f"{number}"] for at in range(begin, end + 1, STEP)]
                series = [{"metric": {"name": f"s{index}"}, "values": values} for index in range(self.size)]
                data: object = {"resultType": "matrix", "result": series}
            case Endpoint.QUERY if call.get("query") == "(":
                return ApiResponse(400, b'{"status":"error","errorType":"bad_data","error":"%d"}' % number)
            case Endpoint.QUERY:
                data = {"resultType": "vector", "result": [{"metric": {}, "value": [1, f"{number}"]}]}
            case Endpoint.BUILDINFO:
                data = {"version": f"3.{number}", "features": {}}
            case _:
                data = [f"name_{index}_{number}" for index in range(100 * self.size)]
        return ApiResponse(200, json.dumps({"status": "success", "data": data}, separators=(",", ":")).encode())

    async def instant(self, query: str, time: float | None = None) -> Vector:  # noqa: ARG002  # the protocol has it
        """One sample per part of the query."""
        number = await self._begin()
        parts = dict.fromkeys(_PART.findall(query))
        return Vector({part: [SampleTable((), [(f"{number}",)])] for part in parts})

    async def _begin(self) -> int:
        self.asked += 1
        await self.free.wait()
        if self.down:
            raise Unreachable("upstream:9090")
        if self.clocks.date_shift is not None:
            self.trusted.note_date(formatdate(self.clocks.wall + self.clocks.date_shift, usegmt=True))
        return next(iter(self._numbers))

    async def check(self, patience: float) -> UpstreamError | None:
        """Nobody asks."""
        raise NotImplementedError

    def watch(self) -> None:
        """Not needed."""

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Answered:
    """What came back for a request, and whether the framework has seen it."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    was_warm: bool = False

    @property
    def comparable(self) -> tuple[object, ...]:
        """All of it but the id of the request."""
        return self.status, tuple(each for each in self.headers if each[0] != b"x-request-id"), self.body

    def header(self, name: str) -> str | None:
        """The only header of a name."""
        found = [value.decode() for key, value in self.headers if key == name.encode()]
        assert len(found) <= 1
        return found[0] if found else None


@dataclass
class World:
    """One running service."""

    clocks: Clocks
    services: ServiceProvider
    service: Service
    source: Source
    app: FastAPI
    # Whether the last request has passed the server's own look, and whether it has reached the framework.
    passed: bool = False
    reached: bool = False
    # What happens before it does.
    before_route: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.front = WarmFront(self.services)
        self._middleware = WarmMiddleware(self._note, self.front)

    async def fronted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application behind its front."""
        self.passed = True
        await self._middleware(scope, receive, send)

    async def _note(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached = True
        if self.before_route is not None:
            self.before_route()
        await self.app(scope, receive, send)

    async def get(self, target: str, headers: Headers | None = None, *, front: bool = True) -> Answered:
        """The answer to a GET request; without the front it is the framework's."""
        return await self.ask_through(self.fronted if front else self.app, "GET", target, headers or {})

    async def post(self, target: str, *parts: bytes, headers: Headers | None = None, front: bool = True) -> Answered:
        """The answer to a POST request whose body arrives in parts."""
        length = str(sum(map(len, parts)))
        form = {"content-type": "application/x-www-form-urlencoded", "content-length": length}
        app = self.fronted if front else self.app
        return await self.ask_through(app, "POST", target, form | dict(headers or {}), parts)

    async def ask_through(
        self, app: ASGIApp, method: str, target: str, headers: Headers, parts: Iterable[bytes] = (b"",)
    ) -> Answered:
        """The answer that an application gives."""
        sent: list[Message] = []
        messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        messages[-1]["more_body"] = False

        async def receive() -> Message:
            return messages.pop(0) if messages else await asyncio.Future()

        async def send(message: Message) -> None:
            sent.append(message)

        self.passed = self.reached = False
        await app(make_scope(method, target, headers), receive, send)
        start, *bodies = sent
        body = bodies[0]["body"] if len(bodies) == 1 else b"".join(part["body"] for part in bodies)
        was_warm = app is not self.app and not self.reached
        return Answered(start["status"], tuple(start["headers"]), body, was_warm=was_warm)

    def counts(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """What the service has counted so far."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for metric in self.services.telemetry.registry.collect()
            for sample in metric.samples
            if not _UNCOUNTED.search(sample.name)
        }


def make_scope(method: str, target: str, headers: Headers) -> Scope:
    """The scope of a request as servers make it."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": query.encode(),
        "root_path": "",
        "client": ("192.0.2.1", 40000),
        "server": ("127.0.0.1", 8000),
        "headers": [(b"host", b"metrics"), *((name.encode(), value.encode()) for name, value in headers.items())],
    }


class _Parts:
    """The application, made once as that takes long, and what its next service is made of."""

    def __init__(self) -> None:
        self.services = ServiceProvider(self._create)
        self.app = FastAPI(openapi_url=None)
        self.app.include_router(create_metrics_router(self.services))
        self.app.include_router(create_prometheus_router(self.services))

    def begin(self, settings: dict[str, Any]) -> World:
        """A new service with some settings."""
        self._settings = Settings(prometheus_url="http://127.0.0.1:9", **settings)
        self._clocks = Clocks()
        service = self.services.get()
        return World(self._clocks, self.services, service, self._source, self.app)

    def _create(self, telemetry: Telemetry) -> Service:
        settings, clocks = self._settings, self._clocks
        service = Service(settings, telemetry)
        clock = TrustedClock(telemetry, wall=lambda: clocks.wall, monotonic=lambda: clocks.monotonic)
        self._source = source = Source(clocks, clock)
        source.free.set()
        limiter = QueryLimiter(source, settings)
        service.layer = QueryLayer(
            service.layer.catalogue,
            source,
            telemetry,
            cache_ttl=settings.cache_ttl,
            cache_stale=settings.cache_stale,
            now=lambda: clocks.wall,
            clock=lambda: clocks.monotonic,
        )
        service.responses = ResponseCache(limiter, settings, telemetry, clock)
        service.range_cache = RangeCache(limiter, settings, telemetry, clock)
        return service


_parts = cache(_Parts)


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    """A service with some settings, whose every part has the clocks of the test."""
    parts = _parts()
    try:
        yield parts.begin(settings)
    finally:
        await parts.services.aclose()
