"""The stand-alone application: `uvicorn gatewayz_metrics.main:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from gatewayz_metrics.errors import MethodNotAllowed, RequestError, UnknownRoute
from gatewayz_metrics.http.cors import Cors
from gatewayz_metrics.integration import MountedRoutes
from gatewayz_metrics.json_datasource.routes import json_datasource_router
from gatewayz_metrics.metrics_api.routes import PREFIX, metrics_router, speak
from gatewayz_metrics.operations.routes import operations_router
from gatewayz_metrics.prometheus_api.routes import prometheus_router
from gatewayz_metrics.service import Service
from gatewayz_metrics.settings import Settings, read_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; without settings it reads the environment when it starts, not before.

    Start-up raises ConfigurationError when a setting or the catalogue cannot be used.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = Service(settings or read_settings())
        parts = (service.layer, service.tokens, service.telemetry)
        app.state.cors_origins = service.settings.cors_origins
        routes = MountedRoutes(
            app,
            metrics_router(*parts),
            operations_router(*parts),
            prometheus_router(service),
            json_datasource_router(service),
        )
        try:
            yield
        finally:
            routes.remove()
            await service.aclose()

    app = FastAPI(
        title="GatewayZ Metrics",
        version=version("gatewayz-metrics"),
        lifespan=lifespan,
        # The operations router serves the schema, behind the same tokens as everything else.
        openapi_url=None,
        # A redirect would carry the Host header of whoever asks, and is as far as a stranger comes without a token.
        redirect_slashes=False,
    )
    app.add_middleware(Cors)
    app.add_exception_handler(HTTPException, _no_such_route)
    return app


def _no_such_route(request: Request, exc: Exception) -> Response:
    """What Starlette answers outside our routes, in our words."""
    assert isinstance(exc, HTTPException)  # noqa: S101  # the handler is registered for nothing else
    if exc.status_code == 405:
        return speak(MethodNotAllowed(request.method, (exc.headers or {}).get("Allow", "GET")))
    if exc.status_code == 404:
        # Not from `request.url`, which fails on a query string that is no UTF-8.
        path = request.scope["path"][:100]
        return speak(UnknownRoute(f"There is no {path}; {PREFIX}/docs lists what there is."))
    return speak(RequestError(f"{exc.detail}."))


app = create_app()
