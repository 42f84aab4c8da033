"""What those who run the service ask: is it alive, can it answer, what does it measure about itself."""

import orjson
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from gatewayz_metrics.http.route import surface_route
from gatewayz_metrics.metrics_api.routes import speak
from gatewayz_metrics.query import QueryLayer
from gatewayz_metrics.security import ServiceTokens
from gatewayz_metrics.telemetry import Telemetry


def operations_router(layer: QueryLayer, tokens: ServiceTokens, telemetry: Telemetry) -> APIRouter:
    """`/livez` and `/readyz` for everybody, the others for those with a token."""
    router = APIRouter(tags=["operations"], route_class=surface_route(telemetry, speak))
    inside = APIRouter(tags=["operations"], route_class=surface_route(telemetry, speak, tokens.check))

    @router.get("/livez")
    async def live() -> dict[str, str]:
        """The process runs; whether the upstream does is no reason to restart it."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def ready() -> dict[str, str]:
        """The service can answer: `degraded` while the upstream is down, which the answers then explain."""
        failure = await layer.probe()
        return {"status": "degraded", "reason": failure.sentence} if failure else {"status": "ok"}

    @inside.get("/metrics")
    async def own_metrics() -> Response:
        """What the service measures about itself, for a scraper."""
        return Response(telemetry.page(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    @inside.get("/openapi.json", include_in_schema=False)
    async def schema(request: Request) -> Response:
        """The OpenAPI description of every route."""
        return Response(orjson.dumps(request.app.openapi()), media_type="application/json")

    router.include_router(inside)
    return router
