"""Answers to pages of other origins (https://fetch.spec.whatwg.org/#http-cors-protocol), stand-alone only."""

from collections.abc import Iterable

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

# What Grafana's browser access sends beside the safelisted ones.
_HEADERS = ("authorization", "content-type", "x-api-key", "x-grafana-device-id", "x-request-id")


def allow_origins(app: FastAPI, origins: Iterable[str]) -> None:
    """Answer pages of exactly these origins from now on, and of no others.

    The origins are known when the application starts. Its middleware has been put together by then, so it is
    put together again; without origins there is nothing in the way of a request.
    """
    ours: object = CORSMiddleware
    others = [each for each in app.user_middleware if each.cls is not ours]
    allowed = list(origins)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=allowed,
        allow_methods=["GET", "POST"],
        allow_headers=_HEADERS,
        allow_credentials=True,
    )
    app.user_middleware[:] = [cors, *others] if allowed else others
    app.middleware_stack = app.build_middleware_stack()
