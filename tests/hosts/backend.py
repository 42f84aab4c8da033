"""A host application in the shape of the GatewayZ backend: its middleware in its order, its own pages, a catch-all."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from prometheus_client import CollectorRegistry, Counter, generate_latest
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

OWN_PAGES = {
    "/metrics": "host_requests_total",
    "/health": "healthy",
    "/v1/models": "gpt-4",
    "/anything/else": "catch-all: anything/else",
}

Proceed = Callable[[Request], Awaitable[Response]]


class OneAtATime:
    """A gate that holds requests back, and a deadline: plain ASGI, as the backend has them."""

    def __init__(self, app: ASGIApp, places: int, seconds: float) -> None:
        self._app = app
        self._places = places
        self._seconds = seconds
        self._gate: asyncio.Semaphore | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._gate = self._gate or asyncio.Semaphore(self._places)
        async with self._gate:
            await asyncio.wait_for(self._app(scope, receive, send), self._seconds)


class Signed(BaseHTTPMiddleware):
    """Every answer gets an identifier, through Starlette's base class, which replaces request and answer streams."""

    async def dispatch(self, request: Request, call_next: Proceed) -> Response:
        answer = await call_next(request)
        answer.headers["X-Request-ID"] = str(uuid4())
        return answer


class Counted(BaseHTTPMiddleware):
    """Requests are counted by the template of their route, for the page `/metrics`."""

    def __init__(self, app: ASGIApp, counter: Counter) -> None:
        super().__init__(app)
        self._counter = counter

    async def dispatch(self, request: Request, call_next: Proceed) -> Response:
        answer = await call_next(request)
        template = getattr(request.scope.get("route"), "path", request.url.path)
        self._counter.labels(template, str(answer.status_code)).inc()
        return answer


def dress(app: FastAPI) -> None:
    """Put the backend's own things into an application. Middleware that is added last is outermost."""
    registry = CollectorRegistry()
    counter = Counter("host_requests", "Requests by route.", ["path", "status"], registry=registry)
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    app.add_middleware(Counted, counter=counter)
    app.add_middleware(CORSMiddleware, allow_origins=["https://gatewayz.ai"], allow_credentials=True)
    app.add_middleware(Signed)
    app.add_middleware(OneAtATime, places=1, seconds=55)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; charset=utf-8")

    @app.get("/health")
    async def health() -> str:
        return "healthy"

    models = APIRouter(prefix="/v1")

    @models.get("/models")
    async def list_models() -> list[str]:
        return ["gpt-4"]

    app.include_router(models)

    @app.api_route("/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def anything(path: str) -> str:
        return f"catch-all: {path}"
