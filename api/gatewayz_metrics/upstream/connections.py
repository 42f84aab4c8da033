"""Connections to the upstream, none of which is older than PROMETHEUS_CONNECTION_AGE.

Under steady traffic a kept connection would never end, and the server's name never be looked up again. HTTP libraries
limit only idle time, so all connections are replaced together, and the old ones closed when their last request has
ended.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from gatewayz_metrics.settings import Settings
from gatewayz_metrics.upstream.httpx_transport import HttpxTransport, write_url
from gatewayz_metrics.upstream.tls import create_context
from gatewayz_metrics.upstream.transport import HttpReply, HttpRequest, Receive, Transport
from gatewayz_metrics.watched_files import Contents, WatchedFiles

# Makes new connections, in the running event loop.
Connect = Callable[[], Transport]


class _Generation:
    """Connections of a certain age, and how many requests they have under way."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.begun = time.monotonic()
        self.requests = 0


class UpstreamConnections:
    """The connections of the moment; `files` are their certificates, for which new ones mean new connections."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError when a certificate or the URL cannot be used."""
        self._settings = settings
        # The URL as requests carry it.
        self.url = write_url(settings.prometheus_url)
        # As somebody wrote it, for errors.
        self._host = urlsplit(settings.prometheus_url).netloc
        # None until the first request, and after a certificate has changed.
        self._current: _Generation | None = None
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
            self._use(_choose(settings, self._host))

    async def exchange(self, request: HttpRequest, receive: Receive, seconds: float) -> HttpReply:
        """One request over connections that are young enough; raises as a Transport does."""
        generation = self._pick()
        generation.requests += 1
        try:
            return await generation.transport.exchange(request, receive, seconds)
        finally:
            generation.requests -= 1
            if generation in self._retired and not generation.requests:
                self._close(generation)

    async def aclose(self) -> None:
        """Close every connection."""
        for generation in (self._current, *self._retired):
            if generation is not None:
                await generation.transport.aclose()
        for task in self._closing:
            task.cancel()

    def _pick(self) -> _Generation:
        current = self._current
        if current is not None and time.monotonic() - current.begun > self._settings.prometheus_connection_age:
            self._retire()
        if self._current is None:
            self._current = _Generation(self._connect())
        return self._current

    def _prepare(self, _: Contents) -> Callable[[], None]:
        return partial(self._use, _choose(self._settings, self._host))

    def _use(self, connect: Connect) -> None:
        self._connect = connect
        self._retire()

    def _retire(self) -> None:
        """Send no more requests over the present connections."""
        old, self._current = self._current, None
        if old is None:
            return
        self._retired.add(old)
        if not old.requests:
            self._close(old)

    def _close(self, generation: _Generation) -> None:
        self._retired.discard(generation)
        # In a task of its own: a request that is cancelled could not wait for it.
        task = asyncio.create_task(generation.transport.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _choose(settings: Settings, host: str) -> Connect:
    """How to connect: over the library that the settings choose. Raises ValueError with a sentence."""
    context = create_context(settings)
    if settings.http_library == "aiohttp":
        # Here, because it is there only with the extra [server].
        from gatewayz_metrics.upstream.aiohttp_transport import AiohttpTransport  # noqa: PLC0415

        return partial(AiohttpTransport, settings, context, host)
    return partial(HttpxTransport, settings, context, host)
