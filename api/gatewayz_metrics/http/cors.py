"""Answers to pages of other origins (https://fetch.spec.whatwg.org/#http-cors-protocol), stand-alone only."""

from collections.abc import Callable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# What Grafana's browser access sends beside the safelisted ones.
_HEADERS = ("authorization", "content-type", "x-grafana-device-id")


class Cors:
    """Allows exact origins, which are known only once the settings are; without any it does nothing."""

    def __init__(self, app: ASGIApp, origins: Callable[[], tuple[str, ...]]) -> None:
        self._origins = origins
        self._app = app
        # Made once for each list of origins: middleware is put together before any setting is read.
        self._by_origins: dict[tuple[str, ...], ASGIApp] = {(): app}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the settings of the application say."""
        origins = self._origins() if scope["type"] == "http" else ()
        if origins not in self._by_origins:
            self._by_origins[origins] = CORSMiddleware(
                self._app,
                allow_origins=list(origins),
                allow_methods=["GET", "POST"],
                allow_headers=_HEADERS,
                allow_credentials=True,
            )
        await self._by_origins[origins](scope, receive, send)
