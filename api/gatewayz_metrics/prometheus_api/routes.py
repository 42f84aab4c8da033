"""The Prometheus HTTP API, read-only: what Grafana's Prometheus datasource asks.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response

from gatewayz_metrics.errors import MethodNotAllowed, ReadOnly, ServiceError, UnknownRoute
from gatewayz_metrics.http.compression import compress
from gatewayz_metrics.http.route import count_refusal, headers_of, surface_route
from gatewayz_metrics.prometheus_api.envelope import render_error
from gatewayz_metrics.prometheus_api.handlers import ApiHandlers
from gatewayz_metrics.service import Service
from gatewayz_metrics.upstream.request import Endpoint

_EVERY_METHOD = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
_GET = ("GET",)
_BOTH = ("GET", "POST")
# Prometheus takes GET alone for some of these, and Grafana sends POST to them when its datasource says POST.
_METHODS = {
    Endpoint.METADATA: _GET,
    Endpoint.RULES: _GET,
    Endpoint.ALERTS: _GET,
}
# What writes or administers, and what would make Grafana offer to: it concludes from these very words that
# there is no ruler.
_WRITING = ("/api/v1/admin/{path:path}", "/api/v1/write", "/api/v1/otlp/{path:path}", "/api/v1/read", "/-/{path:path}")
_RULER = ("/rules", "/rules/{path:path}", "/config/v1/rules", "/config/v1/rules/{path:path}")
_UNKNOWN = ("/api/v1/{path:path}", "/debug/{path:path}", "/federate", "/classic/{path:path}", "/graph")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def prometheus_router(service: Service, prefix: str = "", *, alone: bool = True) -> APIRouter:
    """The API's paths under a prefix; not `alone`, every other path is left to whoever else is there."""
    telemetry = service.telemetry
    router = APIRouter(
        prefix=prefix,
        tags=["prometheus"],
        route_class=surface_route(telemetry, speaker(service), service.callers.check),
    )
    questions = ApiHandlers(service)

    def page_of(endpoint: Endpoint) -> Handler:
        async def read(request: Request) -> Response:
            answer = await questions.ask(endpoint, request)
            return await compress(request, answer.status, answer.body, answer.headers)

        read.__doc__ = f"The answer of the upstream's {endpoint}."
        return read

    for endpoint in Endpoint:
        path = endpoint.replace("{name}", "{name:path}")
        methods = _METHODS.get(endpoint, _BOTH)
        page = page_of(endpoint)
        router.add_api_route(path, page, methods=["GET"], name=endpoint.slug, response_class=Response)
        if "POST" in methods:
            # The same once more, which a schema need not say.
            router.add_api_route(path, page, methods=["POST"], name=endpoint.slug, include_in_schema=False)
        others = sorted(_EVERY_METHOD - set(methods))
        refuse = _page_not_found if endpoint is Endpoint.RULES else _refusing(methods)
        router.add_api_route(path, refuse, methods=others, include_in_schema=False)
    if alone:
        _add_refusals(router)
    return router


def speaker(service: Service) -> Callable[[ServiceError], Response]:
    """How this surface tells an error: in the API's envelope, with a status that Grafana shows."""

    def speak(error: ServiceError) -> Response:
        count_refusal(service.telemetry, error)
        status, body = render_error(error)
        return Response(body, status, {"Cache-Control": "no-store", **headers_of(error)}, "application/json")

    return speak


def _add_refusals(router: APIRouter) -> None:
    every = list(_EVERY_METHOD)
    for paths, refuse in ((_WRITING, _forbidden), (_RULER, _page_not_found), (_UNKNOWN, _unknown)):
        for path in paths:
            router.add_api_route(path, refuse, methods=every, include_in_schema=False)


def _refusing(methods: tuple[str, ...]) -> Handler:
    async def refuse(request: Request) -> Response:
        raise MethodNotAllowed(request.method, ", ".join(methods))

    return refuse


async def _forbidden() -> Response:
    raise ReadOnly


async def _page_not_found() -> Response:
    raise UnknownRoute("page not found")


async def _unknown(request: Request) -> Response:
    path = request.scope["path"][:100]
    raise UnknownRoute(f"There is no {path!a} here: of the Prometheus API this service answers what only reads.")
