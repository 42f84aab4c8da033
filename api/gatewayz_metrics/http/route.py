"""The routes of a surface: guarded, counted, and their errors in the surface's own words.

All of it lives in the routes themselves. A host application that already runs takes no further
middleware and no exception handlers, and a drop-in may arrive that late.
"""

import functools
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from gatewayz_metrics.errors import InvalidParameter, MethodNotAllowed, RequestError, ServiceError
from gatewayz_metrics.service import ServiceProvider
from gatewayz_metrics.validation import first_problem

log = logging.getLogger(__name__)

EVERY_METHOD = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

# Where a route that stands for several pages notes which one it answers, for the metrics by route.
ROUTE_LABEL = "gatewayz_metrics.route"

# In a host every 5xx feeds the host's own alarms and throttles, so what fails there has another status. Of the
# others Grafana's Prometheus datasource shows the sentence of 400 and 422 alone, and its JSON plugins that of any.
_FAILED_IN_HOST = 422

ErrorMaker = Callable[[Request], ServiceError]
ErrorRenderer = Callable[[ServiceError, Request], Response]
Guard = Callable[[Request], None]
Condition = Callable[[], bool]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class SurfaceRouter(APIRouter):
    """A router whose routes count their requests, refuse whom `guard` refuses, and render errors alike.

    In a host no answer is a 5xx. Where `condition` does not hold, which is asked with every request, the routes
    are as good as absent: other routes get the request.
    """

    def __init__(
        self,
        services: ServiceProvider,
        render_error: ErrorRenderer,
        *,
        tag: str,
        prefix: str = "",
        guard: Guard | None = None,
        condition: Condition | None = None,
    ) -> None:
        self._in_host = services.in_host
        self._conditional = condition is not None
        route_class = _surface_route(services, render_error, guard, condition)
        super().__init__(prefix=prefix, tags=[tag], route_class=route_class, default_response_class=Response)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add a route; in a host a defect of ours is an error like others, and the log has the rest."""
        if self._conditional:
            # A description of the application must not promise what may turn out to be absent.
            options["include_in_schema"] = False
        super().add_api_route(path, _contain_defects(endpoint) if self._in_host else endpoint, **options)

    def list_paths(self, method: str) -> list[str]:
        """The paths below the prefix that have a route for a method so far, in order."""
        return [path for path, methods in self._methods_by_path().items() if method in methods]

    def refuse_other_methods(self, *, kept: Mapping[str, frozenset[str]] | None = None) -> None:
        """Answer 405 for every method that no route of a path takes so far; `kept` leaves some to other routers."""
        for path, methods in self._methods_by_path().items():
            others = EVERY_METHOD - methods - (kept or {}).get(path, frozenset())
            if others:
                self.refuse([path], _method_refusal(methods), methods=others)

    def refuse(self, paths: Iterable[str], error: ErrorMaker, *, methods: Iterable[str] = EVERY_METHOD) -> None:
        """Answer some paths with an error, whatever the method or for some methods only."""

        async def refuse(request: Request) -> Response:
            raise error(request)

        for path in paths:
            self.add_api_route(path, refuse, methods=sorted(methods), include_in_schema=False)

    def _methods_by_path(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for route in self.routes:
            if isinstance(route, APIRoute):
                found.setdefault(route.path.removeprefix(self.prefix), set()).update(route.methods or ())
        return found


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


def _contain_defects(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint that raises ServiceError where it would raise anything else.

    Around the endpoint alone: what a dependency of the host raises has handlers of the host.
    """

    @functools.wraps(endpoint)
    async def answer(*args: Any, **kwargs: Any) -> Any:
        try:
            return await endpoint(*args, **kwargs)
        except (ServiceError, HTTPException):
            raise
        except ClientDisconnect as exc:
            raise RequestError("The request was broken off.") from exc
        except Exception as exc:
            log.exception("A metrics route failed.")
            raise ServiceError("The metrics service failed, which is a defect of its own; the log says where.") from exc

    return answer


def _surface_route(
    services: ServiceProvider, render_error: ErrorRenderer, guard: Guard | None, condition: Condition | None
) -> type[APIRoute]:
    """The class of a surface's routes; FastAPI makes one object of it for each route."""
    telemetry = services.telemetry

    class SurfaceRoute(APIRoute):
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            found = super().matches(scope)
            if condition is None or found[0] is Match.NONE or condition():
                return found
            return Match.NONE, {}

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()
            observe = telemetry.of_route(self.path)

            async def answer(request: Request) -> Response:
                begun = time.perf_counter()
                status = 500
                try:
                    response = await _render_errors(handle, request)
                    if services.in_host and response.status_code >= 500:
                        response.status_code = _FAILED_IN_HOST
                    status = response.status_code
                except HTTPException as exc:
                    # From a dependency of the host (its own login, its own limits): it answers in its own words.
                    status = exc.status_code
                    raise
                else:
                    return response
                finally:
                    label = request.scope.get(ROUTE_LABEL)
                    count = observe if label is None else telemetry.of_route(label)
                    count(status, time.perf_counter() - begun)

            return answer

    async def _render_errors(handle: Handler, request: Request) -> Response:
        try:
            if guard is not None:
                guard(request)
            return await handle(request)
        except ServiceError as exc:
            error = exc
        except RequestValidationError as exc:
            error = _to_sentence(exc)
        if error.root.limit:
            telemetry.refusals.labels(error.root.limit).inc()
        return render_error(error, request)

    return SurfaceRoute


def _to_sentence(exc: RequestValidationError) -> InvalidParameter:
    """The first thing wrong, as a sentence."""
    problem = first_problem(exc.errors())
    name = str(problem.place[1]) if len(problem.place) > 1 else "body"
    given = f" cannot be {problem.given[:100]!r}" if isinstance(problem.given, str) else ""
    return InvalidParameter(f"The parameter {name}{given}: {problem.clause}.")
