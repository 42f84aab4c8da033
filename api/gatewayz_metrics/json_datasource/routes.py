"""Grafana's JSON datasource, both generations of plugins.

https://github.com/simPod/GrafanaJsonDatasource asks `/metrics`, `/metric-payload-options` and
`/variable`, https://github.com/grafana/simple-json-datasource asks `/search` and `/annotations`;
`/query`, `/tag-keys` and `/tag-values` are common to both.
"""

import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from gatewayz_metrics.errors import MethodNotAllowed, ServiceError, TargetsFailed, UnknownRoute
from gatewayz_metrics.http.bodies import read_json
from gatewayz_metrics.http.compression import compress
from gatewayz_metrics.http.route import Speak, count_refusal, headers_of, surface_route
from gatewayz_metrics.json_datasource import annotations, editor, response
from gatewayz_metrics.json_datasource.editor import AdHocTags, QueryEditor
from gatewayz_metrics.json_datasource.prometheus import PrometheusQueries
from gatewayz_metrics.json_datasource.query import QueryRunner, RequestLimits
from gatewayz_metrics.json_datasource.requests import (
    AnnotationsRequest,
    MetricsRequest,
    OptionsRequest,
    QueryRequest,
    SearchRequest,
    TagRequest,
    VariableRequest,
)
from gatewayz_metrics.json_datasource.targets import TargetPlanner
from gatewayz_metrics.json_datasource.variables import Variables
from gatewayz_metrics.promql.macros import MacroContext
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.service import Service

log = logging.getLogger(__name__)

_EVERY_METHOD = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
# What the plugins show nowhere when it fails.
_SILENT = frozenset(["/metrics", "/metric-payload-options", "/tag-keys", "/tag-values"])

M = TypeVar("M", bound=BaseModel)
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def json_datasource_router(service: Service, prefix: str = "") -> APIRouter:
    """The datasource's routes below a prefix; `""` is the root, whose other paths are left alone."""
    pages = _Pages(service)
    router = APIRouter(prefix=prefix, tags=["json datasource"])
    shown = surface_route(service.telemetry, speaker(service), service.tokens.check)
    logged = surface_route(service.telemetry, speaker(service, logs=True), service.tokens.check)

    def add(path: str, page: Handler, methods: Iterable[str], *, visible: bool = True) -> None:
        route_class = logged if path in _SILENT else shown
        router.add_api_route(
            path,
            page,
            methods=sorted(methods),
            include_in_schema=visible,
            response_class=Response,
            route_class_override=route_class,
            openapi_extra=_BODY if visible and "POST" in methods else None,
        )

    # With the prefix as its URL a plugin asks for the prefix without a slash, and follows no redirect.
    for home in ["", "/"] if prefix else ["/"]:
        add(home, pages.health, ["GET"], visible=home == "/")
        add(home, pages.health, ["HEAD"], visible=False)
        add(home, _refusing("GET"), _EVERY_METHOD - {"GET", "HEAD"}, visible=False)
    for path, page in pages.by_path.items():
        add(path, page, ["POST"])
        # At the root GET /metrics is the service's own exposition.
        kept = frozenset(["GET", "HEAD"]) if (prefix, path) == ("", "/metrics") else frozenset[str]()
        add(path, _refusing("POST"), _EVERY_METHOD - {"POST"} - kept, visible=False)
    if prefix:
        add("/{path:path}", _unknown(prefix, pages.by_path), _EVERY_METHOD, visible=False)
    return router


