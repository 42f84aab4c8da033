"""The Prometheus API's operations for OpenAPI."""

from collections.abc import Mapping

from gatewayz_metrics.errors import (
    InvalidParameter,
    LimitExceeded,
    NotServed,
    QueryRefused,
    ServiceError,
    TooBusy,
    TooManyPoints,
    UpstreamError,
)
from gatewayz_metrics.http.openapi import FORM, JSON, ErrorForm, OpenApiObject, describe_answer
from gatewayz_metrics.http.route import SurfaceRouter
from gatewayz_metrics.prometheus_api.envelope import status_of
from gatewayz_metrics.prometheus_api.vocabulary import PARAMETERS, ApiParameter
from gatewayz_metrics.upstream.request import Endpoint

_RAISED: tuple[type[ServiceError], ...] = (
    InvalidParameter,
    LimitExceeded,
    TooManyPoints,
    TooBusy,
    QueryRefused,
    NotServed,
    UpstreamError,
)
_TEXTS: OpenApiObject = {"type": "array", "items": {"type": "string"}}
_OBJECTS: OpenApiObject = {"type": "array", "items": {"type": "object"}}
# What stands under `data`, whichever the engine.
_DATA: Mapping[Endpoint, OpenApiObject] = {
    Endpoint.QUERY: {"type": "object", "required": ["resultType", "result"]},
    Endpoint.QUERY_RANGE: {"type": "object", "required": ["resultType", "result"]},
    Endpoint.QUERY_EXEMPLARS: _OBJECTS,
    Endpoint.LABELS: _TEXTS,
    Endpoint.LABEL_VALUES: _TEXTS,
    Endpoint.SERIES: _OBJECTS,
    Endpoint.METADATA: {"type": "object"},
    Endpoint.RULES: {"type": "object", "required": ["groups"]},
    Endpoint.ALERTS: {"type": "object", "required": ["alerts"]},
    Endpoint.BUILDINFO: {"type": "object"},
    Endpoint.FORMAT_QUERY: {"type": "string"},
    Endpoint.PARSE_QUERY: {"type": "object"},
}
_LABEL_NAME: OpenApiObject = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The label's name.",
    "schema": {"type": "string", "minLength": 1},
    "example": "job",
}
_FROM_ALERT: OpenApiObject = {
    "name": "FromAlert",
    "in": "header",
    "description": "`true` from an alert rule of Grafana's: nothing of the answer may come from a cache.",
    "schema": {"type": "string"},
}


def _describe_error(_codes: list[str]) -> OpenApiObject:
    return {
        "type": "object",
        # The engine's own errors have types of the engine's.
        "properties": {"status": {"const": "error"}, "errorType": {"type": "string"}, "error": {"type": "string"}},
        "required": ["status", "errorType", "error"],
    }


ERROR_FORM = ErrorForm(status_of, _describe_error)


def describe_get(router: SurfaceRouter, endpoint: Endpoint) -> OpenApiObject:
    """An endpoint whose parameters stand in the URL."""
    declared = [_describe_parameter(each) for each in PARAMETERS[endpoint]]
    return router.describe(_answers(endpoint), *_RAISED, parameters=[*_outside(endpoint), *declared])


def describe_post(router: SurfaceRouter, endpoint: Endpoint) -> OpenApiObject:
    """The same endpoint with the same parameters as a form, which stand before those of the URL."""
    parameters = PARAMETERS[endpoint]
    form: OpenApiObject = {
        "type": "object",
        "properties": {each.name: _schema(each) | {"description": each.meaning} for each in parameters},
    }
    required = [each.name for each in parameters if each.required]
    if required:
        form["required"] = required
    content: OpenApiObject = {"schema": form}
    if examples := {each.name: _example(each) for each in parameters if each.example}:
        content["example"] = examples
    body = {"content": {FORM: content}, "required": bool(required)}
    return router.describe(_answers(endpoint), *_RAISED, parameters=_outside(endpoint), body=body)


def describe_words(meaning: str, *, failing: bool = False) -> OpenApiObject:
    """The answers of a probe, which are a line of text."""
    line = {"text/plain": {"type": "string"}}
    answers = {"200": describe_answer(meaning, line)}
    return answers | {"503": describe_answer("It does not.", line)} if failing else answers


def _outside(endpoint: Endpoint) -> list[OpenApiObject]:
    """What stands neither in the query string nor in a form."""
    name = [_LABEL_NAME] if endpoint is Endpoint.LABEL_VALUES else []
    return [*name, _FROM_ALERT] if endpoint.is_core else name


def _answers(endpoint: Endpoint) -> OpenApiObject:
    envelope = {
        "type": "object",
        "properties": {"status": {"const": "success"}, "data": _DATA[endpoint]},
        "required": ["status", "data"],
    }
    return {
        "200": describe_answer("The upstream's answer.", {JSON: envelope}),
        "204": {"description": "The upstream answered without content."},
    }


def _describe_parameter(parameter: ApiParameter) -> OpenApiObject:
    described: OpenApiObject = {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.meaning,
        "schema": _schema(parameter),
    }
    return described | {"example": _example(parameter)} if parameter.example else described


def _schema(parameter: ApiParameter) -> OpenApiObject:
    return dict(_TEXTS) if parameter.repeated else {"type": "string"}


def _example(parameter: ApiParameter) -> object:
    return [parameter.example] if parameter.repeated else parameter.example
