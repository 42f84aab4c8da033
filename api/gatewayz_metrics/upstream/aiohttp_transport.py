"""The upstream over aiohttp, which takes a tenth of httpx's time for a request.

Imported only where it is chosen: aiohttp comes with the extra `[server]`.
"""

import asyncio
import ssl
from functools import partial
from typing import Self
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from gatewayz_metrics.errors import ConnectionLost, QueryRefused, Unreachable, UpstreamError
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.upstream.tls import explain_tls_error
from gatewayz_metrics.upstream.transport import (
    KEEPALIVE_SECONDS,
    LARGEST_HEAD,
    ArrivingReply,
    HttpReply,
    HttpRequest,
    Receive,
    count_connections,
    join_headers,
    shared_headers,
)

# What was not read as HTTP, or ended before it was whole.
_LOST = (
    aiohttp.ClientPayloadError,
    aiohttp.ClientResponseError,
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientOSError,
)


class AiohttpTransport:
    """Connections that aiohttp keeps; it belongs to the running event loop."""

    def __init__(self, settings: Settings, context: ssl.SSLContext, host: str) -> None:
        """`host` is the upstream's name in errors."""
        self._host = host
        self._connect_seconds = settings.prometheus_connect_timeout
        self._ends = _ConnectionEnds(host)
        self._session = aiohttp.ClientSession(
            headers=shared_headers(settings),
            connector=aiohttp.TCPConnector(
                ssl=context,
                limit=count_connections(settings),
                keepalive_timeout=KEEPALIVE_SECONDS,
                # The system's own; with aiodns installed the default would be another one.
                resolver=aiohttp.ThreadedResolver(),
            ),
            # Each request has a deadline of its own.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds),
            # It serves all callers: a cookie that came with one caller's answer must not travel with another's.
            cookie_jar=aiohttp.DummyCookieJar(),
            # A proxy named by the environment would see every query and every credential.
            trust_env=False,
            # Unpacked elsewhere, in bounded steps.
            auto_decompress=False,
            max_line_size=LARGEST_HEAD,
            max_field_size=LARGEST_HEAD,
        )

    async def exchange(self, request: HttpRequest, receive: Receive, seconds: float) -> HttpReply:
        """One request and its reply, see Transport."""
        async with asyncio.timeout(seconds):
            return await self._exchange(request, receive)

    async def _exchange(self, request: HttpRequest, receive: Receive) -> HttpReply:
        try:
            response = await self._session.request(
                request.method,
                # Its characters are escaped already, and stay so.
                URL(request.url, encoded=True),
                data=request.body,
                headers=request.headers,
                # A redirect could send queries and credentials to any host.
                allow_redirects=False,
                # Else aiohttp sends a GET that lost its connection again, beside those who decide about that here.
                middlewares=(self._send_once,) if request.body is None else (),
            )
            try:
                self._ends.watch(response)
                return await receive(self._check(response))
            finally:
                response.close()
        except aiohttp.InvalidURL as exc:
            raise QueryRefused("bad_data", "it cannot be written as a URL") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise self._translate(exc) from exc

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _send_once(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        try:
            return await send(request)
        except (aiohttp.ClientError, OSError) as exc:
            raise self._translate(exc) from exc

    def _translate(self, exc: Exception) -> UpstreamError:
        match exc:
            # The only limit of aiohttp's own.
            case TimeoutError():
                return Unreachable(self._host, self._connect_seconds)
            # What ssl itself said is the cause; aiohttp's own errors are of ssl's type as well, and say less.
            case OSError() if (tls := explain_tls_error(exc.__cause__, self._host)) is not None:
                return tls
            case aiohttp.ClientConnectorError():
                return Unreachable(self._host)
            case _ if isinstance(exc, _LOST):
                return ConnectionLost(self._host)
            case _:
                return Unreachable(self._host)

    def _check(self, response: aiohttp.ClientResponse) -> ArrivingReply:
        """The reply, unless it is none that was asked for: another protocol, or a body packed on the way."""
        headers = join_headers(response.headers.items())
        if response.status == 101 or headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
            raise ConnectionLost(self._host)
        return ArrivingReply(response.status, headers, _Pieces(response.content, self._host))


class _ConnectionEnds:
    """Ends the body that is being read when its connection ends.

    aiohttp leaves that out for broken chunks: it closes the connection, and whoever waits for more of the body waits
    for ever.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._bodies: WeakKeyDictionary[ResponseHandler, aiohttp.StreamReader] = WeakKeyDictionary()

    def watch(self, response: aiohttp.ClientResponse) -> None:
        """Note which body a connection is sending."""
        protocol = None if response.connection is None else response.connection.protocol
        if protocol is None:  # all of it is there
            return
        if protocol not in self._bodies and (closed := protocol.closed) is not None:
            closed.add_done_callback(partial(self._end, protocol))
        self._bodies[protocol] = response.content

    def _end(self, protocol: ResponseHandler, closed: asyncio.Future[None]) -> None:
        closed.exception()  # or asyncio says that nobody looked
        body = self._bodies.pop(protocol, None)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(ConnectionLost(self._host))


class _Pieces:
    """The pieces of a body as they arrive."""

    def __init__(self, content: aiohttp.StreamReader, host: str) -> None:
        self._content = content
        self._host = host

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._content.readany()
        except RuntimeError as exc:
            # The connection had ended before anybody waited for more.
            raise ConnectionLost(self._host) from exc
        if not piece:
            raise StopAsyncIteration
        return piece
