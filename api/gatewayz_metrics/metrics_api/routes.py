"""The metrics routes: one JSON summary, a text page per category, all of them, and their docs."""

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from gatewayz_metrics.errors import InvalidParameter, MethodNotAllowed, ServiceError, UnknownRoute
from gatewayz_metrics.http.route import headers_of, surface_route
from gatewayz_metrics.metrics_api.docs import render_docs
from gatewayz_metrics.metrics_api.exposition import render_exposition
from gatewayz_metrics.metrics_api.parameters import CATEGORY, TIME, VALUES, described, negotiate_format, parse_params
from gatewayz_metrics.metrics_api.summary import render_summary
from gatewayz_metrics.query import QueryLayer, Snapshot
from gatewayz_metrics.security import ServiceTokens
from gatewayz_metrics.telemetry import Telemetry

PREFIX = "/prometheus/metrics"
_EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

Endpoint = Callable[..., Coroutine[Any, Any, Response]]


def metrics_router(layer: QueryLayer, tokens: ServiceTokens, telemetry: Telemetry) -> APIRouter:
    """The eight routes over one query layer."""
    catalogue = layer.catalogue
    router = APIRouter(
        prefix=PREFIX,
        tags=["metrics"],
        route_class=surface_route(telemetry, speak, tokens.check),
    )

    async def read_summary(request: Request) -> Response:
        """Every statistic, one number each."""
        asked = parse_params(request.scope["query_string"])
        sections = _known(asked.categories, catalogue.sections)
        snapshot = await layer.statistics(sections, asked.at)
        body = snapshot.once(
            asked.values,
            lambda: render_summary(catalogue.in_sections(sections), snapshot, asked.values, catalogue.window),
        )
        return Response(body, media_type="application/json", headers=_headers(snapshot))

    async def read_docs() -> Response:
        """What can be asked for, in Markdown."""
        return Response(render_docs(catalogue, layer.slots), media_type="text/markdown")

    def page_of(category: str | None) -> Endpoint:
        async def read_page(request: Request) -> Response:
            asked = parse_params(request.scope["query_string"])
            form = negotiate_format(request.headers.get("accept", ""))
            snapshot = await layer.families(category, asked.at)
            body = snapshot.once(form, lambda: render_exposition(catalogue.in_category(category), snapshot, form))
            headers = {"Content-Type": form.value, "Vary": "Accept", **_headers(snapshot)}
            return Response(body, headers=headers)

        read_page.__doc__ = catalogue.categories[category] if category else "Every family, each once."
        return read_page

    pages: dict[str, tuple[Endpoint, dict[str, Any]]] = {
        "summary": (read_summary, described(CATEGORY, VALUES, TIME)),
        **{category: (page_of(category), described(TIME)) for category in catalogue.categories},
        "all": (page_of(None), described(TIME)),
        "docs": (read_docs, {}),
    }
    for name, (page, schema) in pages.items():
        router.add_api_route(
            f"/{name}", page, methods=["GET"], name=name, response_class=Response, openapi_extra=schema
        )
        router.add_api_route(f"/{name}", page, methods=["HEAD"], name=name, include_in_schema=False)

    async def refuse(request: Request, path: str) -> Response:
        if path in pages:
            raise MethodNotAllowed(request.method, "GET, HEAD")
        raise UnknownRoute(f"There is no {PREFIX}/{path[:100]}; there are {', '.join(pages)}.")

    router.add_api_route("/{path:path}", refuse, methods=_EVERY_METHOD, include_in_schema=False)
    return router


def speak(error: ServiceError) -> Response:
    """An error in the words of the metrics routes."""
    body = orjson.dumps({"error": error.sentence, "code": error.code}, option=orjson.OPT_APPEND_NEWLINE)
    return Response(body, error.status, headers_of(error), "application/json")


def _known(given: frozenset[str], sections: dict[str, str]) -> frozenset[str]:
    if strangers := sorted(given - sections.keys()):
        raise InvalidParameter(f"There is no category {strangers[0][:100]!r}; there are {', '.join(sections)}.")
    return given


def _headers(snapshot: Snapshot) -> dict[str, str]:
    status = "down" if snapshot.outage else "partial" if snapshot.disturbed else "ok"
    return {"X-Upstream-Status": status, "Cache-Control": "no-store"}
