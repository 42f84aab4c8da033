"""What every surface does around its routes: errors in its own language, requests counted.

All of it lives in the routes themselves: middleware and exception handlers of an
application cannot be added once it has started, which is when a drop-in arrives.
"""

import time
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from gatewayz_metrics.errors import InvalidParameter, RequestError, ServiceError
from gatewayz_metrics.telemetry import Telemetry

Speak = Callable[[ServiceError], Response]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def surface_route(telemetry: Telemetry, speak: Speak) -> type[APIRoute]:
    """A route class whose errors are spoken by `speak` and whose requests are counted."""

    class SurfaceRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                begun = time.perf_counter()
                status = "500"
                try:
                    response = await _spoken(handle, request, speak)
                    status = str(response.status_code)
                    return response
                finally:
                    telemetry.requests.labels(self.path, status).inc()
                    telemetry.request_seconds.labels(self.path).observe(time.perf_counter() - begun)

            return answer

    return SurfaceRoute


async def _spoken(handle: Handler, request: Request, speak: Speak) -> Response:
    try:
        return await handle(request)
    except ServiceError as exc:
        return speak(exc)
    except RequestValidationError as exc:
        return speak(_sentence(exc))
    except HTTPException as exc:
        return speak(RequestError(f"The request cannot be read ({exc.status_code}): {exc.detail}."))


def _sentence(exc: RequestValidationError) -> InvalidParameter:
    """The first thing wrong, as a sentence."""
    first = exc.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:2]) or "body"
    given = f" cannot be {str(first['input'])[:100]!r}" if isinstance(first.get("input"), str) else ""
    return InvalidParameter(f"The parameter {name}{given}: {first['msg'].removeprefix('Value error, ')}.")
