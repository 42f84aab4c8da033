"""Forgetting everything that was kept: what those ask for who deleted samples or filled some in."""

import orjson
from fastapi import Request, Response

from gatewayz_metrics.errors import RequestError
from gatewayz_metrics.http.openapi import JSON, describe_answer
from gatewayz_metrics.http.route import Condition, SurfaceRouter, render_json_error
from gatewayz_metrics.service import ServiceProvider
from gatewayz_metrics.siblings import SiblingsSilent

PURGE = "/-/purge"

_BODY = {
    "type": "object",
    "properties": {"status": {"const": "ok"}, "range_cache_bytes": {"type": "integer"}},
    "required": ["status", "range_cache_bytes"],
}
_PURGED = {"200": describe_answer("How many bytes the range cache had.", {JSON: _BODY})}


class PurgeClosed(RequestError):
    """Nobody can be told from a stranger, in an application that may be public."""

    status, code = 403, "purge_closed"

    def __init__(self) -> None:
        super().__init__("Kept answers can only be purged where API_TOKENS are set.")


def create_purge_router(
    services: ServiceProvider, prefix: str = "", *, condition: Condition | None = None
) -> SurfaceRouter:
    """`POST /-/purge` under a prefix, for those with a token; in a host it is closed where there are no tokens.

    With a `condition` it is answered only where it holds.
    """
    router = SurfaceRouter(
        services,
        render_json_error,
        tag="operations",
        prefix=prefix,
        guard=lambda request: _check(services, request),
        condition=condition,
    )

    @router.post(PURGE, openapi_extra=router.describe(_PURGED, PurgeClosed, SiblingsSilent))
    async def purge() -> Response:
        """Forget every kept answer and point; what is asked from now on comes from the upstream."""
        body = {"status": "ok", "range_cache_bytes": await services.purge()}
        return Response(orjson.dumps(body), media_type="application/json")

    return router


def _check(services: ServiceProvider, request: Request) -> None:
    if services.in_host and services.get().tokens.open:
        raise PurgeClosed
    services.check_token(request)
