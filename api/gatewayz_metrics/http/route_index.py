"""The routes of an application by their paths, so that a request need not be compared with each."""

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send


class RouteIndex(BaseRoute):
    """Finds the route of a request whose path has no variable part, and matches no other request.

    It is the route that would be found without the index: the first that matches. Where one of those that match
    depends on more than method and path, the index has none.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes: dict[tuple[str, str], APIRoute] = {}
        for route in routes:
            if isinstance(route, APIRoute) and "{" not in route.path:
                for method in route.methods or ():
                    self._add(method, route.path, routes)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """What the route found says of the request."""
        route = self._find(scope)
        return (Match.NONE, {}) if route is None else route.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the route found answer."""
        route = self._find(scope)
        assert route is not None  # noqa: S101  # it has matched
        await route.handle(scope, receive, send)

    def _find(self, scope: Scope) -> APIRoute | None:
        # A path below a mount is told apart by the routes themselves.
        return self._routes.get((scope.get("method", ""), scope["path"])) if not scope.get("root_path") else None

    def _add(self, method: str, path: str, routes: Sequence[BaseRoute]) -> None:
        scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
        for route in routes:
            if not isinstance(route, APIRoute):
                return
            # Without the route's own condition.
            if APIRoute.matches(route, scope)[0] is Match.FULL:
                if not getattr(route, "is_conditional", False):
                    self._routes[method, path] = route
                return


def index_routes(app: FastAPI) -> None:
    """Have the requests of an application find its present routes by their paths."""
    app.router.routes.insert(0, RouteIndex(tuple(app.router.routes)))
