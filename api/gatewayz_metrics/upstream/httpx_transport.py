"""The upstream over httpx, which is always there, and which hosts' tests and tracing know."""

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import anyio
import httpx

from gatewayz_metrics.errors import (
    BadAnswer,
    ConfigurationError,
    ConnectionLost,
    PoolExhausted,
    QueryRefused,
    Unreachable,
    UpstreamError,
)
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.upstream.tls import explain_tls_error
from gatewayz_metrics.upstream.transport import (
    KEEPALIVE_SECONDS,
    ArrivingReply,
    HttpReply,
    HttpRequest,
    Receive,
    count_connections,
    join_headers,
    shared_headers,
)


def write_url(url: str) -> str:
    """PROMETHEUS_URL as requests carry it, in ASCII alone, whichever library sends them.

    Raises ConfigurationError when httpx, which is stricter than the standard library, cannot use it.
    """
    try:
        parsed = httpx.URL(url)
        # Names in other alphabets are only read when somebody asks for the host.
        _ = parsed.host
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise ConfigurationError(f"PROMETHEUS_URL cannot be used: {str(exc).rstrip('.')}.") from exc
    return str(parsed)


class HttpxTransport:
    """Connections that httpx keeps."""

    def __init__(self, settings: Settings, context: ssl.SSLContext, host: str) -> None:
        """`host` is the upstream's name in errors."""
        self._host = host
        self._connect_seconds = settings.prometheus_connect_timeout
        self._client = httpx.AsyncClient(
            headers=shared_headers(settings),
            # Each request has a deadline of its own.
            timeout=httpx.Timeout(None, connect=self._connect_seconds),
            limits=httpx.Limits(
                max_connections=count_connections(settings),
                max_keepalive_connections=settings.prometheus_connections,
                keepalive_expiry=KEEPALIVE_SECONDS,
            ),
            verify=context,
            # The client serves all callers: a cookie that came with one caller's answer must not travel with another's.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # A proxy named by the environment would see every query and every credential.
            trust_env=False,
            # A redirect could send queries and credentials to any host.
            follow_redirects=False,
        )

    async def exchange(self, request: HttpRequest, receive: Receive, seconds: float) -> HttpReply:
        """One request and its reply, see Transport."""
        # httpx limits each read alone. Not asyncio.timeout: after connecting, anyio 4.1 to 4.3 leaves the task's count
        # of cancellations too high.
        with anyio.fail_after(max(0.0, seconds)):
            return await self._exchange(request, receive)

    async def _exchange(self, request: HttpRequest, receive: Receive) -> HttpReply:
        try:
            built = self._client.build_request(
                request.method, request.url, content=request.body, headers=dict(request.headers)
            )
            response = await self._client.send(built, stream=True)
            try:
                headers = join_headers(response.headers.multi_items())
                return await receive(ArrivingReply(response.status_code, headers, response.aiter_raw()))
            finally:
                await response.aclose()
        except httpx.InvalidURL as exc:
            raise QueryRefused("bad_data", "it cannot be written as a URL") from exc
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError) as exc:
            raise self._translate(exc) from exc

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def _translate(self, exc: Exception) -> UpstreamError | TimeoutError:
        # httpcore before 0.18 lets ssl's own errors through. In TLS 1.3 a client certificate is refused at the first
        # read.
        tls = explain_tls_error(exc, self._host) if isinstance(exc, httpx.NetworkError | ssl.SSLError) else None
        match exc:
            case httpx.PoolTimeout():
                return PoolExhausted()
            case httpx.TimeoutException():
                is_connecting = isinstance(exc, httpx.ConnectTimeout)
                return Unreachable(self._host, self._connect_seconds) if is_connecting else TimeoutError()
            case _ if tls is not None:
                return tls
            case httpx.ReadError() | httpx.WriteError() | httpx.CloseError() | httpx.RemoteProtocolError():
                return ConnectionLost(self._host)
            case httpx.DecodingError():
                return BadAnswer("broken compression")
            case _:
                return Unreachable(self._host)
