"""The parts of one running service, put together from its settings, and when they are made and closed."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Generic, TypeVar

from fastapi import Request

from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.host_settings import read_host_settings
from gatewayz_metrics.logs import printable
from gatewayz_metrics.memory import MemoryBudget
from gatewayz_metrics.query import QueryLayer
from gatewayz_metrics.range_cache import RangeCache
from gatewayz_metrics.security import Authenticator, ServiceTokens
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import UpstreamApi, UpstreamClient
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.misconfigured import MisconfiguredUpstream
from gatewayz_metrics.upstream.request import tenants_by_token
from gatewayz_metrics.upstream.response_cache import ResponseCache

log = logging.getLogger(__name__)

T = TypeVar("T")


class Service:
    """One query layer with its caches, tokens and telemetry over one upstream.

    It belongs to the event loop in which it is made; `aclose` closes its connections.
    With a `fault` nothing is sent to any upstream: every answer explains the fault.
    """

    def __init__(self, settings: Settings, telemetry: Telemetry, *, fault: ConfigurationError | None = None) -> None:
        """Raises ConfigurationError when the catalogue or a certificate file cannot be used."""
        self.settings = settings
        self.telemetry = telemetry
        self.memory = MemoryBudget(settings.max_memory_bytes, telemetry.memory_bytes.set)
        self.tokens = ServiceTokens(settings.api_tokens)
        self.authenticator = Authenticator(self.tokens, tenants_by_token(settings))
        catalogue = load(None if fault else settings.catalogue)
        self._upstream: UpstreamApi = MisconfiguredUpstream(fault) if fault else UpstreamClient(settings, telemetry)
        self.layer = QueryLayer(
            catalogue,
            self._upstream,
            telemetry,
            selector=settings.selector,
            cache_ttl=settings.cache_ttl,
            deadline=settings.prometheus_timeout,
            max_memory=settings.max_memory_bytes,
        )
        limiter = QueryLimiter(self._upstream, settings)
        self.responses = ResponseCache(limiter, settings, telemetry)
        self.range_cache = RangeCache(limiter, settings, telemetry)

    def announce(self, surfaces: Iterable[str], *, public: bool) -> None:
        """Log what is served and who may ask; `public` says that strangers may reach it."""
        level = logging.WARNING if public and self.tokens.open else logging.INFO
        log.log(level, "Serving %s. %s", ", ".join(surfaces), self._describe_access())

    def _describe_access(self) -> str:
        if self.tokens.open:
            return "Who may ask: everybody, for there are no API_TOKENS."
        tenants = len(self.settings.tenants)
        also = f"; on the Prometheus API also {tenants} TENANTS, for their own data" if tenants else ""
        return f"Who may ask: callers with one of {len(self.settings.api_tokens)} API_TOKENS{also}."

    async def aclose(self) -> None:
        """Close the connections to the upstream."""
        await self._upstream.aclose()


class ServiceProvider:
    """The service of one application: made on first use, or at start-up when that comes first.

    Routes exist before any event loop does, and connections belong to one loop. So the service
    is made inside the loop that uses it, made again when the application runs in another loop,
    and closed with the loop at the latest.
    """

    def __init__(self, create: Callable[[Telemetry], Service], *, in_host: bool = False) -> None:
        """`create` makes the service and may raise ConfigurationError; it runs inside an event loop.

        `in_host` says that the application is somebody else's.
        """
        self.in_host = in_host
        self.telemetry = Telemetry()
        self._create = create
        self._service: Service | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._until_closed: AsyncGenerator[None, None] | None = None

    def get(self) -> Service:
        """The service of the running loop. Raises what `create` raises."""
        loop = asyncio.get_running_loop()
        if self._service is None or loop is not self._loop:
            self._service = self._create(self.telemetry)
            self._loop = loop
            self._until_closed = _closing(self._service)
            _advance(self._until_closed)
        return self._service

    def check_token(self, request: Request) -> None:
        """Raise Unauthorized unless the request shows one of the service's own tokens."""
        tokens = self.get().tokens
        if not tokens.open:
            tokens.check(request)

    def authenticate(self, request: Request) -> None:
        """Note whose data the request may read, or raise Unauthorized."""
        self.get().authenticator.check(request)

    def bind(self, make: Callable[[Service], T]) -> "Bound[T]":
        """What `make` gives for the service, made once for each service."""
        return Bound(self, make)

    async def aclose(self) -> None:
        """Close the service, if there is one; the next use makes another."""
        until_closed, self._until_closed = self._until_closed, None
        self._service = None
        if until_closed is not None and self._loop is asyncio.get_running_loop():
            await until_closed.aclose()


class Bound(Generic[T]):
    """Something that is made from a service, for whichever service is running."""

    def __init__(self, services: ServiceProvider, make: Callable[[Service], T]) -> None:
        self._services = services
        self._make = make
        self._made: tuple[Service, T] | None = None

    def __call__(self) -> T:
        """The thing for the running service."""
        service = self._services.get()
        if self._made is None or self._made[0] is not service:
            self._made = (service, self._make(service))
        return self._made[1]


async def _closing(service: Service) -> AsyncGenerator[None, None]:
    """Closes the service when the loop ends: asyncio closes every asynchronous generator that was begun in it.

    Nothing else is told about the end in all ways of installation: a TestClient without `with` runs no
    shutdown, and a host with a lifespan of its own runs no shutdown events.
    """
    try:
        yield
    finally:
        await service.aclose()


def _advance(generator: AsyncGenerator[None, None]) -> None:
    """Run a generator to its first `yield`, where it awaits nothing, so that the loop knows of it."""
    try:
        generator.__anext__().__await__().__next__()
    except StopIteration:
        return


def create_embedded_service(telemetry: Telemetry, settings: Settings | None, prometheus_url: str | None) -> Service:
    """A service inside a host application, which must not fail because of our settings."""
    fault: ConfigurationError | None = None
    if settings is None:
        settings, fault = read_host_settings(prometheus_url)
    try:
        if fault is None:
            return Service(settings, telemetry)
    except ConfigurationError as exc:
        fault = exc
    log.error("The metrics routes only explain themselves: %s", printable(fault.sentence))
    return Service(Settings.model_construct(api_tokens=settings.api_tokens), telemetry, fault=fault)
