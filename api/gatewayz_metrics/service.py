"""The parts of one running service, put together from its settings, and when they are made and closed."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from functools import partial
from threading import get_ident
from typing import Generic, TypeVar

from fastapi import Request

from gatewayz_metrics.access import Access, read_access
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import ConfigurationError, UpstreamError
from gatewayz_metrics.host_settings import read_host_settings
from gatewayz_metrics.logs import printable
from gatewayz_metrics.memory import MemoryBudget
from gatewayz_metrics.query import QueryLayer
from gatewayz_metrics.range_cache import RangeCache
from gatewayz_metrics.security import Authenticator, ServiceTokens
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.siblings import Siblings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import SupervisedUpstream, UpstreamClient
from gatewayz_metrics.upstream.clock import TrustedClock
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.misconfigured import MisconfiguredUpstream
from gatewayz_metrics.upstream.response_cache import ResponseCache
from gatewayz_metrics.watched_files import FileWatcher, WatchedFiles

log = logging.getLogger(__name__)

# Seconds; those who probe wait for one, and give up.
_PROBE_PATIENCE = 0.05

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
        self.tokens = ServiceTokens(settings.api_tokens, is_closed=settings.api_tokens_file is not None)
        self.authenticator = Authenticator(self.tokens, {})
        access_files = self._load_access(must_load=fault is None)
        catalogue = load(None if fault else settings.catalogue)
        clock = TrustedClock(telemetry)
        self._upstream: SupervisedUpstream = (
            MisconfiguredUpstream(fault) if fault else UpstreamClient(settings, telemetry, clock)
        )
        self._files = FileWatcher((access_files, *self._upstream.watched_files))
        self.layer = QueryLayer(
            catalogue,
            self._upstream,
            telemetry,
            selector=settings.selector,
            cache_ttl=settings.cache_ttl,
            cache_stale=settings.cache_stale,
            deadline=settings.prometheus_timeout,
            scrape_interval=settings.scrape_interval,
            max_memory=settings.max_memory_bytes,
            connections=settings.prometheus_connections,
            clock=clock.monotonic,
        )
        limiter = QueryLimiter(self._upstream, settings)
        self.responses = ResponseCache(limiter, settings, telemetry, clock)
        self.range_cache = RangeCache(limiter, settings, telemetry, clock)

    def _load_access(self, *, must_load: bool) -> WatchedFiles:
        """Read the tokens; without `must_load` files that cannot be used let nobody in."""
        self._use_access(read_access(self.settings, {}))
        settings = self.settings
        files = WatchedFiles(
            {"API_TOKENS_FILE": settings.api_tokens_file, "TENANTS_FILE": settings.tenants_file},
            lambda contents: partial(self._use_access, read_access(settings, contents)),
        )
        try:
            files.load()
        except ConfigurationError:
            if must_load:
                raise
        return files

    def _use_access(self, access: Access) -> None:
        self._access = access
        self.tokens.replace(access.tokens)
        self.authenticator.replace(access.tenants)

    def reload(self) -> None:
        """Read the files of secrets and certificates again, soon and in a thread."""
        self._files.reload()

    def watch_upstream(self) -> None:
        """Ask the upstream from now on while nobody else does, so that probes and metrics know of it."""
        self._upstream.watch()

    async def check_upstream(self) -> UpstreamError | None:
        """What is wrong with the upstream as last known; where that is in doubt it may tell more for a moment."""
        return await self._upstream.check(_PROBE_PATIENCE)

    def announce(self, surfaces: Iterable[str], *, public: bool) -> None:
        """Log what is served and who may ask; `public` says that strangers may reach it."""
        level = logging.WARNING if public and self.tokens.open else logging.INFO
        log.log(level, "Serving %s. %s", ", ".join(surfaces), self._describe_access())

    def _describe_access(self) -> str:
        if self.tokens.open:
            return "Who may ask: everybody, for there are no API_TOKENS."
        tenants = len(self._access.tenants)
        also = f"; on the Prometheus API also {tenants} TENANTS, for their own data" if tenants else ""
        return f"Who may ask: callers with one of {len(self._access.tokens)} API_TOKENS{also}."

    def purge(self) -> int:
        """Forget every answer and point that is kept; the bytes that the points took."""
        size = self.range_cache.size
        self.range_cache.purge()
        self.responses.purge()
        self.layer.purge()
        return size

    async def aclose(self) -> None:
        """Close the connections to the upstream."""
        self.layer.close()
        await self._files.aclose()
        await self.range_cache.aclose()
        await self._upstream.aclose()


class ServiceProvider:
    """The service of one application: made on first use, or at start-up when that comes first.

    Routes exist before any event loop does, and connections belong to one loop. So the service
    is made inside the loop that uses it, made again when the application runs in another loop,
    and closed with the loop at the latest.
    """

    def __init__(
        self, create: Callable[[Telemetry], Service], *, in_host: bool = False, siblings: Siblings | None = None
    ) -> None:
        """`create` makes the service and may raise ConfigurationError; it runs inside an event loop.

        `in_host` says that the application is somebody else's; `siblings` are the workers that serve with this one.
        """
        self.in_host = in_host
        self._siblings = siblings
        self.telemetry = Telemetry()
        self._create = create
        self._service: Service | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None
        self._until_closed: AsyncGenerator[None, None] | None = None

    def get(self) -> Service:
        """The service of the running loop. Raises what `create` raises."""
        if self._service is None or not self._is_in_its_loop():
            self._service = self._create(self.telemetry)
            self._loop, self._thread = asyncio.get_running_loop(), get_ident()
            self._until_closed = _closing(self._service)
            _advance(self._until_closed)
        return self._service

    def _is_in_its_loop(self) -> bool:
        # A thread runs one loop at a time. Asking asyncio which costs a system call up to Python 3.11, several times
        # as much as all else that a warm answer needs from here.
        return self._loop is not None and self._loop.is_running() and self._thread == get_ident()

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

    async def page(self) -> bytes:
        """Our own metrics, as exposition text: those of all workers. Raises SiblingsSilent."""
        if self._siblings is None:
            return self.telemetry.page()
        return self.telemetry.page_of(await self._siblings.measure(self.telemetry.measure()))

    async def purge(self) -> int:
        """Forget every answer and point that is kept, in all workers; the bytes of the points.

        Raises SiblingsSilent.
        """
        size = self.get().purge()
        return size if self._siblings is None else size + await self._siblings.purge()

    def reload(self) -> None:
        """Have the running service read its files again; for SIGHUP, in the event loop."""
        if self._service is not None and self._loop is asyncio.get_running_loop():
            log.info("SIGHUP: the files of tokens, tenants and certificates are read again.")
            self._service.reload()

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


def _in_host(settings: Settings) -> Settings:
    """Settings that choose httpx unless another library is named: what a host tests and traces is httpx."""
    if settings.upstream_client != "auto":
        return settings
    return settings.model_copy(update={"upstream_client": "httpx"})


def create_embedded_service(telemetry: Telemetry, settings: Settings | None, prometheus_url: str | None) -> Service:
    """A service inside a host application, which must not fail because of our settings."""
    fault: ConfigurationError | None = None
    if settings is None:
        settings, fault = read_host_settings(prometheus_url)
    try:
        if fault is None:
            return Service(_in_host(settings), telemetry)
    except ConfigurationError as exc:
        fault = exc
    log.error("The metrics routes only explain themselves: %s", printable(fault.sentence))
    closed = Settings.model_construct(api_tokens=settings.api_tokens, api_tokens_file=settings.api_tokens_file)
    return Service(closed, telemetry, fault=fault)
