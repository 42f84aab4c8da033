"""The parts of one running service, put together from its settings."""

import logging

from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.query import QueryLayer
from gatewayz_metrics.range_cache import RangeCache
from gatewayz_metrics.security import Authenticator, ServiceTokens
from gatewayz_metrics.settings import Settings, read_settings, read_tokens
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import MisconfiguredUpstream, UpstreamApi, UpstreamClient
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.request import tenants_by_token
from gatewayz_metrics.upstream.response_cache import ResponseCache

log = logging.getLogger(__name__)


class Service:
    """One query layer with its upstream, tokens and telemetry.

    It belongs to the event loop in which it is made; `aclose` lets its connections go.
    With a `fault` nothing is asked of anybody: every answer explains the fault.
    """

    def __init__(self, settings: Settings, *, fault: ConfigurationError | None = None) -> None:
        """Raises ConfigurationError when the catalogue or a certificate file cannot be used."""
        self.telemetry = Telemetry()
        self.tokens = ServiceTokens(settings.api_tokens)
        catalogue = load(None if fault else settings.catalogue)
        self._source: UpstreamApi = MisconfiguredUpstream(fault) if fault else UpstreamClient(settings, self.telemetry)
        self.layer = QueryLayer(
            catalogue,
            self._source,
            self.telemetry,
            selector=settings.selector,
            cache_ttl=settings.cache_ttl,
            deadline=settings.prometheus_timeout,
        )

        gate = QueryLimiter(self._source, settings)
        self.settings = settings
        self.callers = Authenticator(self.tokens, tenants_by_token(settings))
        self.answers = ResponseCache(gate, settings, self.telemetry)
        self.ranges = RangeCache(gate, settings, self.telemetry)

    async def aclose(self) -> None:
        """Close the connections to the upstream."""
        await self._source.aclose()


def create_embedded_service(settings: Settings | None, prometheus_url: str | None) -> Service:
    """A service inside somebody else's application, which must not die of our settings."""
    try:
        settings = settings or read_settings(prometheus_url=prometheus_url)
        return Service(settings)
    except ConfigurationError as exc:
        log.error("The metrics routes only explain themselves: %s", exc.sentence)
        tokens = settings.api_tokens if settings else read_tokens()
        return Service(Settings.model_construct(api_tokens=tokens), fault=exc)
