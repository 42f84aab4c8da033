"""Connections to the upstream, none of which is older than PROMETHEUS_CONNECTION_AGE.

Under steady traffic a kept connection would never end, and the server's name never be looked up again. httpx limits
only idle time, so the whole client is replaced, and the old one closed when its last request has ended.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from gatewayz_metrics.settings import Settings
from gatewayz_metrics.upstream.tls import create_context
from gatewayz_metrics.watched_files import Contents, WatchedFiles

# Seconds; shorter than the idle timeouts that servers have, so that few requests meet a connection that just closed.
_KEEPALIVE_SECONDS = 15.0


class _Generation:
    """A client of a certain age, and how many requests it has under way."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.begun = time.monotonic()
        self.requests = 0


class UpstreamConnections:
    """The HTTP client of the moment; `files` are its certificates, for which new ones mean new connections."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError when a certificate cannot be used."""
        self._settings = settings
        self._retired: set[_Generation] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self.files = WatchedFiles(
            {
                "PROMETHEUS_CA_FILE": settings.prometheus_ca_file,
                "PROMETHEUS_CERT_FILE": settings.prometheus_cert_file,
                "PROMETHEUS_KEY_FILE": settings.prometheus_key_file,
            },
            self._prepare,
        )
        if self.files:
            self.files.load()
        else:
            self._trust(create_context(settings))
        self._current = self._begin()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[httpx.AsyncClient]:
        """The client for one request, which ends with the block."""
        if self._is_outdated or time.monotonic() - self._current.begun > self._settings.prometheus_connection_age:
            self._renew()
        generation = self._current
        generation.requests += 1
        try:
            yield generation.client
        finally:
            generation.requests -= 1
            if generation in self._retired and not generation.requests:
                self._close(generation)

    async def aclose(self) -> None:
        """Close every connection."""
        for generation in (self._current, *self._retired):
            await generation.client.aclose()
        for task in self._closing:
            task.cancel()

    def _prepare(self, _: Contents) -> Callable[[], None]:
        return partial(self._trust, create_context(self._settings))

    def _trust(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._is_outdated = True

    def _begin(self) -> _Generation:
        self._is_outdated = False
        return _Generation(_create_client(self._settings, self._context))

    def _renew(self) -> None:
        old, self._current = self._current, self._begin()
        self._retired.add(old)
        if not old.requests:
            self._close(old)

    def _close(self, generation: _Generation) -> None:
        self._retired.discard(generation)
        # In a task of its own: a request that is cancelled could not wait for it.
        task = asyncio.create_task(generation.client.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _create_client(settings: Settings, context: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "gzip" if settings.prometheus_gzip else "identity",
            **{name: value.get_secret_value() for name, value in settings.prometheus_headers.items()},
        },
        # Each request has a deadline of its own.
        timeout=httpx.Timeout(None, connect=settings.prometheus_connect_timeout),
        limits=httpx.Limits(
            # One more for the question that decides about an outage: it must not wait behind those that hang.
            max_connections=settings.prometheus_connections + 1,
            max_keepalive_connections=settings.prometheus_connections,
            keepalive_expiry=_KEEPALIVE_SECONDS,
        ),
        verify=context,
        # The client serves all callers: a cookie that came with one caller's answer must not travel with another's.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        # A proxy named by the environment would see every query and every credential.
        trust_env=False,
        # A redirect could send queries and credentials to any host.
        follow_redirects=False,
    )
