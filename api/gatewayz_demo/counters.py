"""The metrics of the simulated gateway: one class per kind of thing that is measured.

Within a step the simulator calls `start_step` on providers, `record...` for every event, and
`finish_step` on everything that has gauges.
"""

import math
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from gatewayz_demo import topology
from gatewayz_demo.metric_store import MetricStore, create_cells
from gatewayz_demo.topology import Model, Route

# Seconds per step. The scrape interval is a multiple of it, so that a scrape sees whole steps only.
STEP = 5.0
# Weight of the newest step in the moving averages of a provider: they follow a change within about 20 steps.
SMOOTHING = 0.05
# The error rate (0 to 1) above which a provider counts as degraded.
DEGRADED_ABOVE = 0.05
# Sigma of the log-normal factor on every duration.
SPREAD = 0.55


@dataclass(frozen=True)
class Incident:
    """A provider that fails or is slow for some minutes; start and end in seconds after the epoch."""

    provider: str
    start: float
    end: float
    outage: bool


class RouteCounters:
    """The metrics of one route."""

    def __init__(self, store: MetricStore, route: Route) -> None:
        """Adds the route's series to the store, at zero."""
        labels = (topology.APP, route.method, route.path)
        self.route = route
        self._requests = {
            code: store.add_cell(topology.REQUESTS, *labels, code, topology.status_class(code))
            for code in route.statuses
        }
        self._seconds = store.add_distribution(topology.REQUEST_SECONDS, *labels)
        self._in_progress = store.add_cell(topology.IN_PROGRESS, *labels)
        self._failures = list(zip(accumulate(p for _, p in route.failures), route.failures, strict=True))
        self._busy_seconds = 0.0

    def choose_status(self, draw: float) -> str:
        """The route's own status for a random number in [0, 1), before any model is called."""
        return next((status for limit, (status, _) in self._failures if draw < limit), self.route.success)

    def record(self, status: str, seconds: float) -> None:
        """Counts one request."""
        self._requests[status].add()
        self._seconds.observe(seconds)
        self._busy_seconds += seconds

    def finish_step(self) -> None:
        """Sets the requests in progress to their mean over the step."""
        self._in_progress.set(round(self._busy_seconds / STEP))
        self._busy_seconds = 0.0


class ModelCounters:
    """The metrics of one model at one provider."""

    def __init__(self, store: MetricStore, model: Model) -> None:
        """Adds the model's series to the store, at zero."""
        labels = (model.provider, model.name)
        self.model = model
        self._successes = store.add_cell(topology.MODEL_CALLS, *labels, "success")
        self._failures = store.add_cell(topology.MODEL_CALLS, model.provider, model.client_name or model.name, "error")
        self._seconds = store.add_distribution(topology.MODEL_SECONDS, *labels)
        self._input = store.add_cell(topology.TOKENS, *labels, "input")
        self._output = store.add_cell(topology.TOKENS, *labels, "output")
        self._credits = store.add_cell(topology.CREDITS, *labels)

    def record(self, seconds: float, rng: Random, *, failed: bool) -> None:
        """Counts one call; a failed call uses no tokens and no credits."""
        self._seconds.observe(seconds)
        if failed:
            self._failures.add()
            return
        # Medians of about 490 and 220 tokens.
        input_tokens, output_tokens = round(rng.lognormvariate(6.2, 0.9)), round(rng.lognormvariate(5.4, 0.8))
        self._successes.add()
        self._input.add(input_tokens)
        self._output.add(output_tokens)
        # The price is per million input tokens; output tokens cost three times as much.
        self._credits.add((input_tokens + 3 * output_tokens) * self.model.price / 1_000_000)


