"""What those who run the service ask: is it alive, can it answer, what does it measure about itself."""

import orjson
from fastapi import Request, Response

from gatewayz_metrics.http.openapi import JSON, describe_answer
from gatewayz_metrics.http.route import SurfaceRouter, render_json_error
from gatewayz_metrics.operations.openapi import add_security
from gatewayz_metrics.operations.purge import create_purge_router
from gatewayz_metrics.operations.status import create_status_router
from gatewayz_metrics.service import ServiceProvider
from gatewayz_metrics.siblings import SiblingsSilent
from gatewayz_metrics.telemetry import CONTENT_TYPE

# Why, for those who may know: a code for whoever may ask anything, a sentence for callers with a token.
_STATE = {
    "type": "object",
    "properties": {
        "status": {"enum": ["ok", "degraded"]},
        "code": {"type": "string"},
        "reason": {"type": "string"},
    },
    "required": ["status"],
}
_HEALTH = {"200": describe_answer("The state.", {JSON: _STATE})}
_PAGE = {"200": describe_answer("Exposition text.", {CONTENT_TYPE: {"type": "string"}})}
_DOCUMENT = {"200": describe_answer("An OpenAPI document.", {JSON: {"type": "object", "required": ["openapi"]}})}


def create_operations_router(services: ServiceProvider) -> SurfaceRouter:
    """`/livez`, `/readyz` and the status page for everybody, the others for those with a token."""
    router = SurfaceRouter(services, render_json_error, tag="operations")
    guarded = SurfaceRouter(
        services,
        render_json_error,
        tag="operations",
        guard=services.check_token,
    )

    @router.get("/livez", openapi_extra={"responses": _HEALTH})
    async def live() -> Response:
        """The process runs; whether the upstream does is no reason to restart it."""
        return _json({"status": "ok"})

    @router.get("/readyz", openapi_extra=router.describe(_HEALTH))
    async def ready(request: Request) -> Response:
        """The service can answer: `degraded` while the upstream is down, which the answers then explain.

        It tells the last known state, as probes wait for a second at most. Sentences name hosts and files, so they
        are for callers with a token; where there are no tokens, everybody gets the code of what is wrong.
        """
        service = services.get()
        failure = await service.check_upstream()
        if failure is None:
            return _json({"status": "ok"})
        known = service.tokens.knows(request)
        details = {"code": failure.code} if known or service.tokens.open else {}
        return _json({"status": "degraded"} | details | ({"reason": failure.sentence} if known else {}))

    @guarded.get("/metrics", openapi_extra=guarded.describe(_PAGE, SiblingsSilent))
    async def own_metrics() -> Response:
        """What the service measures about itself, for a scraper."""
        return Response(await services.page(), headers={"Content-Type": CONTENT_TYPE})

    @guarded.get("/openapi.json", openapi_extra=guarded.describe(_DOCUMENT))
    async def schema(request: Request) -> Response:
        """The OpenAPI description of every route."""
        document = request.app.openapi()
        return _json(document if services.get().tokens.open else add_security(document))

    for other in (guarded, create_purge_router(services), create_status_router(services)):
        router.take_routes(other)
    return router


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")
