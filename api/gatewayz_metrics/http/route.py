"""The routes of a surface: guarded, counted, and their errors in the surface's own words.

All of it lives in the routes themselves. A host application that already runs takes no further
middleware and no exception handlers, and a drop-in may arrive that late.
"""

import logging
import re
import time
import traceback
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any
from uuid import uuid4

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gatewayz_metrics.errors import InternalError, InvalidParameter, MethodNotAllowed, RequestError, ServiceError
from gatewayz_metrics.logs import printable
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.validation import first_problem

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

EVERY_METHOD = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

# Where a route that stands for several pages notes which one it answers, for the metrics by route.
ROUTE_LABEL = "gatewayz_metrics.route"

ErrorMaker = Callable[[Request], ServiceError]
ErrorRenderer = Callable[[ServiceError, Request], Response]
Guard = Callable[[Request], None]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class SurfaceRouter(APIRouter):
    """A router whose routes count their requests, refuse whom `guard` refuses, and render errors alike."""

    def __init__(
        self,
        telemetry: Telemetry,
        render_error: ErrorRenderer,
        *,
        tag: str,
        prefix: str = "",
        guard: Guard | None = None,
    ) -> None:
        route_class = _surface_route(telemetry, render_error, guard)
        super().__init__(prefix=prefix, tags=[tag], route_class=route_class, default_response_class=Response)

    def refuse_other_methods(self, *, kept: Mapping[str, frozenset[str]] | None = None) -> None:
        """Answer 405 for every method that no route of a path takes so far; `kept` leaves some to other routers."""
        taken: dict[str, set[str]] = {}
        for route in self.routes:
            if isinstance(route, APIRoute):
                taken.setdefault(route.path.removeprefix(self.prefix), set()).update(route.methods or ())
        for path, methods in taken.items():
            others = EVERY_METHOD - methods - (kept or {}).get(path, frozenset())
            if others:
                self.refuse([path], _method_refusal(methods), methods=others)

    def refuse(self, paths: Iterable[str], error: ErrorMaker, *, methods: Iterable[str] = EVERY_METHOD) -> None:
        """Answer some paths with an error, whatever the method or for some methods only."""

        async def refuse(request: Request) -> Response:
            raise error(request)

        for path in paths:
            self.add_api_route(path, refuse, methods=sorted(methods), include_in_schema=False)


def render_json_error(error: ServiceError, _request: Request) -> Response:
    """An error as `{"error": sentence, "code": word}`: what surfaces without a protocol of their own answer."""
    body = orjson.dumps({"error": error.sentence, "code": error.code}, option=orjson.OPT_APPEND_NEWLINE)
    return Response(body, error.status, error_headers(error), "application/json")


def error_headers(error: ServiceError) -> dict[str, str]:
    """The headers that some statuses require (RFC 9110, 11.6.1 and 10.2.1)."""
    if error.status == 401:
        return {"WWW-Authenticate": 'Bearer realm="gatewayz-metrics"'}
    return {"Allow": error.allowed} if isinstance(error, MethodNotAllowed) else {}


def requested_path(request: Request) -> str:
    """The path as sentences quote it; `request.url` fails on a query string that is not UTF-8."""
    path: str = request.scope["path"]
    return path[:100]


def _method_refusal(methods: Iterable[str]) -> ErrorMaker:
    allowed = ", ".join(sorted(methods))
    return lambda request: MethodNotAllowed(request.method, allowed)


def _surface_route(telemetry: Telemetry, render_error: ErrorRenderer, guard: Guard | None) -> type[APIRoute]:
    """The class of a surface's routes; FastAPI makes one object of it for each route."""

    class SurfaceRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()
            path = self.path

            async def answer(request: Request) -> Response:
                begun = time.perf_counter()
                status = 500
                try:
                    response = await _render_errors(handle, request, path)
                    status = response.status_code
                except HTTPException as exc:
                    # From a dependency of the host (its own login, its own limits): it answers in its own words.
                    status = exc.status_code
                    raise
                else:
                    return response
                finally:
                    observe = telemetry.of_route(request.scope.get(ROUTE_LABEL, path))
                    observe(status, time.perf_counter() - begun)

            return answer

    async def _render_errors(handle: Handler, request: Request, path: str) -> Response:
        try:
            if guard is not None:
                guard(request)
            return await handle(request)
        except ServiceError as exc:
            error = exc
        except RequestValidationError as exc:
            error = _to_sentence(exc)
        except HTTPException:
            raise
        except ClientDisconnect:
            # Nobody reads it; without an answer the server would log a fault.
            error = RequestError("The client left before its body was whole.")
        except Exception as exc:  # the last resort: whatever is left is answered and logged
            error = InternalError(request_id(request))
            _log_fault(exc, request, path)
        if error.root.limit:
            telemetry.refusals.labels(error.root.limit).inc()
        response = render_error(error, request)
        response.headers["X-Request-Id"] = request_id(request)
        return response

    return SurfaceRoute


def request_id(request: Request) -> str:
    """The id by which a request is found in logs: the caller's own when it is sane, else a new one."""
    if not hasattr(request.state, "request_id"):
        given = request.headers.get("x-request-id", "")
        request.state.request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
    found: str = request.state.request_id
    return found


def _log_fault(exc: Exception, request: Request, path: str) -> None:
    """One line that names the route and the place; the traceback is there for whoever wants it."""
    frames = traceback.extract_tb(exc.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    fault = printable(f"{type(exc).__name__}: {exc}")
    log.error("Request %s to %s %s failed: %s (%s)", request_id(request), request.method, path, fault, place)
    log.debug("The traceback of request %s:", request_id(request), exc_info=exc)


def _to_sentence(exc: RequestValidationError) -> InvalidParameter:
    """The first thing wrong, as a sentence."""
    problem = first_problem(exc.errors())
    name = str(problem.place[1]) if len(problem.place) > 1 else "body"
    given = f" cannot be {problem.given[:100]!r}" if isinstance(problem.given, str) else ""
    return InvalidParameter(f"The parameter {name}{given}: {problem.clause}.")
