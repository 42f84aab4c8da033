"""The Prometheus HTTP API, read-only: what Grafana's Prometheus datasource asks.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from fastapi import Request, Response

from gatewayz_metrics.errors import ReadOnly, ServiceError, UnknownRoute
from gatewayz_metrics.http.compression import compress
from gatewayz_metrics.http.route import EVERY_METHOD, Condition, SurfaceRouter, error_headers, requested_path
from gatewayz_metrics.http.warm import allow_repeat
from gatewayz_metrics.prometheus_api.envelope import render_error
from gatewayz_metrics.prometheus_api.handlers import ApiHandlers
from gatewayz_metrics.prometheus_api.openapi import ERROR_FORM, describe_get, describe_post, describe_words
from gatewayz_metrics.service import ServiceProvider
from gatewayz_metrics.upstream.request import Endpoint

# What writes or administers.
_WRITING = (
    "/api/v1/admin/{path:any_path}",
    "/api/v1/write",
    "/api/v1/otlp/{path:any_path}",
    "/api/v1/read",
    "/-/{path:any_path}",
)
# What would make Grafana offer to edit rules: from the words "page not found" it concludes that there is no ruler.
_RULER = ("/rules", "/rules/{path:any_path}", "/config/v1/rules", "/config/v1/rules/{path:any_path}")
_UNKNOWN = (
    "/api/v1/{path:any_path}",
    "//api/{path:any_path}",
    "/api//{path:any_path}",
    "/debug/{path:any_path}",
    "/federate",
    "/classic/{path:any_path}",
    "/graph",
)


def create_prometheus_router(
    services: ServiceProvider, prefix: str = "", *, catch_all: bool = True, condition: Condition | None = None
) -> SurfaceRouter:
    """The API's paths under a prefix; without `catch_all` every other path is left to whoever else is there.

    With a `condition` they are answered only where it holds.
    """
    router = SurfaceRouter(
        services,
        _render_error,
        tag="prometheus",
        prefix=prefix,
        guard=services.authenticate,
        condition=condition,
        error_form=ERROR_FORM,
    )
    handlers = services.bind(ApiHandlers)

    async def answer(endpoint: Endpoint, request: Request) -> Response:
        reply = await handlers().ask(endpoint, request)
        allow_repeat(request, reply.find_lease, request.state.tenant)
        return await compress(request, reply.status, reply.body, reply.headers)

    @router.post("/api/v1/query", openapi_extra=describe_post(router, Endpoint.QUERY))
    @router.get("/api/v1/query", openapi_extra=describe_get(router, Endpoint.QUERY))
    async def query(request: Request) -> Response:
        """An expression at one moment."""
        return await answer(Endpoint.QUERY, request)

    @router.post("/api/v1/query_range", openapi_extra=describe_post(router, Endpoint.QUERY_RANGE))
    @router.get("/api/v1/query_range", openapi_extra=describe_get(router, Endpoint.QUERY_RANGE))
    async def query_range(request: Request) -> Response:
        """An expression at every step of a range."""
        return await answer(Endpoint.QUERY_RANGE, request)

    @router.post("/api/v1/query_exemplars", openapi_extra=describe_post(router, Endpoint.QUERY_EXEMPLARS))
    @router.get("/api/v1/query_exemplars", openapi_extra=describe_get(router, Endpoint.QUERY_EXEMPLARS))
    async def query_exemplars(request: Request) -> Response:
        """The exemplars of the series that an expression reads."""
        return await answer(Endpoint.QUERY_EXEMPLARS, request)

    @router.post("/api/v1/labels", openapi_extra=describe_post(router, Endpoint.LABELS))
    @router.get("/api/v1/labels", openapi_extra=describe_get(router, Endpoint.LABELS))
    async def labels(request: Request) -> Response:
        """The names of labels."""
        return await answer(Endpoint.LABELS, request)

    @router.post("/api/v1/label/{name:any_path}/values", openapi_extra=describe_post(router, Endpoint.LABEL_VALUES))
    @router.get("/api/v1/label/{name:any_path}/values", openapi_extra=describe_get(router, Endpoint.LABEL_VALUES))
    async def label_values(request: Request) -> Response:
        """The values of a label."""
        return await answer(Endpoint.LABEL_VALUES, request)

    @router.post("/api/v1/series", openapi_extra=describe_post(router, Endpoint.SERIES))
    @router.get("/api/v1/series", openapi_extra=describe_get(router, Endpoint.SERIES))
    async def series(request: Request) -> Response:
        """The series that selectors match."""
        return await answer(Endpoint.SERIES, request)

    @router.get("/api/v1/metadata", openapi_extra=describe_get(router, Endpoint.METADATA))
    async def metadata(request: Request) -> Response:
        """Type, help and unit of metrics."""
        return await answer(Endpoint.METADATA, request)

    @router.get("/api/v1/rules", openapi_extra=describe_get(router, Endpoint.RULES))
    async def rules(request: Request) -> Response:
        """The rules that the upstream evaluates."""
        return await answer(Endpoint.RULES, request)

    @router.get("/api/v1/alerts", openapi_extra=describe_get(router, Endpoint.ALERTS))
    async def alerts(request: Request) -> Response:
        """The alerts that are active at the upstream."""
        return await answer(Endpoint.ALERTS, request)

    # Prometheus takes GET alone for this one, and Grafana sends POST when its datasource says POST.
    @router.post("/api/v1/status/buildinfo", openapi_extra=describe_post(router, Endpoint.BUILDINFO))
    @router.get("/api/v1/status/buildinfo", openapi_extra=describe_get(router, Endpoint.BUILDINFO))
    async def buildinfo(request: Request) -> Response:
        """The upstream's version."""
        return await answer(Endpoint.BUILDINFO, request)

    @router.post("/api/v1/format_query", openapi_extra=describe_post(router, Endpoint.FORMAT_QUERY))
    @router.get("/api/v1/format_query", openapi_extra=describe_get(router, Endpoint.FORMAT_QUERY))
    async def format_query(request: Request) -> Response:
        """An expression, formatted."""
        return await answer(Endpoint.FORMAT_QUERY, request)

    @router.post("/api/v1/parse_query", openapi_extra=describe_post(router, Endpoint.PARSE_QUERY))
    @router.get("/api/v1/parse_query", openapi_extra=describe_get(router, Endpoint.PARSE_QUERY))
    async def parse_query(request: Request) -> Response:
        """An expression as a syntax tree."""
        return await answer(Endpoint.PARSE_QUERY, request)

    # A 405 here would make Grafana conclude that there is a ruler.
    others = EVERY_METHOD - {"GET"} - ({"OPTIONS"} if catch_all else set())
    router.refuse(["/api/v1/rules"], _page_not_found, methods=others)
    kept = router.list_paths("GET") if catch_all else []
    router.refuse_other_methods(kept=dict.fromkeys(kept, frozenset(["OPTIONS"])))
    if catch_all:
        _add_prometheus_words(router, services)
        router.refuse(_WRITING, lambda _: ReadOnly())
        router.refuse(_RULER, _page_not_found)
        router.refuse(_UNKNOWN, _unknown_path)
    return router


