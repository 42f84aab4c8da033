"""The stand-alone application: `uvicorn gatewayz_metrics.main:app`."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from gatewayz_metrics.errors import MethodNotAllowed, RequestError, UnknownRoute
from gatewayz_metrics.host_settings import warn_of_unknown_settings
from gatewayz_metrics.http.cors import allow_origins
from gatewayz_metrics.http.front import WarmFront, WarmMiddleware
from gatewayz_metrics.http.request_id import add_request_id
from gatewayz_metrics.http.route import add_routes, render_json_error, requested_path
from gatewayz_metrics.http.route_index import index_routes
from gatewayz_metrics.json_datasource.routes import create_json_datasource_router
from gatewayz_metrics.metrics_api.routes import PREFIX, create_metrics_router
from gatewayz_metrics.operations.routes import create_operations_router
from gatewayz_metrics.prometheus_api.routes import create_prometheus_router
from gatewayz_metrics.service import Service, ServiceProvider
from gatewayz_metrics.settings import Settings, read_settings
from gatewayz_metrics.siblings import Siblings
from gatewayz_metrics.telemetry import Telemetry

log = logging.getLogger(__name__)

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SURFACES = (f"the metrics routes below {PREFIX}", "the Prometheus API at /api/v1", "the JSON datasource at /")


def create_app(
    settings: Settings | None = None, *, siblings: Siblings | None = None, announces: bool = True
) -> FastAPI:
    """The application with all its routes; without settings it reads the environment when it starts, not before.

    `siblings` are the workers that serve with this one, of which one alone `announces` what is served. Start-up raises
    ConfigurationError when a setting or the catalogue cannot be used.
    """

    def create(telemetry: Telemetry) -> Service:
        if settings is None:
            warn_of_unknown_settings()
        service = Service(settings or read_settings(), telemetry)
        service.watch_upstream()
        if announces:
            service.announce(_SURFACES, public=service.settings.host not in _LOOPBACK)
            log.info("The upstream is asked with %s.", service.settings.http_library)
        return service

    services = ServiceProvider(create, siblings=siblings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        allow_origins(app, services.get().settings.cors_origins)
        try:
            yield
        finally:
            await services.aclose()

    app = FastAPI(
        title="GatewayZ Metrics",
        version=version("gatewayz-metrics"),
        lifespan=lifespan,
        # The operations router serves the schema, behind the same tokens as everything else.
        openapi_url=None,
        # A redirect would carry the Host header of whoever asks, and needs no token.
        redirect_slashes=False,
    )
    # For the server, which counts what it refuses before any route, and gets the signals.
    app.state.services = services
    front = WarmFront(services)
    app.add_middleware(WarmMiddleware, front=front)
    # The server asks there first.
    app.state.warm_front = front
    add_routes(app, create_metrics_router(services))
    add_routes(app, create_operations_router(services))
    add_routes(app, create_prometheus_router(services))
    add_routes(app, create_json_datasource_router(services))
    index_routes(app)
    app.add_exception_handler(HTTPException, _render_http_exception)
    return app


def _render_http_exception(request: Request, exc: Exception) -> Response:
    """What Starlette answers outside our routes, in our words."""
    assert isinstance(exc, HTTPException)  # noqa: S101  # the handler is registered for nothing else
    if exc.status_code == 405:
        error: RequestError = MethodNotAllowed(request.method, (exc.headers or {}).get("Allow", "GET"))
    elif exc.status_code == 404:
        error = UnknownRoute(f"There is no {requested_path(request)}; {PREFIX}/docs lists what there is.")
    else:
        error = RequestError(f"{exc.detail}.")
    response = render_json_error(error, request)
    add_request_id(response, request)
    return response


app = create_app()