class ProviderCounters:
    """The metrics of one provider, and its state in the current step."""

    def __init__(self, store: MetricStore, data_store: MetricStore, name: str) -> None:
        """Adds the provider's series to both stores, healthy."""
        self.name = name
        self.failure_rate, self.slowdown = 0.0, 1.0
        self._usual_failure_rate = Random(name).uniform(0.002, 0.012)  # noqa: S311  # a simulation, not a secret
        self._seconds = store.add_distribution(topology.PROVIDER_SECONDS, name)
        self._availability = store.add_cell(topology.AVAILABILITY, name)
        self._error_rate = store.add_cell(topology.ERROR_RATE, name)
        self._uptime = data_store.add_cell(topology.UPTIME, name)
        self._is_down = False
        self._calls, self._failures = 0, 0
        self._mean_error_rate, self._mean_up = 0.0, 1.0

    def start_step(self, incident: Incident | None) -> None:
        """Sets failure rate and slowdown for a step, from the incident that is under way, if any."""
        affected = incident is not None and incident.provider == self.name
        self._is_down = affected and incident is not None and incident.outage
        # The share of calls that fail: in an outage, in a lesser incident, and usually.
        self.failure_rate = 0.85 if self._is_down else 0.2 if affected else self._usual_failure_rate
        self.slowdown = 2.5 if affected else 1.0
        self._calls, self._failures = 0, 0

    def record(self, seconds: float, *, failed: bool) -> None:
        """Counts one call."""
        self._seconds.observe(seconds)
        self._calls += 1
        self._failures += failed

    def finish_step(self) -> str:
        """Sets the gauges and returns the health: `healthy`, `degraded` or `down`."""
        if self._calls:
            self._mean_error_rate += SMOOTHING * (self._failures / self._calls - self._mean_error_rate)
        self._mean_up += SMOOTHING * ((not self._is_down) - self._mean_up)
        self._availability.set(float(not self._is_down))
        self._error_rate.set(round(self._mean_error_rate, 6))
        self._uptime.set(round(100 * self._mean_up, 3))
        if self._is_down:
            return "down"
        return "degraded" if self._mean_error_rate > DEGRADED_ABOVE else "healthy"


class StorageCounters:
    """The metrics of the database and of the caches in front of it."""

    def __init__(self, store: MetricStore) -> None:
        """Adds the series of every table and cache to the store, at zero."""
        self._queries = {query: store.add_cell(topology.DB_QUERIES, *query) for query in topology.QUERIES}
        self._seconds = {table: store.add_distribution(topology.DB_SECONDS, table) for table in topology.TABLES}
        self._hits = create_cells(store, topology.CACHE_HITS, topology.CACHES)
        self._misses = create_cells(store, topology.CACHE_MISSES, topology.CACHES)
        self._bytes = create_cells(store, topology.CACHE_BYTES, topology.CACHES)

    def record_authentication(self, rng: Random) -> float:
        """Counts the look-up of an API key and its rate limit; returns the seconds it took."""
        if self._look_up("auth", 0.93, rng):
            return 0.0
        return self._record_query(("api_keys", "select"), rng) + self._record_query(
            ("rate_limit_configs", "select"), rng
        )

    def record_queries(self, route: Route, rng: Random) -> float:
        """Counts what a successful request reads and writes; returns the seconds it took."""
        if route.method == "GET" and route.path.startswith("/v1/models") and self._look_up("catalog", 0.97, rng):
            return 0.0
        if route.calls_model:
            self._look_up("response", 0.06, rng)
        return sum(self._record_query(query, rng) for query in route.queries)

    def finish_step(self, elapsed: float) -> None:
        """Sets the cache sizes: a slow wave, each cache in a phase of its own."""
        for position, cell in enumerate(self._bytes.values()):
            wave = 1 + 0.2 * math.sin(math.tau * elapsed / 2400 + position)
            cell.set(round(4_000_000 * (position + 1) * wave))

    def _look_up(self, cache: str, hit_ratio: float, rng: Random) -> bool:
        hit = rng.random() < hit_ratio
        (self._hits if hit else self._misses)[cache,].add()
        return hit

    def _record_query(self, query: tuple[str, str], rng: Random) -> float:
        seconds = 0.006 * rng.lognormvariate(0, SPREAD)
        self._queries[query].add()
        self._seconds[query[0]].observe(seconds)
        return seconds


class BusinessCounters:
    """API keys and subscriptions. Trials are declared only: the real gateway exports no sample of them."""

    def __init__(self, store: MetricStore) -> None:
        """Adds the series of keys and plans to the store."""
        self._keys = create_cells(store, topology.KEYS, tuple(topology.KEY_STATUSES))
        self._plans = create_cells(store, topology.SUBSCRIPTIONS, tuple(topology.PLANS), tuple(topology.CYCLES))
        store.declare(topology.TRIALS)

    def finish_step(self, elapsed: float) -> None:
        """Sets the gauges, which grow slowly: a key in 15 minutes, a subscription in an hour."""
        for (status,), cell in self._keys.items():
            cell.set(topology.KEY_STATUSES[status] + elapsed // 900)
        for (plan, cycle), cell in self._plans.items():
            cell.set(round(topology.PLANS[plan] * topology.CYCLES[cycle]) + elapsed // 3600)