def _add_prometheus_words(router: SurfaceRouter, services: ServiceProvider) -> None:
    """What Prometheus answers where no query is asked, byte for byte."""

    @router.options("/api/v1/{path:any_path}", include_in_schema=False)
    async def options() -> Response:
        """No body, on every path of the API; CORS_ORIGINS adds the headers."""
        return Response(status_code=204)

    @router.head("/-/healthy", include_in_schema=False)
    @router.get("/-/healthy", openapi_extra=router.describe(describe_words("This service runs.")))
    async def healthy() -> Response:
        """This service runs."""
        return Response("Prometheus Server is Healthy.\n", media_type="text/plain")

    @router.head("/-/ready", include_in_schema=False)
    @router.get("/-/ready", openapi_extra=router.describe(describe_words("The upstream answers.", failing=True)))
    async def ready() -> Response:
        """The upstream answers."""
        if await services.get().check_upstream():
            return Response("Service Unavailable", 503, media_type="text/plain")
        return Response("Prometheus Server is Ready.\n", media_type="text/plain")


def _render_error(error: ServiceError, _request: Request) -> Response:
    """An error in the API's envelope, with a status that Grafana shows."""
    status, body = render_error(error)
    return Response(body, status, {"Cache-Control": "no-store", **error_headers(error)}, "application/json")


def _page_not_found(_request: Request) -> ServiceError:
    return UnknownRoute("page not found")


def _unknown_path(request: Request) -> ServiceError:
    path = requested_path(request)
    return UnknownRoute(
        f"There is no {path!a} here: of the Prometheus API this service answers queries, labels, series, metadata, "
        "rules and alerts."
    )
