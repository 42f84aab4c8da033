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

from gatewayz_metrics.errors import InvalidParameter, MethodNotAllowed, ServiceError
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.validation import first_problem

Speak = Callable[[ServiceError], Response]
Guard = Callable[[Request], None]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def headers_of(error: ServiceError) -> dict[str, str]:
    """What HTTP wants beside some statuses (RFC 9110, 11.6.1 and 10.2.1)."""
    if error.status == 401:
        return {"WWW-Authenticate": 'Bearer realm="gatewayz-metrics"'}
    return {"Allow": error.allowed} if isinstance(error, MethodNotAllowed) else {}


def count_refusal(telemetry: Telemetry, error: ServiceError) -> None:
    """Count an error that is one of our limits, under its setting."""
    if limit := getattr(error, "limit", None):
        telemetry.refusals.labels(limit if isinstance(limit, str) else "max_response_bytes").inc()


def surface_route(telemetry: Telemetry, speak: Speak, guard: Guard | None = None) -> type[APIRoute]:
    """A route class that counts its requests, turns away what `guard` refuses, and lets `speak` tell errors."""

    class SurfaceRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()
            observe = telemetry.of_route(self.path)

            async def guarded(request: Request) -> Response:
                if guard is not None:
                    guard(request)
                return await handle(request)

            async def answer(request: Request) -> Response:
                begun = time.perf_counter()
                status = 500
                try:
                    response = await _spoken(guarded, request, speak)
                    status = response.status_code
                except HTTPException as exc:
                    # From a dependency of the host (its own login, its own limits): it answers in its own words.
                    status = exc.status_code
                    raise
                else:
                    return response
                finally:
                    observe(status, time.perf_counter() - begun)

            return answer

    return SurfaceRoute


async def _spoken(handle: Handler, request: Request, speak: Speak) -> Response:
    try:
        return await handle(request)
    except ServiceError as exc:
        return speak(exc)
    except RequestValidationError as exc:
        return speak(_sentence(exc))


def _sentence(exc: RequestValidationError) -> InvalidParameter:
    """The first thing wrong, as a sentence."""
    problem = first_problem(exc.errors())
    name = str(problem.place[1]) if len(problem.place) > 1 else "body"
    given = f" cannot be {problem.given[:100]!r}" if isinstance(problem.given, str) else ""
    return InvalidParameter(f"The parameter {name}{given}: {problem.clause}.")
