"""The routes of a surface: guarded, counted, and their errors in the surface's own words.

All of it lives in the routes themselves. A host application that already runs takes no further
middleware and no exception handlers, and a drop-in may arrive that late.
"""

import functools
import logging
import time
import traceback
from collections.abc import Callable, Coroutine, Iterable, Mapping
from inspect import signature
from math import ceil
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from gatewayz_metrics.errors import (
    ClientGone,
    ConfigurationError,
    InternalError,
    InvalidParameter,
    MethodNotAllowed,
    ServiceError,
    Unauthorized,
)
from gatewayz_metrics.http.disconnect import answer_unless_left
from gatewayz_metrics.http.openapi import ErrorForm, OpenApiObject, describe_errors
from gatewayz_metrics.http.request_id import add_request_id, request_id
from gatewayz_metrics.http.sending import answer_within_budget
from gatewayz_metrics.http.warm import keep_warm
from gatewayz_metrics.logs import log_for_request, printable
from gatewayz_metrics.security import describe_principal
from gatewayz_metrics.service import ServiceProvider
from gatewayz_metrics.telemetry import RouteObserver
from gatewayz_metrics.validation import first_problem

log = logging.getLogger(__name__)

EVERY_METHOD = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

# Where a route that stands for several pages notes which one it answers, for the metrics by route.
ROUTE_LABEL = "gatewayz_metrics.route"

# In a host every 5xx feeds the host's own alarms and throttles, so what fails there has another status. Of the
# others Grafana's Prometheus datasource shows the sentence of 400 and 422 alone, and its JSON plugins that of any.
_FAILED_IN_HOST = 422


class AnyPathConvertor(PathConvertor):
    """The rest of a path as Starlette's `path`, which leaves paths with a line feed to others."""

    regex = "(?s:.*)"


register_url_convertor("any_path", AnyPathConvertor())

ErrorMaker = Callable[[Request], ServiceError]
ErrorRenderer = Callable[[ServiceError, Request], Response]
Guard = Callable[[Request], None]
# Whether routes are there for a request, by its scope.
Condition = Callable[[Scope], bool]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class SurfaceRouter(APIRouter):
    """A router whose routes count their requests, refuse whom `guard` refuses, and render errors alike.

    `for_catalogue` lets them use the memory that is kept for the catalogue. In a host no answer is a 5xx. Where
    `condition` does not hold, which is asked with every request, the routes are as good as absent: other routes get
    the request.
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
        error_form: ErrorForm | None = None,
        for_catalogue: bool = False,
    ) -> None:
        self._error_form = error_form or _JSON_ERRORS
        self._guarded = guard is not None
        self._in_host = services.in_host
        self._conditional = condition is not None
        route_class = _surface_route(services, render_error, tag, guard, condition, for_catalogue=for_catalogue)
        super().__init__(prefix=prefix, tags=[tag], route_class=route_class, default_response_class=Response)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add a route; in a host a defect of ours is an error like others, and the log has the rest."""
        if self._conditional:
            # A description of the application must not promise what may turn out to be absent.
            options["include_in_schema"] = False
        super().add_api_route(path, _mark_defects(endpoint) if self._in_host else endpoint, **options)

    def take_routes(self, other: "SurfaceRouter") -> None:
        """Have the routes of another router as one's own; `include_router` would look at all of them for each path."""
        self.routes.extend(other.routes)

    def describe(
        self,
        answers: OpenApiObject,
        *families: type[ServiceError],
        parameters: Iterable[OpenApiObject] = (),
        body: OpenApiObject | None = None,
    ) -> OpenApiObject:
        """An operation for `openapi_extra`: its answers by status, and the classes of errors that it may raise.

        Every operation may raise ConfigurationError, where the service is made by its request, and a guarded one
        Unauthorized.
        """
        raised: list[type[ServiceError]] = [*families, ConfigurationError]
        if self._guarded:
            raised.append(Unauthorized)
        highest = _FAILED_IN_HOST if self._in_host else 599
        told = {str(min(int(status), highest)): answer for status, answer in answers.items()}
        operation: OpenApiObject = {"responses": describe_errors(raised, self._error_form, highest) | told}
        if declared := list(parameters):
            operation["parameters"] = declared
        if body is not None:
            operation["requestBody"] = body
        return operation

    def list_paths(self, method: str) -> list[str]:
        """The paths below the prefix that have a route for a method so far, in order."""
        return [path for path, methods in self._methods_by_path().items() if method in methods]

    def refuse_other_methods(self, *, kept: Mapping[str, frozenset[str]] | None = None) -> None:
        """Answer 405 for every method that no route of a path takes so far; `kept` leaves some to other routers."""
        for path, methods in self._methods_by_path().items():
            answered = methods | (kept or {}).get(path, frozenset())
            if others := EVERY_METHOD - answered:
                self.refuse([path], _method_refusal(answered), methods=others)

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


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Make each route of a router one of the application's own, under the application's dependencies."""
    # From FastAPI 0.137 on, `include_router` adds one entry that has no path. What looks for the path of a request's
    # route, such as prometheus-fastapi-instrumentator 7.1, would then fail in every request of the host. And each
    # such entry is asked twice for each request.
    for route in router.routes:
        if isinstance(route, APIRoute):
            app.router.add_api_route(
                route.path,
                route.endpoint,
                methods=sorted(route.methods or ()),
                tags=list(route.tags),
                include_in_schema=route.include_in_schema,
                openapi_extra=route.openapi_extra,
                response_class=route.response_class,
                route_class_override=type(route),
            )


def render_json_error(error: ServiceError, _request: Request) -> Response:
    """An error as `{"error": sentence, "code": word}`: what surfaces without a protocol of their own answer."""
    body = orjson.dumps({"error": error.sentence, "code": error.code}, option=orjson.OPT_APPEND_NEWLINE)
    return Response(body, error.status, error_headers(error), "application/json")


def _describe_json_error(codes: list[str]) -> OpenApiObject:
    return {
        "type": "object",
        "properties": {"error": {"type": "string"}, "code": {"enum": codes}},
        "required": ["error", "code"],
    }


_JSON_ERRORS = ErrorForm(lambda kind: kind.status, _describe_json_error)


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


class _Defect(Exception):
    """Carries what an endpoint of ours let through in a host; its cause is the fault."""


def _mark_defects(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint whose faults can be told from those of the host's dependencies, which have handlers of the host."""

    @functools.wraps(endpoint)
    async def answer(*args: Any, **kwargs: Any) -> Any:
        try:
            return await endpoint(*args, **kwargs)
        except (ServiceError, HTTPException, ClientDisconnect):
            raise
        except Exception as exc:
            raise _Defect from exc

    return answer


