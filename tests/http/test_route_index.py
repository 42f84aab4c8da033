"""The index finds the route that comparing with each would find."""

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from gatewayz_metrics import create_app
from gatewayz_metrics.http.route import EVERY_METHOD
from gatewayz_metrics.http.route_index import RouteIndex
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from tests.http.world import make_scope

INDEX, *ROUTES = create_app().router.routes
FIXED = sorted({route.path for route in ROUTES if isinstance(route, APIRoute) and "{" not in route.path})
OTHERS = ["/api/v1/label/job/values", "/prometheus/metrics/system", "/api/v1/nothing", "/nothing", "/api/v1/query/"]


def find(routes: list[BaseRoute], scope: Scope) -> object:
    """The endpoint of the first route that matches."""
    found = (route.matches(scope) for route in routes)
    return next((child["endpoint"] for match, child in found if match is Match.FULL), None)


@pytest.mark.parametrize("headers", [{}, {"accept": "text/html"}], ids=["a program", "a browser"])
def test_it_finds_what_comparing_with_each_finds(headers: dict[str, str]) -> None:
    known = 0
    for path in (*FIXED, *OTHERS):
        for method in (*sorted(EVERY_METHOD), "TRACE"):
            scope = make_scope(method, path, headers)
            indexed, expected = find([INDEX], scope), find(ROUTES, scope)
            known += indexed is not None
            assert indexed in (None, expected), (method, path)

    assert known > 100


@pytest.mark.parametrize("path", ["/prometheus/metrics/summary", "/api/v1/query", "/metrics", "/query"])
def test_paths_that_are_asked_often_are_in_it(path: str) -> None:
    method = "POST" if path == "/query" else "GET"

    assert find([INDEX], make_scope(method, path, {})) is not None
    # Below a mount the routes themselves know what a path means.
    assert find([INDEX], {**make_scope(method, path, {}), "root_path": "/mounted"}) is None


def test_what_stands_first_wins() -> None:
    router = APIRouter()

    @router.get("/{name}")
    async def any_name() -> None:
        """Takes the path of the next."""

    @router.get("/fixed")
    async def fixed() -> None:
        """Never reached."""

    assert find([RouteIndex(router.routes)], make_scope("GET", "/fixed", {})) is any_name
