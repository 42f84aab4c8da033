"""The routes inside somebody else's FastAPI application.

The routes exist as soon as `setup_prometheus_routes(app)` returns. Nothing more is needed; to have
the connections closed at a moment of the host's own choice, or faults logged at its start:

    async with setup_prometheus_routes(app): yield    in a lifespan
    await setup_prometheus_routes(app)                in a lifespan or in a start-up event
"""

import logging
from collections.abc import Generator, Iterator
from enum import Enum
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.types import Scope

from gatewayz_metrics.http.route import add_routes
from gatewayz_metrics.json_datasource.routes import create_json_datasource_router
from gatewayz_metrics.metrics_api.routes import PREFIX, create_metrics_router
from gatewayz_metrics.operations.purge import create_purge_router
from gatewayz_metrics.prometheus_api.routes import create_prometheus_router
from gatewayz_metrics.service import Service, ServiceProvider, create_embedded_service
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry

log = logging.getLogger(__name__)


class ApiPolicy(Enum):
    """When the Prometheus API is served that nobody named a prefix for."""

    WITH_TOKENS = "at the root, where API tokens are set"


class MountedRoutes:
    """Routers that stand in front of an application's own routes until they are removed."""

    def __init__(self, app: FastAPI, *routers: APIRouter) -> None:
        entries = app.router.routes
        before = list(entries)
        for router in routers:
            add_routes(app, router)
        self._app = app
        self._added = [entry for entry in entries if entry not in before]
        self.restore()

    def restore(self) -> None:
        """Put the routes in front of all others."""
        # A host's catch-all or mount at "/" may stand earlier and would take every request.
        entries = self._app.router.routes
        entries[:] = self._added + [entry for entry in entries if entry not in self._added]
        self._app.openapi_schema = None

    def remove(self) -> None:
        """Give the application its own routes back."""
        self._app.router.routes[:] = [entry for entry in self._app.router.routes if entry not in self._added]
        self._app.openapi_schema = None


class Installation:
    """The metrics routes in a host application: there from the call on; await it or enter it if you like."""

    def __init__(
        self,
        app: FastAPI,
        settings: Settings | None,
        prometheus_url: str | None,
        prometheus_api: str | ApiPolicy | None,
        json_datasource: str | None,
    ) -> None:
        self._app = app
        self._prometheus_api = prometheus_api
        self._json_datasource = json_datasource

        def create(telemetry: Telemetry) -> Service:
            service = create_embedded_service(telemetry, settings, prometheus_url)
            self._announce(service)
            return service

        self._services = ServiceProvider(create, in_host=True)
        self._routes = MountedRoutes(app, *self._routers())
        app.state.gatewayz_metrics = self
        # Run by applications that use start-up and shutdown events; a lifespan leaves them alone.
        app.router.on_startup.append(self._start)
        app.router.on_shutdown.append(self._services.aclose)

    def __await__(self) -> Generator[Any, None, "Installation"]:
        return self._start().__await__()

    async def __aenter__(self) -> "Installation":
        return await self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Take the routes out and close the connections; again is harmless."""
        self._routes.remove()
        if getattr(self._app.state, "gatewayz_metrics", None) is self:
            self._app.state.gatewayz_metrics = None
        await self._services.aclose()

    async def _start(self) -> "Installation":
        """Make the service now, in this event loop, so that a fault is logged at the start."""
        self._app.state.gatewayz_metrics = self
        self._routes.restore()
        self._services.get()
        return self

    def _routers(self) -> Iterator[APIRouter]:
        yield create_metrics_router(self._services)
        match self._prometheus_api:
            case ApiPolicy.WITH_TOKENS:
                yield create_purge_router(self._services, condition=self._has_tokens)
                yield create_prometheus_router(self._services, catch_all=False, condition=self._has_tokens)
            case str(path):
                prefix = _prefix(path)
                yield create_purge_router(self._services, prefix)
                # At the root the host may have an /api/v1 of its own, which stays reachable.
                yield create_prometheus_router(self._services, prefix, catch_all=bool(prefix))
        if self._json_datasource is not None:
            yield create_json_datasource_router(self._services, _prefix(self._json_datasource))

    def _has_tokens(self, _scope: Scope) -> bool:
        return not self._services.get().tokens.open

    def _announce(self, service: Service) -> None:
        """Log what is served, where and to whom, and what is not."""
        surfaces = [f"the metrics routes below {PREFIX}"]
        match self._prometheus_api:
            case ApiPolicy.WITH_TOKENS if service.tokens.open:
                log.warning(
                    "The Prometheus API is not served: it would be open to everybody. To serve it set "
                    'GATEWAYZ_METRICS_API_TOKENS, or name where: prometheus_api="/prometheus"; None ends this warning.'
                )
            case ApiPolicy.WITH_TOKENS:
                surfaces.append("the Prometheus API at /api/v1")
            case str(path):
                surfaces.append(f"the Prometheus API at {_prefix(path)}/api/v1")
        if self._json_datasource is not None:
            surfaces.append(f"the JSON datasource at {_prefix(self._json_datasource) or '/'}")
        # Where the host listens is not known here.
        service.announce(surfaces, public=True)


def _prefix(path: str) -> str:
    return f"/{stripped}" if (stripped := path.strip("/")) else ""


def setup_prometheus_routes(
    app: FastAPI,
    *,
    prometheus_url: str | None = None,
    settings: Settings | None = None,
    prometheus_api: str | ApiPolicy | None = ApiPolicy.WITH_TOKENS,
    json_datasource: str | None = None,
) -> Installation:
    """Serve the eight metrics routes from `app`, from this call on.

    The result may be awaited or entered with `async with`; neither is needed. Settings are read, and
    connections made, in the event loop: at the application's start, or else at the first request.

    The Prometheus API is served under the prefix `prometheus_api`, such as "/prometheus", or at the root for "".
    Without a prefix it is served at the root, and only where API tokens are set; None leaves it out.
    Beside it `POST /-/purge` makes the service forget what it keeps; without API tokens it is closed.
    The JSON datasource is served under the prefix `json_datasource`, such as "/grafana", and only when it is given.

    Settings are `settings` as they are, or else those of the environment and `.env`, named
    GATEWAYZ_METRICS_<NAME>, with `prometheus_url` above both. Values that cannot be used never stop the host:
    defaults take their place, or the routes say what is wrong. No answer is a 5xx.
    Calling it twice is harmless: the first installation stays.
    """
    present: Installation | None = getattr(app.state, "gatewayz_metrics", None)
    return present or Installation(app, settings, prometheus_url, prometheus_api, json_datasource)
