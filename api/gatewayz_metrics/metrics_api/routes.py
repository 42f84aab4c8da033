"""The metrics routes: one JSON summary, a text page per category, all of them, series, and their docs."""

import time
from collections.abc import Hashable
from typing import NamedTuple

from fastapi import Request, Response

from gatewayz_metrics.errors import InvalidParameter, MethodNotAllowed, ServiceError, UnknownRoute
from gatewayz_metrics.http.compression import compress
from gatewayz_metrics.http.route import ROUTE_LABEL, SurfaceRouter, render_json_error
from gatewayz_metrics.http.warm import allow_repeat
from gatewayz_metrics.metrics_api.docs import render_docs, render_index
from gatewayz_metrics.metrics_api.exposition import render_exposition
from gatewayz_metrics.metrics_api.formats import DataFormat, parse_data_format
from gatewayz_metrics.metrics_api.openapi import (
    describe_category,
    describe_docs,
    describe_index,
    describe_page,
    describe_series,
    describe_summary,
)
from gatewayz_metrics.metrics_api.parameters import negotiate_format, parse_moment, parse_params
from gatewayz_metrics.metrics_api.rows import render_summary_rows
from gatewayz_metrics.metrics_api.series import read_series
from gatewayz_metrics.metrics_api.series_parameters import parse_series_params
from gatewayz_metrics.metrics_api.series_rendering import render_series_table
from gatewayz_metrics.metrics_api.summary import render_summary
from gatewayz_metrics.query import QueryLayer, Snapshot
from gatewayz_metrics.service import ServiceProvider
from gatewayz_metrics.upstream.request import UNRESTRICTED

PREFIX = "/prometheus/metrics"


def create_metrics_router(services: ServiceProvider) -> SurfaceRouter:
    """The metrics routes over the query layer of the running service."""
    router = SurfaceRouter(
        services,
        render_json_error,
        tag="metrics",
        prefix=PREFIX,
        guard=services.check_token,
        for_catalogue=True,
    )

    @router.head("/", include_in_schema=False)
    @router.get("/", include_in_schema=False)
    @router.head("", include_in_schema=False)
    @router.get("", openapi_extra=describe_index(router))
    async def index() -> Response:
        """The list of these routes."""
        return Response(render_index(services.get().layer.catalogue), media_type="application/json")

    @router.head("/summary", include_in_schema=False)
    @router.get("/summary", openapi_extra=describe_summary(router))
    async def summary(request: Request) -> Response:
        """Every statistic, one number each."""
        layer = services.get().layer
        params = parse_params(request.scope["query_string"])
        form = parse_data_format(request.scope["query_string"])
        sections = _check_sections(params.categories, layer.catalogue.sections)
        snapshot = await layer.statistics(sections, params.at)
        statistics, slots = layer.catalogue.in_sections(sections), layer.slots
        if form is DataFormat.JSON:
            rendered: Hashable = (params.values, params.sources)
            body = snapshot.once(
                rendered,
                lambda: render_summary(statistics, snapshot, params.values, slots, sources=params.sources),
            )
        else:
            rendered = form
            body = snapshot.once(form, lambda: render_summary_rows(statistics, snapshot, slots.window, form))
        return await _respond(request, layer, snapshot, _Page(rendered, body, {"Content-Type": form.media_type}))

    @router.head("/series", include_in_schema=False)
    @router.get("/series", openapi_extra=describe_series(router))
    async def series(request: Request) -> Response:
        """Statistics and families over time."""
        service = services.get()
        params = parse_series_params(request.scope["query_string"])
        span = params.resolve_range(round(time.time() * 1000), round(service.settings.scrape_interval * 1000))
        table = await read_series(service, params.names, span)
        body = await render_series_table(table, params.form, service.settings.max_response_bytes)
        headers = {"Content-Type": params.form.media_type, **_status_headers(table.status)}
        return await compress(request, 200, body, headers)

    @router.head("/all", include_in_schema=False)
    @router.get("/all", openapi_extra=describe_page(router))
    async def all_families(request: Request) -> Response:
        """Every family, each once, as exposition text."""
        return await render_page(request, None)

    @router.head("/docs", include_in_schema=False)
    @router.get("/docs", openapi_extra=describe_docs(router))
    async def docs() -> Response:
        """What can be asked for, in Markdown."""
        layer = services.get().layer
        return Response(render_docs(layer.catalogue, layer.slots), media_type="text/markdown")

    # One route for all categories: which there are stands in the catalogue, and that is read when the service starts.
    @router.head("/{category}", include_in_schema=False)
    @router.get("/{category}", openapi_extra=describe_category(router))
    async def category_families(request: Request) -> Response:
        """The families of one category, as exposition text."""
        # Not a parameter of the function: FastAPI's reading of it costs a tenth of a warm answer.
        category = request.path_params["category"]
        if category not in services.get().layer.catalogue.categories:
            raise explain_path(request)
        request.scope[ROUTE_LABEL] = f"{PREFIX}/{category}"
        return await render_page(request, category)

    async def render_page(request: Request, category: str | None) -> Response:
        layer = services.get().layer
        at = parse_moment(request.scope["query_string"])
        form = negotiate_format(request.headers.get("accept", ""))
        snapshot = await layer.families(category, at)
        families = layer.catalogue.in_category(category)
        body = await snapshot.once_for_all(form, lambda: render_exposition(families, snapshot, form))
        page = _Page(form, body, {"Content-Type": form.value, "Vary": "Accept, Accept-Encoding"})
        return await _respond(request, layer, snapshot, page)

    def explain_path(request: Request) -> ServiceError:
        pages = ["summary", "series", *services.get().layer.catalogue.categories, "all", "docs"]
        page = request.scope["path"].rpartition(PREFIX)[2].removeprefix("/")
        if page in ("", *pages):
            return MethodNotAllowed(request.method, "GET, HEAD")
        return UnknownRoute(f"There is no {PREFIX}/{page[:100]}; there are {', '.join(pages)}.")

    router.refuse(["", "/{path:any_path}"], explain_path)
    return router


def _check_sections(given: frozenset[str], sections: dict[str, str]) -> frozenset[str]:
    if unknown := sorted(given - sections.keys()):
        raise InvalidParameter(f"There is no category {unknown[0][:100]!r}; there are {', '.join(sections)}.")
    return given


class _Page(NamedTuple):
    """A snapshot in one form, and the headers of that form."""

    form: Hashable
    body: bytes
    headers: dict[str, str]


async def _respond(request: Request, layer: QueryLayer, snapshot: Snapshot, page: _Page) -> Response:
    """A page, compressed once, which may be repeated for as long as its snapshot is kept."""
    allow_repeat(request, lambda: layer.lease(snapshot), UNRESTRICTED)
    headers = page.headers | _headers(snapshot) | {"Age": f"{layer.age(snapshot):.0f}"}
    return await compress(
        request, 200, page.body, headers, lambda pack: snapshot.once_for_all(("gzip", page.form), pack)
    )


def _headers(snapshot: Snapshot) -> dict[str, str]:
    return _status_headers("down" if snapshot.outage else "partial" if snapshot.disturbed else "ok")


def _status_headers(status: str) -> dict[str, str]:
    return {"X-Upstream-Status": status, "Cache-Control": "no-store"}