class _Pages:
    """What each path answers: find, ask, shape."""

    def __init__(self, service: Service) -> None:
        self._layer = service.layer
        self._datasource = JsonDatasource.of(service)
        self._most = service.settings.max_body_bytes
        self._scrape_ms = round(service.settings.scrape_interval * 1000)
        self.by_path: dict[str, Handler] = {
            "/search": self.search,
            "/metrics": self.metrics,
            "/metric-payload-options": self.options,
            "/query": self.query,
            "/variable": self.variable,
            "/annotations": self.annotations,
            "/tag-keys": self.tag_keys,
            "/tag-values": self.tag_values,
        }

    async def health(self, request: Request) -> Response:
        """Save & test: whether the upstream can answer."""
        failure = await self._layer.probe()
        if failure is not None:
            raise failure
        return await _json(request, {"status": "ok"})

    async def query(self, request: Request) -> Response:
        """What panels, Explore and annotations ask for."""
        asked = await self._body(request, QueryRequest)
        outcomes = await self._datasource.panels.answer(asked)
        if asked.is_annotation:
            return await _array(request, response.render_annotations(outcomes, asked.annotation_name))
        return await _array(request, response.render_elements(outcomes))

    async def metrics(self, request: Request) -> Response:
        """The metric picker, with what the builder offers for each."""
        asked = await self._body(request, MetricsRequest)
        return await _json(request, editor.render_picker(self._datasource.options.entries(asked)))

    async def options(self, request: Request) -> Response:
        """The entries of one list in the builder."""
        asked = await self._body(request, OptionsRequest)
        return await _json(request, editor.render_choices(await self._datasource.options.choices(asked)))

    async def variable(self, request: Request) -> Response:
        """The values of a dashboard variable."""
        asked = await self._body(request, VariableRequest)
        span = self._span(*self._datasource.panels.bounds(asked.range))
        return await _json(
            request, editor.render_variable(await self._datasource.variables.values(asked.payload, span))
        )

    async def search(self, request: Request) -> Response:
        """The first plugin's metric picker and its variables, told apart by how the text looks."""
        asked = await self._body(request, SearchRequest)
        if "(" not in asked.target and asked.target.strip() != "targets":
            return await _json(request, editor.render_pairs(self._datasource.options.names(asked.target.strip())))
        span = self._span(*self._datasource.panels.bounds(asked.range))
        return await _json(
            request, editor.render_pairs(await self._datasource.variables.values({"target": asked.target}, span))
        )

    async def annotations(self, request: Request) -> Response:
        """The first plugin's annotations."""
        asked = await self._body(request, AnnotationsRequest)
        outcomes = await self._datasource.panels.answer(asked.as_query())
        return await _array(request, annotations.render_event_objects(outcomes, asked.annotation))

    async def tag_keys(self, request: Request) -> Response:
        """The labels that ad-hoc filters offer."""
        return await _json(
            request, editor.render_tags(await self._datasource.tags.keys(await self._body(request, TagRequest)))
        )

    async def tag_values(self, request: Request) -> Response:
        """The values that an ad-hoc filter offers."""
        return await _json(
            request, editor.render_tags(await self._datasource.tags.values(await self._body(request, TagRequest)))
        )

    async def _body(self, request: Request, model: type[M]) -> M:
        return await read_json(request, model, self._most)

    def _span(self, from_ms: int, to_ms: int) -> MacroContext:
        return MacroContext(TimeRange(from_ms, to_ms, self._scrape_ms), self._scrape_ms)


def speaker(service: Service, *, logs: bool = False) -> Speak:
    """How this surface tells an error: readable in a panel and in Save & test alike."""

    def speak(error: ServiceError) -> Response:
        cause = error.first if isinstance(error, TargetsFailed) else error
        count_refusal(service.telemetry, cause)
        if logs:
            log.warning("A list of the query editor stays empty: %s", error.sentence)
        body = {"message": error.sentence, "error": {"code": cause.code, "message": error.sentence}}
        return Response(orjson.dumps(body), _status(cause), headers_of(cause), "application/json")

    return speak


def _status(error: ServiceError) -> int:
    # Panels show 422 no better than 400, and proxies take it for a fault of theirs.
    return 400 if error.status == 422 else error.status


async def _json(request: Request, document: object) -> Response:
    return await compress(request, 200, orjson.dumps(document), {})


async def _array(request: Request, elements: Iterable[object]) -> Response:
    return await compress(request, 200, await response.encode_array(elements), {})


def _refusing(allowed: str) -> Handler:
    async def refuse(request: Request) -> Response:
        raise MethodNotAllowed(request.method, allowed)

    return refuse


def _unknown(prefix: str, paths: Iterable[str]) -> Handler:
    known = ", ".join(paths)

    async def refuse(request: Request) -> Response:
        path = request.scope["path"][:100]
        raise UnknownRoute(f"There is no {path}; below {prefix} there are {known}.")

    return refuse


_BODY = {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}


# DOC The parts of the datasource over one running service.


@dataclass(frozen=True, slots=True)
class JsonDatasource:
    """What answers for panels, variables, filters and the query editor."""

    panels: QueryRunner
    variables: Variables
    tags: AdHocTags
    options: QueryEditor

    @classmethod
    def of(cls, service: Service) -> Self:
        """The datasource of a service."""
        settings, layer = service.settings, service.layer
        questions = PrometheusQueries(service.answers, service.ranges)
        targets = TargetPlanner(layer.catalogue, layer.slots, settings.allow_promql, settings.max_query_length)
        limits = RequestLimits(settings.max_targets, settings.max_points, round(settings.max_range * 1000))
        panels = QueryRunner(targets, questions, limits=limits, scrape_ms=round(settings.scrape_interval * 1000))
        return cls(panels, Variables(targets, questions), AdHocTags(panels, questions), QueryEditor(targets, questions))
