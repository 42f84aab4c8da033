"""Grafana's JSON datasource, both generations of plugins.

https://github.com/simPod/GrafanaJsonDatasource asks `/metrics`, `/metric-payload-options` and
`/variable`, https://github.com/grafana/simple-json-datasource asks `/search` and `/annotations`;
`/query`, `/tag-keys` and `/tag-values` are common to both.
"""

import logging
from collections.abc import Iterable
from typing import TypeVar

import orjson
from fastapi import Request, Response
from pydantic import BaseModel

from gatewayz_metrics.caller_limits import check_length
from gatewayz_metrics.errors import ServiceError, UnknownRoute
from gatewayz_metrics.http.bodies import read_json
from gatewayz_metrics.http.compression import compress
from gatewayz_metrics.http.route import SurfaceRouter, error_headers, requested_path
from gatewayz_metrics.http.rules import is_for_rule
from gatewayz_metrics.json_datasource import annotations, editor, response
from gatewayz_metrics.json_datasource.editor import AdHocTags, QueryEditor
from gatewayz_metrics.json_datasource.openapi import ERROR_FORM, describe_health, describe_rows, status_of
from gatewayz_metrics.json_datasource.prometheus import PrometheusQueries
from gatewayz_metrics.json_datasource.query import QueryRunner, RequestLimits
from gatewayz_metrics.json_datasource.requests import (
    AnnotationsRequest,
    DashboardRange,
    MetricsRequest,
    OptionsRequest,
    QueryRequest,
    SearchRequest,
    TagRequest,
    VariableRequest,
)
from gatewayz_metrics.json_datasource.targets import TargetPlanner
from gatewayz_metrics.json_datasource.variables import Variables
from gatewayz_metrics.logs import printable
from gatewayz_metrics.promql.macros import MacroContext
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.service import Service, ServiceProvider

log = logging.getLogger(__name__)

# The plugins show nothing when one of these fails, so the log has to.
_SILENT = ("/metrics", "/metric-payload-options", "/tag-keys", "/tag-values")

M = TypeVar("M", bound=BaseModel)


def create_json_datasource_router(services: ServiceProvider, prefix: str = "") -> SurfaceRouter:
    """The datasource's routes below a prefix; `""` is the root, whose other paths are left alone."""
    router = SurfaceRouter(
        services,
        _render_error,
        tag="json datasource",
        prefix=prefix,
        guard=services.check_token,
        error_form=ERROR_FORM,
    )
    datasource = services.bind(JsonDatasource)

    async def health(request: Request) -> Response:
        """Save & test: whether the upstream can answer."""
        failure = await services.get().layer.probe()
        if failure is not None:
            raise failure
        return await _json(request, {"status": "ok"})

    router.get("/", openapi_extra=describe_health(router))(health)
    router.head("/", include_in_schema=False)(health)
    if prefix:
        # With the prefix as its URL a plugin asks for the prefix without a slash, and follows no redirect.
        router.get("", include_in_schema=False)(health)
        router.head("", include_in_schema=False)(health)

    @router.post("/search", openapi_extra=describe_rows(router, SearchRequest, "text", "value"))
    async def search(request: Request) -> Response:
        """The first plugin's metric picker and its variables, told apart by how the text looks."""
        asked = await datasource().read(request, SearchRequest)
        datasource().check_text(asked.target)
        if "(" not in asked.target and asked.target.strip() != "targets":
            return await _array(request, editor.render_pairs(datasource().editor.names(asked.target.strip())))
        values = await datasource().variable_values({"target": asked.target}, asked.range)
        return await _array(request, editor.render_pairs(values))

    @router.post("/metrics", openapi_extra=describe_rows(router, MetricsRequest, "value", "label", "payloads"))
    async def metrics(request: Request) -> Response:
        """The metric picker, with what the builder offers for each."""
        asked = await datasource().read(request, MetricsRequest)
        return await _json(request, editor.render_picker(datasource().editor.entries(asked)))

    @router.post("/metric-payload-options", openapi_extra=describe_rows(router, OptionsRequest, "label", "value"))
    async def metric_payload_options(request: Request) -> Response:
        """The entries of one list in the builder."""
        asked = await datasource().read(request, OptionsRequest)
        return await _array(request, editor.render_choices(await datasource().editor.choices(asked)))

    @router.post("/query", openapi_extra=describe_rows(router, QueryRequest))
    async def query(request: Request) -> Response:
        """What panels, Explore and annotations ask for."""
        asked = await datasource().read(request, QueryRequest)
        outcomes = await datasource().runner.answer(asked, may_be_stale=not is_for_rule(request.headers))
        if asked.is_annotation:
            return await _array(request, response.render_annotations(outcomes, asked.annotation_name))
        return await _array(request, response.render_elements(outcomes))

    @router.post("/variable", openapi_extra=describe_rows(router, VariableRequest, "__text", "__value"))
    async def variable(request: Request) -> Response:
        """The values of a dashboard variable."""
        asked = await datasource().read(request, VariableRequest)
        values = await datasource().variable_values(asked.payload, asked.range)
        return await _array(request, editor.render_variable(values))

    @router.post("/annotations", openapi_extra=describe_rows(router, AnnotationsRequest))
    async def annotations_of_the_first_plugin(request: Request) -> Response:
        """The first plugin's annotations."""
        asked = await datasource().read(request, AnnotationsRequest)
        outcomes = await datasource().runner.answer(asked.as_query())
        return await _array(request, annotations.render_event_objects(outcomes, asked.annotation))

    @router.post("/tag-keys", openapi_extra=describe_rows(router, TagRequest, "text", "value"))
    async def tag_keys(request: Request) -> Response:
        """The labels that ad-hoc filters offer."""
        asked = await datasource().read(request, TagRequest)
        return await _array(request, editor.render_tags(await datasource().tags.keys(asked)))

    @router.post("/tag-values", openapi_extra=describe_rows(router, TagRequest, "text", "value"))
    async def tag_values(request: Request) -> Response:
        """The values that an ad-hoc filter offers."""
        asked = await datasource().read(request, TagRequest)
        return await _array(request, editor.render_tags(await datasource().tags.values(asked)))

    paths = router.list_paths("POST")
    # At the root GET /metrics is the service's own exposition.
    router.refuse_other_methods(kept={} if prefix else {"/metrics": frozenset(["GET"])})
    if prefix:
        router.refuse(["/{path:any_path}"], lambda request: _unknown_path(request, prefix, paths))
    return router


