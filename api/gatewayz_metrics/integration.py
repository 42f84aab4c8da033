"""The routes inside somebody else's FastAPI application.

Three ways, one implementation:

    async with setup_prometheus_routes(app): yield    in a lifespan; closes its connections
    await setup_prometheus_routes(app)                in a lifespan; the process' end closes them
    await setup_prometheus_routes(app)                in a start-up event; the shutdown event closes them
"""

import asyncio
from collections.abc import Generator, Iterator
from typing import Any

from fastapi import APIRouter, FastAPI

from gatewayz_metrics.json_datasource.routes import json_datasource_router
from gatewayz_metrics.metrics_api.routes import metrics_router
from gatewayz_metrics.prometheus_api.routes import prometheus_router
from gatewayz_metrics.service import Service, create_embedded_service
from gatewayz_metrics.settings import Settings


class MountedRoutes:
    """Routers that stand in front of an application's own routes until they are removed."""

    def __init__(self, app: FastAPI, *routers: APIRouter) -> None:
        entries = app.router.routes
        before = list(entries)
        for router in routers:
            app.include_router(router)
        self._app = app
        self._added = [entry for entry in entries if entry not in before]
        # A host's catch-all or mount at "/" stands earlier and would take every request.
        entries[:] = self._added + before
        app.openapi_schema = None

    def remove(self) -> None:
        """Give the application its own routes back."""
        self._app.router.routes[:] = [entry for entry in self._app.router.routes if entry not in self._added]
        self._app.openapi_schema = None


class Installation:
    """The metrics routes in a host application: await it, or enter it as a context."""

    def __init__(
        self,
        app: FastAPI,
        settings: Settings | None,
        prometheus_url: str | None,
        prometheus_api: str | None,
        json_datasource: str | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._prometheus_url = prometheus_url
        self._prometheus_api = prometheus_api
        self._json_datasource = json_datasource
        self._service: Service | None = None
        self._routes: MountedRoutes | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def __await__(self) -> Generator[Any, None, "Installation"]:
        return self._start().__await__()

    async def __aenter__(self) -> "Installation":
        return await self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Take the routes out and close the connections; again is harmless."""
        service, self._service = self._service, None
        self.leave()
        if service is not None:
            await service.aclose()

    async def _start(self) -> "Installation":
        """This installation, or the one that already serves the application."""
        present: Installation | None = getattr(self._app.state, "gatewayz_metrics", None)
        if present is not None:
            if present.loop is asyncio.get_running_loop():
                return present
            # The application was started before, in a loop that has ended with its connections.
            present.leave()
        self.loop = asyncio.get_running_loop()
        self._service = create_embedded_service(self._settings, self._prometheus_url)
        service = self._service
        self._routes = MountedRoutes(self._app, *self._routers(service))
        self._app.state.gatewayz_metrics = self
        # Run by applications that use start-up and shutdown events; a lifespan leaves it alone.
        self._app.router.on_shutdown.append(self.aclose)
        return self

    def _routers(self, service: Service) -> Iterator[APIRouter]:
        yield metrics_router(service.layer, service.tokens, service.telemetry)
        if self._prometheus_api is not None:
            path = self._prometheus_api.strip("/")
            # At the root the host may have an /api/v1 of its own, which stays reachable.
            yield prometheus_router(service, f"/{path}" if path else "", alone=bool(path))
        if self._json_datasource is not None:
            path = self._json_datasource.strip("/")
            yield json_datasource_router(service, f"/{path}" if path else "")

    def leave(self) -> None:
        """Take the routes out of the application."""
        if self._routes is not None:
            self._routes.remove()
            self._routes = None
        if getattr(self._app.state, "gatewayz_metrics", None) is self:
            self._app.state.gatewayz_metrics = None


def setup_prometheus_routes(
    app: FastAPI,
    *,
    prometheus_url: str | None = None,
    settings: Settings | None = None,
    prometheus_api: str | None = "",
    json_datasource: str | None = None,
) -> Installation:
    """Serve the eight metrics routes from `app`; await the result, or `async with` it.

    The Prometheus API is served under the prefix `prometheus_api`: at the root by default, None leaves it out.
    The JSON datasource is served under the prefix `json_datasource`, such as "/grafana", and only when it is given.

    Settings are `settings` as they are, or else those of the environment and `.env`,
    with `prometheus_url` above both. Values that cannot be used never stop the host: the
    routes then say what is wrong. Calling it twice is harmless.
    """
    return Installation(app, settings, prometheus_url, prometheus_api, json_datasource)
