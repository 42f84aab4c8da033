"""The metrics that the specification names and no code of the real gateway writes.

A deployment may have them from an exporter of its own.
"""

import math
from collections import Counter
from collections.abc import Iterable

from gatewayz_demo import topology
from gatewayz_demo.counters import ProviderCounters
from gatewayz_demo.metric_store import MetricStore, create_cells

# Weight of the newest step in the moving averages of a provider: they follow a change within about 20 steps.
SMOOTHING = 0.05
# The error rate (0 to 1) above which a provider counts as degraded.
DEGRADED_ABOVE = 0.05


class SpecifiedProvider:
    """What the specification says of one provider, and what the gateway registers but never writes."""

    def __init__(self, store: MetricStore, data_store: MetricStore, provider: ProviderCounters) -> None:
        """Adds the provider's series to both stores, healthy."""
        self._provider = provider
        self._seconds = store.add_distribution(topology.PROVIDER_SECONDS, provider.name)
        self._availability = store.add_cell(topology.AVAILABILITY, provider.name)
        self._error_rate = store.add_cell(topology.ERROR_RATE, provider.name)
        self._uptime = data_store.add_cell(topology.UPTIME, provider.name)
        self._mean_error_rate, self._mean_up = 0.0, 1.0

    def finish_step(self) -> str:
        """Sets the gauges and returns the health: `healthy`, `degraded` or `down`."""
        provider = self._provider
        for seconds in provider.calls:
            self._seconds.observe(seconds)
        if provider.calls:
            self._mean_error_rate += SMOOTHING * (provider.failures / len(provider.calls) - self._mean_error_rate)
        self._mean_up += SMOOTHING * ((not provider.is_down) - self._mean_up)
        self._availability.set(float(not provider.is_down))
        self._error_rate.set(round(self._mean_error_rate, 6))
        self._uptime.set(round(100 * self._mean_up, 3))
        if provider.is_down:
            return "down"
        return "degraded" if self._mean_error_rate > DEGRADED_ABOVE else "healthy"


class SpecifiedCounters:
    """Every family of the specification that no code of the real gateway writes."""

    def __init__(self, store: MetricStore, data_store: MetricStore, providers: Iterable[ProviderCounters]) -> None:
        """Adds the series of providers, caches, keys and plans to the stores."""
        self._providers = [SpecifiedProvider(store, data_store, provider) for provider in providers]
        self._counts = {state: store.add_cell(family) for state, family in topology.PROVIDER_COUNTS.items()}
        self._hits = create_cells(store, topology.CACHE_HITS, topology.CACHES)
        self._misses = create_cells(store, topology.CACHE_MISSES, topology.CACHES)
        self._bytes = create_cells(store, topology.CACHE_BYTES, topology.CACHES)
        self._business = BusinessCounters(store)

    def record_look_up(self, cache: str, *, hit: bool) -> None:
        """Counts one look-up in a cache."""
        (self._hits if hit else self._misses)[cache,].add()

    def finish_step(self, elapsed: float) -> None:
        """Sets the gauges at the end of a step."""
        by_health = Counter(provider.finish_step() for provider in self._providers)
        by_health["total"] = len(self._providers)
        for health, cell in self._counts.items():
            cell.set(by_health[health])
        # A slow wave, each cache in a phase of its own.
        for position, cell in enumerate(self._bytes.values()):
            wave = 1 + 0.2 * math.sin(math.tau * elapsed / 2400 + position)
            cell.set(round(4_000_000 * (position + 1) * wave))
        self._business.finish_step(elapsed)


class BusinessCounters:
    """API keys and subscriptions. Trials are nowhere: nothing ever counted them."""

    def __init__(self, store: MetricStore) -> None:
        """Adds the series of keys and plans to the store."""
        self._keys = create_cells(store, topology.KEYS, tuple(topology.KEY_STATUSES))
        self._plans = create_cells(store, topology.SUBSCRIPTIONS, tuple(topology.PLANS), tuple(topology.CYCLES))

    def finish_step(self, elapsed: float) -> None:
        """Sets the gauges, which grow slowly: a key in 15 minutes, a subscription in an hour."""
        for (status,), cell in self._keys.items():
            cell.set(topology.KEY_STATUSES[status] + elapsed // 900)
        for (plan, cycle), cell in self._plans.items():
            cell.set(round(topology.PLANS[plan] * topology.CYCLES[cycle]) + elapsed // 3600)
