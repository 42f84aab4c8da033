"""Answers to pages of other origins (https://fetch.spec.whatwg.org/#http-cors-protocol), stand-alone only."""

from collections.abc import Iterable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# What Grafana's browser access sends beside the safelisted ones.
_HEADERS = ("authorization", "content-type", "x-grafana-device-id")


class Cors:
    """Lets exact origins in, once the settings are known; until then, and without any, it is not there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._allowing: dict[tuple[str, ...], ASGIApp] = {(): app}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the settings of the application say."""
        origins = origins_of(scope) if scope["type"] == "http" else ()
        if origins not in self._allowing:
            self._allowing[origins] = self._for(origins)
        await self._allowing[origins](scope, receive, send)

    def _for(self, origins: Iterable[str]) -> ASGIApp:
        return CORSMiddleware(
            self._app,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=_HEADERS,
            allow_credentials=True,
        )


def origins_of(scope: Scope) -> tuple[str, ...]:
    """The origins that the application's settings name."""
    found: tuple[str, ...] = getattr(scope["app"].state, "cors_origins", ())
    return found
