"""What the simulated gateway writes down of each route, model, provider and store."""

import math
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from gatewayz_demo import topology
from gatewayz_demo.metric_store import MetricStore, create_cells
from gatewayz_demo.topology import Model, Route

STEP = 5.0
SMOOTHING = 0.05
DEGRADED_ABOVE = 0.05
SPREAD = 0.55


@dataclass(frozen=True)
class Incident:
    """A provider in trouble for some minutes."""

    provider: str
    start: float
    end: float
    outage: bool


class RouteCounters:
    """What is counted of one route."""

    def __init__(self, ledger: MetricStore, route: Route) -> None:
        """Opens the books of a route at zero."""
        labels = (topology.APP, route.method, route.path)
        self.route = route
        self._requests = {
            code: ledger.cell(topology.REQUESTS, *labels, code, topology.status_class(code)) for code in route.statuses
        }
        self._seconds = ledger.distribution(topology.REQUEST_SECONDS, *labels)
        self._in_progress = ledger.cell(topology.IN_PROGRESS, *labels)
        self._failures = list(zip(accumulate(p for _, p in route.failures), route.failures, strict=True))
        self._busy = 0.0

    def status(self, draw: float) -> str:
        """What the route answers before it asks anybody else."""
        return next((status for limit, (status, _) in self._failures if draw < limit), self.route.success)

    def record(self, status: str, seconds: float) -> None:
        """Counts an answer."""
        self._requests[status].add()
        self._seconds.observe(seconds)
        self._busy += seconds

    def settle(self) -> None:
        """Sets the requests in progress to the mean of the step."""
        self._in_progress.set(round(self._busy / STEP))
        self._busy = 0.0


class ModelCounters:
    """What is counted of one model at one provider."""

    def __init__(self, ledger: MetricStore, model: Model) -> None:
        """Opens the books of a model at zero."""
        labels = (model.provider, model.name)
        self.model = model
        self._good = ledger.cell(topology.MODEL_CALLS, *labels, "success")
        self._bad = ledger.cell(topology.MODEL_CALLS, model.provider, model.asked or model.name, "error")
        self._seconds = ledger.distribution(topology.MODEL_SECONDS, *labels)
        self._input = ledger.cell(topology.TOKENS, *labels, "input")
        self._output = ledger.cell(topology.TOKENS, *labels, "output")
        self._credits = ledger.cell(topology.CREDITS, *labels)

    def record(self, seconds: float, rng: Random, *, failed: bool) -> None:
        """Counts a call; a failed one costs nothing."""
        self._seconds.observe(seconds)
        if failed:
            self._bad.add()
            return
        asked, answered = round(rng.lognormvariate(6.2, 0.9)), round(rng.lognormvariate(5.4, 0.8))
        self._good.add()
        self._input.add(asked)
        self._output.add(answered)
        self._credits.add((asked + 3 * answered) * self.model.price / 1_000_000)


class ProviderCounters:
    """What is counted and thought of one provider."""

    def __init__(self, ledger: MetricStore, data: MetricStore, name: str) -> None:
        """Opens the books of a provider in good health."""
        self.name = name
        self.failing, self.slowness = 0.0, 1.0
        self._usual_failing = Random(name).uniform(0.002, 0.012)  # noqa: S311  # a simulation, not a secret
        self._seconds = ledger.distribution(topology.PROVIDER_SECONDS, name)
        self._availability = ledger.cell(topology.AVAILABILITY, name)
        self._error_rate = ledger.cell(topology.ERROR_RATE, name)
        self._uptime = data.cell(topology.UPTIME, name)
        self._down = False
        self._calls, self._failures = 0, 0
        self._errors, self._up = 0.0, 1.0

    def begin(self, trouble: Incident | None) -> None:
        """Learns at the start of a step what shape the provider is in."""
        hit = trouble is not None and trouble.provider == self.name
        self._down = hit and trouble is not None and trouble.outage
        self.failing = 0.85 if self._down else 0.2 if hit else self._usual_failing
        self.slowness = 2.5 if hit else 1.0
        self._calls, self._failures = 0, 0

    def record(self, seconds: float, *, failed: bool) -> None:
        """Counts a call."""
        self._seconds.observe(seconds)
        self._calls += 1
        self._failures += failed

    def settle(self) -> str:
        """Sets the gauges and tells the health: healthy, degraded or down."""
        if self._calls:
            self._errors += SMOOTHING * (self._failures / self._calls - self._errors)
        self._up += SMOOTHING * ((not self._down) - self._up)
        self._availability.set(float(not self._down))
        self._error_rate.set(round(self._errors, 6))
        self._uptime.set(round(100 * self._up, 3))
        if self._down:
            return "down"
        return "degraded" if self._errors > DEGRADED_ABOVE else "healthy"


class StorageCounters:
    """What is counted of the database and the caches before it."""

    def __init__(self, ledger: MetricStore) -> None:
        """Opens the books of every table and cache."""
        self._queries = {query: ledger.cell(topology.DB_QUERIES, *query) for query in topology.QUERIES}
        self._seconds = {table: ledger.distribution(topology.DB_SECONDS, table) for table in topology.TABLES}
        self._hits = create_cells(ledger, topology.CACHE_HITS, topology.CACHES)
        self._misses = create_cells(ledger, topology.CACHE_MISSES, topology.CACHES)
        self._bytes = create_cells(ledger, topology.CACHE_BYTES, topology.CACHES)

    def authenticate(self, rng: Random) -> float:
        """Looks a key and its limits up; the seconds it takes."""
        if self._cached("auth", 0.93, rng):
            return 0.0
        return self._query(("api_keys", "select"), rng) + self._query(("rate_limit_configs", "select"), rng)

    def work(self, route: Route, rng: Random) -> float:
        """What a successful request reads and writes; the seconds it takes."""
        if route.method == "GET" and route.path.startswith("/v1/models") and self._cached("catalog", 0.97, rng):
            return 0.0
        if route.calls_model:
            self._cached("response", 0.06, rng)
        return sum(self._query(query, rng) for query in route.queries)

    def settle(self, elapsed: float) -> None:
        """Sets the sizes of the caches, which breathe with the traffic."""
        for place, cell in enumerate(self._bytes.values()):
            wave = 1 + 0.2 * math.sin(math.tau * elapsed / 2400 + place)
            cell.set(round(4_000_000 * (place + 1) * wave))

    def _cached(self, name: str, share: float, rng: Random) -> bool:
        hit = rng.random() < share
        (self._hits if hit else self._misses)[name,].add()
        return hit

    def _query(self, query: tuple[str, str], rng: Random) -> float:
        seconds = 0.006 * rng.lognormvariate(0, SPREAD)
        self._queries[query].add()
        self._seconds[query[0]].observe(seconds)
        return seconds


class BusinessCounters:
    """Keys and subscriptions; no code of the gateway ever counts a trial."""

    def __init__(self, ledger: MetricStore) -> None:
        """Opens the books of keys and plans."""
        self._keys = create_cells(ledger, topology.KEYS, tuple(topology.KEY_STATUSES))
        self._plans = create_cells(ledger, topology.SUBSCRIPTIONS, tuple(topology.PLANS), tuple(topology.CYCLES))
        ledger.declare(topology.TRIALS)

    def settle(self, elapsed: float) -> None:
        """Slow growth of everything."""
        for (status,), cell in self._keys.items():
            cell.set(topology.KEY_STATUSES[status] + elapsed // 900)
        for (plan, cycle), cell in self._plans.items():
            cell.set(round(topology.PLANS[plan] * topology.CYCLES[cycle]) + elapsed // 3600)
