"""What those who run the service ask: is it alive, can it answer, what does it measure about itself."""

import orjson
from fastapi import Request, Response

from gatewayz_metrics.http.route import SurfaceRouter, render_json_error
from gatewayz_metrics.service import ServiceProvider
from gatewayz_metrics.telemetry import CONTENT_TYPE

# Seconds for which a probe waits where the state is in doubt.
_PATIENCE = 0.05


def create_operations_router(services: ServiceProvider) -> SurfaceRouter:
    """`/livez` and `/readyz` for everybody, the others for those with a token."""
    router = SurfaceRouter(services, render_json_error, tag="operations")
    guarded = SurfaceRouter(
        services,
        render_json_error,
        tag="operations",
        guard=services.check_token,
    )

    @router.get("/livez")
    async def live() -> Response:
        """The process runs; whether the upstream does is no reason to restart it."""
        return _json({"status": "ok"})

    @router.get("/readyz")
    async def ready(request: Request) -> Response:
        """The service can answer: `degraded` while the upstream is down, which the answers then explain.

        It tells the last known state, as probes wait for a second at most. Sentences name hosts and files, so they
        are for callers with a token; where there are no tokens, everybody gets the code of what is wrong.
        """
        service = services.get()
        failure = await service.check_upstream(_PATIENCE)
        if failure is None:
            return _json({"status": "ok"})
        known = service.tokens.knows(request)
        details = {"code": failure.code} if known or service.tokens.open else {}
        return _json({"status": "degraded"} | details | ({"reason": failure.sentence} if known else {}))

    @guarded.get("/metrics")
    async def own_metrics() -> Response:
        """What the service measures about itself, for a scraper."""
        return Response(services.telemetry.page(), headers={"Content-Type": CONTENT_TYPE})

    @guarded.get("/openapi.json", include_in_schema=False)
    async def schema(request: Request) -> Response:
        """The OpenAPI description of every route."""
        return _json(request.app.openapi())

    router.include_router(guarded)
    return router


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")
