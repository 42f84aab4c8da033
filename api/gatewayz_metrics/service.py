"""The parts of one running service, put together from its settings."""

import logging

from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.query import QueryLayer
from gatewayz_metrics.ranges import Ranges
from gatewayz_metrics.security import Callers, Tokens
from gatewayz_metrics.settings import Settings, read_settings, read_tokens
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import Upstream
from gatewayz_metrics.upstream.gate import Gate
from gatewayz_metrics.upstream.source import Source, Unusable
from gatewayz_metrics.upstream.tenant import tenants
from gatewayz_metrics.upstream.whole import Answers

log = logging.getLogger(__name__)


class Service:
    """One query layer with its upstream, tokens and telemetry.

    It belongs to the event loop in which it is made; `aclose` lets its connections go.
    With a `fault` nothing is asked of anybody: every answer explains the fault.
    """

    def __init__(self, settings: Settings, *, fault: ConfigurationError | None = None) -> None:
        """Raises ConfigurationError when the catalogue or a certificate file cannot be used."""
        self.telemetry = Telemetry()
        self.tokens = Tokens(settings.api_tokens)
        catalogue = load(None if fault else settings.catalogue)
        self._source: Source = Unusable(fault) if fault else Upstream(settings, self.telemetry)
        self.layer = QueryLayer(
            catalogue,
            self._source,
            self.telemetry,
            selector=settings.selector,
            cache_ttl=settings.cache_ttl,
            patience=settings.prometheus_timeout,
        )

        gate = Gate(self._source, settings)
        self.settings = settings
        self.callers = Callers(self.tokens, tenants(settings))
        self.answers = Answers(gate, self.telemetry, keeps=settings.cache_ttl > 0)
        self.ranges = Ranges(gate, settings, self.telemetry)

    async def aclose(self) -> None:
        """Close the connections to the upstream."""
        await self._source.aclose()


def guest(settings: Settings | None, prometheus_url: str | None) -> Service:
    """A service inside somebody else's application, which must not die of our settings."""
    try:
        settings = settings or read_settings(prometheus_url=prometheus_url)
        return Service(settings)
    except ConfigurationError as exc:
        log.error("The metrics routes only explain themselves: %s", exc.sentence)
        tokens = settings.api_tokens if settings else read_tokens()
        return Service(Settings.model_construct(api_tokens=tokens), fault=exc)