def _surface_route(
    services: ServiceProvider,
    render_error: ErrorRenderer,
    surface: str,
    guard: Guard | None,
    condition: Condition | None,
    *,
    for_catalogue: bool,
) -> type[APIRoute]:
    """The class of a surface's routes; FastAPI makes one object of it for each route."""
    telemetry = services.telemetry

    def observer(request: Request, path: str) -> RouteObserver:
        return telemetry.of_route(request.scope.get(ROUTE_LABEL, path))

    class SurfaceRoute(APIRoute):
        # Whether more than method and path decides about a match.
        is_conditional = condition is not None

        def get_route_handler(self) -> Handler:
            # What FastAPI does beside is for dependencies, such as a login of the host. They are the route's own, or
            # they are those of a router that includes it: for that its handler is made again.
            may_depend = bool(self.dependencies) or hasattr(self, "app")
            handle = super().get_route_handler() if may_depend else _direct_handler(self.endpoint)

            async def answer(request: Request) -> Response:
                begun = time.perf_counter()
                status = 500
                if not services.in_host:  # whose log lines have a form of their own
                    log_for_request(lambda: _describe(request, surface, self.path))
                try:
                    response = await _render_errors(handle, request, self.path)
                    if services.in_host and response.status_code >= 500:
                        response.status_code = _FAILED_IN_HOST
                    status = response.status_code
                    # A host may well have an id of its own, which its middleware sends.
                    if not services.in_host or status >= 400:
                        add_request_id(response, request)
                except HTTPException as exc:
                    # From a dependency of the host (its own login, its own limits): it answers in its own words.
                    status = exc.status_code
                    raise
                else:
                    return response
                finally:
                    observer(request, self.path)(status, time.perf_counter() - begun)

            return answer

    async def _answer(handle: Handler, request: Request, path: str) -> Response:
        if guard is None:
            return await answer_unless_left(handle, request)
        guard(request)
        account = services.get().memory.open(for_catalogue=for_catalogue)
        response = await answer_within_budget(account, answer_unless_left(handle, request))
        keep_warm(request, response, observer(request, path), for_catalogue=for_catalogue)
        return response

    async def _render_errors(handle: Handler, request: Request, path: str) -> Response:
        try:
            return await _answer(handle, request, path)
        except ServiceError as exc:
            error = exc
        except RequestValidationError as exc:
            error = _to_sentence(exc)
        except HTTPException:
            raise
        except ClientDisconnect:
            # Nobody reads it; without an answer the server would log a fault.
            error = ClientGone()
        except Exception as exc:  # the last resort: whatever is left is answered and logged
            fault = exc.__cause__ if isinstance(exc, _Defect) else exc
            if services.in_host and fault is exc:
                raise  # by a dependency of the host
            error = InternalError(request_id(request.scope))
            _log_fault(fault or exc, request, path)
        if error.root.limit:
            telemetry.refusals.labels(error.root.limit).inc()
        response = render_error(error, request)
        if response.status_code == 503:
            response.headers["Retry-After"] = str(max(1, ceil(error.root.retry_after or 1)))
        return response

    class ConditionalRoute(SurfaceRoute):
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            found = super().matches(scope)
            return found if found[0] is Match.NONE or condition is None or condition(scope) else (Match.NONE, {})

    return SurfaceRoute if condition is None else ConditionalRoute


def _direct_handler(endpoint: Callable[..., Coroutine[Any, Any, Response]]) -> Handler:
    """A handler that calls an endpoint of ours, which takes the request or nothing, and returns a response."""
    if signature(endpoint).parameters:
        return endpoint
    return lambda _request: endpoint()


def _describe(request: Request, surface: str, path: str) -> Mapping[str, str]:
    """What the log lines of a request say about it."""
    route = request.scope.get(ROUTE_LABEL, path)
    found = {
        "request_id": request_id(request.scope),
        "surface": surface,
        "route": route,
        "principal": describe_principal(),
    }
    return {name: text for name, text in found.items() if text}


def _log_fault(exc: BaseException, request: Request, path: str) -> None:
    """One line that names the route and the place; the traceback is there for whoever wants it."""
    frames = traceback.extract_tb(exc.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    fault = printable(f"{type(exc).__name__}: {exc}")
    log.error("Request %s to %s %s failed: %s (%s)", request_id(request.scope), request.method, path, fault, place)
    log.debug("The traceback of request %s:", request_id(request.scope), exc_info=exc)


def _to_sentence(exc: RequestValidationError) -> InvalidParameter:
    """The first thing wrong, as a sentence."""
    problem = first_problem(exc.errors())
    name = str(problem.place[1]) if len(problem.place) > 1 else "body"
    given = f" cannot be {problem.given[:100]!r}" if isinstance(problem.given, str) else ""
    return InvalidParameter(f"The parameter {name}{given}: {problem.clause}.")