class JsonDatasource:
    """The parts of the datasource over one running service."""

    def __init__(self, service: Service) -> None:
        settings, layer = service.settings, service.layer
        self._max_body_bytes = settings.max_body_bytes
        self._scrape_ms = round(settings.scrape_interval * 1000)
        queries = PrometheusQueries(service.responses, service.range_cache, settings.max_range)
        planner = TargetPlanner(
            layer.catalogue, layer.slots, settings.allow_promql, settings.max_query_length, settings.max_range
        )
        limits = RequestLimits(settings.max_targets, settings.max_points, round(settings.max_range * 1000))
        self.runner = QueryRunner(planner, queries, limits=limits, scrape_ms=self._scrape_ms)
        self.tags = AdHocTags(self.runner, queries)
        self.editor = QueryEditor(planner, queries)
        self._variables = Variables(planner, queries)

    async def read(self, request: Request, model: type[M]) -> M:
        """The body of a request. Raises InvalidParameter or BodyTooLarge."""
        return await read_json(request, model, self._max_body_bytes)

    def check_text(self, text: str) -> None:
        """Raise LimitExceeded for text that is longer than a query may be."""
        check_length(len(text), self.runner.targets.max_length)

    async def variable_values(self, payload: object, asked: DashboardRange) -> tuple[str, ...]:
        """The values of a variable. Raises InvalidQuery with the forms there are."""
        from_ms, to_ms = self.runner.bounds(asked)
        return await self._variables.values(
            payload, MacroContext(TimeRange(from_ms, to_ms, self._scrape_ms), self._scrape_ms)
        )


def _render_error(error: ServiceError, request: Request) -> Response:
    """An error that is readable in a panel and in Save & test alike."""
    if request.scope["path"].endswith(_SILENT):
        log.warning("A list of the query editor stays empty: %s", printable(error.sentence))
    root = error.root
    body = {"message": error.sentence, "error": {"code": root.code, "message": error.sentence}}
    return Response(orjson.dumps(body), status_of(type(root)), error_headers(root), "application/json")


def _unknown_path(request: Request, prefix: str, paths: Iterable[str]) -> ServiceError:
    return UnknownRoute(f"There is no {requested_path(request)}; below {prefix} there are {', '.join(paths)}.")


async def _json(request: Request, document: object) -> Response:
    return await compress(request, 200, orjson.dumps(document), {})


async def _array(request: Request, elements: Iterable[object]) -> Response:
    return await compress(request, 200, await response.encode_array(elements), {})
