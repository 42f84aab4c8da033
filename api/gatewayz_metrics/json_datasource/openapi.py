"""The JSON datasource's operations for OpenAPI."""

from pydantic import BaseModel

from gatewayz_metrics.errors import (
    BodyTooLarge,
    InvalidParameter,
    InvalidQuery,
    LimitExceeded,
    NotServed,
    PromqlOff,
    QueryRefused,
    ServiceError,
    TooBusy,
    TooManyPoints,
    UpstreamError,
)
from gatewayz_metrics.http.openapi import JSON, ErrorForm, OpenApiObject, describe_answer, describe_model
from gatewayz_metrics.http.route import SurfaceRouter

_RAISED: tuple[type[ServiceError], ...] = (
    InvalidParameter,
    InvalidQuery,
    BodyTooLarge,
    PromqlOff,
    LimitExceeded,
    TooManyPoints,
    TooBusy,
    QueryRefused,
    NotServed,
    UpstreamError,
)


def status_of(kind: type[ServiceError]) -> int:
    """The status of a class of errors."""
    # Panels show 422 no better than 400, and proxies take it for a fault of theirs.
    return 400 if kind.status == 422 else kind.status


def _describe_error(codes: list[str]) -> OpenApiObject:
    detail = {
        "type": "object",
        "properties": {"code": {"enum": codes}, "message": {"type": "string"}},
        "required": ["code", "message"],
    }
    return {
        "type": "object",
        "properties": {"message": {"type": "string"}, "error": detail},
        "required": ["message", "error"],
    }


ERROR_FORM = ErrorForm(status_of, _describe_error)


def describe_health(router: SurfaceRouter) -> OpenApiObject:
    """Save & test."""
    schema = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
    return router.describe({"200": describe_answer("The upstream can answer.", {JSON: schema})}, *_RAISED)


def describe_rows(router: SurfaceRouter, model: type[BaseModel], *members: str) -> OpenApiObject:
    """A request with a body that is answered with rows, each with these members at least."""
    items: OpenApiObject = {"type": "object", "required": list(members)} if members else {"type": "object"}
    answer = describe_answer("The rows.", {JSON: {"type": "array", "items": items}})
    schema = describe_model(model)
    body = {"content": {JSON: {"schema": schema}}, "required": "required" in schema}
    return router.describe({"200": answer}, *_RAISED, body=body)
