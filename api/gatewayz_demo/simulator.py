"""The simulated gateway: its metrics as they would be at a given time.

Time advances in steps, and each step has a random generator of its own, seeded with the step's number.
Whoever simulates the same steps therefore gets the same numbers: the backfilled history, the running
exporter and an exporter that is started again agree.

Weeks are simulated in the time of an hour or so by a stride: one step of many is simulated and counts for all.
"""

import math
from bisect import bisect
from collections.abc import Callable
from itertools import accumulate
from random import Random

from gatewayz_demo import scrape, topology
from gatewayz_demo.counters import (
    SPREAD,
    STEP,
    LoadCounters,
    ModelCounters,
    ProcessCounters,
    ProviderCounters,
    RouteCounters,
    StorageCounters,
)
from gatewayz_demo.incidents import EVERY, Incident, Incidents, Kind
from gatewayz_demo.metric_store import MetricStore
from gatewayz_demo.scrape import ScrapeTarget
from gatewayz_demo.specified import SpecifiedCounters

REQUESTS_PER_STEP = 42.0
# The share of failed model calls that are tried at a second provider.
FAILOVER = 0.6
# While the database is slow: how many times longer a query takes, and the share of requests that fail for it.
DATABASE_SLOWDOWN, DATABASE_FAILURES = 100.0, 0.08
# While a client sends too much: how many times more requests arrive, and the share of model calls refused.
BURST, REFUSED = 1.8, 0.5

# How many times more requests than usual arrive at a Unix time.
Volume = Callable[[float], float]


class Simulator:
    """A simulated gateway: `metrics` holds the values of the current step, and `data` those of a second page.

    It exports what the real gateway does. With `spec_families` it is a deployment that also writes the families of
    the specification which the real one registers at most, and has the second page.
    """

    def __init__(
        self,
        *,
        seed: int = 7,
        epoch: float,
        spec_families: bool = False,
        stride: int = 1,
        incident_every: float = EVERY,
        volume: Volume = lambda _: 1.0,
    ) -> None:
        """Starts at the epoch (Unix seconds) with all counters at zero.

        Of every `stride` steps one is simulated; it counts for all. `incident_every` is in seconds.
        """
        self.seed, self.epoch, self.spec_families = seed, epoch, spec_families
        self.incidents = Incidents(seed, incident_every)
        self.metrics = MetricStore(epoch, stride)
        self.data = MetricStore(epoch, stride)
        self._stride, self._volume = stride, volume
        # Seconds from one simulated step to the next.
        self._seconds = stride * STEP
        self._steps = 0
        self._incident: Incident | None = None
        self._routes = [RouteCounters(self.metrics, route) for route in topology.ROUTES]
        self._route_weights = list(accumulate(route.weight for route in topology.ROUTES))
        self._models = [ModelCounters(self.metrics, model) for model in topology.MODELS]
        self._model_weights = list(accumulate(model.weight for model in topology.MODELS))
        self._providers = {name: ProviderCounters(self.metrics, name) for name in topology.PROVIDERS}
        self._specified = (
            SpecifiedCounters(self.metrics, self.data, self._providers.values()) if spec_families else None
        )
        self._exceptions = [
            self.metrics.add_cell(topology.EXCEPTIONS_TOTAL, topology.APP, e)
            for e in topology.EXCEPTIONS
            if spec_families
        ]
        self._load = LoadCounters(self.metrics)
        self._process = ProcessCounters(self.metrics)
        self._server_errors = 0
        self._daily_costs = {name: self.metrics.add_cell(topology.DAILY_COST, name) for name in topology.PROVIDERS}
        self._storage = StorageCounters(self.metrics, self._specified)
        for family in topology.REGISTERED:
            self.metrics.declare(family)
        self._update_gauges(0.0)

    @property
    def stores(self) -> dict[ScrapeTarget, MetricStore]:
        """The pages that Prometheus scrapes."""
        second = {scrape.DATA_METRICS: self.data} if self.spec_families else {}
        return {scrape.METRICS: self.metrics, **second}

    @property
    def now(self) -> float:
        """The end of the last simulated step, in Unix seconds."""
        return self.epoch + self._steps * self._seconds

    def advance(self, now: float) -> None:
        """Simulates every step that has ended by `now`; an earlier time changes nothing."""
        due = int((now - self.epoch) // self._seconds)
        while self._steps < due:
            self._simulate_step(self._steps)
            self._steps += 1

    def _simulate_step(self, step: int) -> None:
        # Seeded with text, which unlike hash() gives the same numbers in every process.
        rng = Random(f"{self.seed}:{step * self._stride}")  # noqa: S311  # a simulation, not a secret
        elapsed = step * self._seconds
        self._incident = incident = self.incidents.at(elapsed)
        for provider in self._providers.values():
            provider.start_step(incident)
        self._storage.slowdown = DATABASE_SLOWDOWN if self._suffers("slow database") else 1.0
        volume = self._volume(self.epoch + elapsed) * (BURST if self._suffers("burst") else 1)
        requests = _count_requests(rng, elapsed, volume)
        for _ in range(requests):
            self._simulate_request(rng)
        in_progress = sum(counters.finish_step() for counters in self._routes)
        self._load.finish_step(elapsed + self._seconds, in_progress, self._server_errors)
        self._process.finish_step(elapsed + self._seconds, requests, in_progress)
        self._server_errors = 0
        self._update_gauges(elapsed + self._seconds)

    def _suffers(self, kind: Kind) -> bool:
        return self._incident is not None and self._incident.kind == kind

    def _simulate_request(self, rng: Random) -> None:
        """One HTTP request with its database queries and model calls."""
        counters = self._routes[bisect(self._route_weights, rng.random() * self._route_weights[-1])]
        route = counters.route
        status = self._choose_status(counters, rng)
        seconds = route.seconds * rng.lognormvariate(0, SPREAD)
        seconds += self._storage.record_authentication(rng)
        if status == route.success:
            if route.calls_model:
                status, model_seconds = self._call_model(rng)
                seconds += model_seconds
            seconds += self._storage.record_queries(route, rng)
        elif status == "500":
            # Drawn in either shape, so that both simulate the same requests.
            kind = rng.randrange(len(topology.EXCEPTIONS))
            if self._exceptions:
                self._exceptions[kind].add()
        self._server_errors += status[0] == "5"
        counters.record(status, seconds, rng)

    def _choose_status(self, counters: RouteCounters, rng: Random) -> str:
        """The status before any model is called; an incident changes some."""
        if self._suffers("burst") and counters.route.calls_model and rng.random() < REFUSED:
            return "429"
        queries = counters.route.queries and "500" in counters.route.statuses
        if self._suffers("slow database") and queries and rng.random() < DATABASE_FAILURES:
            return "500"
        return counters.choose_status(rng.random())

    def _call_model(self, rng: Random) -> tuple[str, float]:
        """The status and the seconds of a model call, including the attempt at a second provider."""
        total = 0.0
        # The second attempt draws a model anew, which may be at the same provider.
        for _ in range(2 if rng.random() < FAILOVER else 1):
            counters = self._models[bisect(self._model_weights, rng.random() * self._model_weights[-1])]
            provider = self._providers[counters.model.provider]
            if provider.breaker.refuses():
                continue
            failed = rng.random() < provider.failure_rate
            seconds = counters.model.seconds * provider.slowdown * rng.lognormvariate(0, SPREAD)
            total += seconds
            provider.record(seconds, failed=failed)
            counters.record(seconds, rng, failed=failed)
            if not failed:
                return "200", total
        return ("502" if rng.random() < 0.7 else "503"), total

    def _update_gauges(self, elapsed: float) -> None:
        """Sets the gauges at the end of a step, those of the routes aside."""
        for provider in self._providers.values():
            provider.breaker.finish_step(self._seconds)
        spent = dict.fromkeys(self._daily_costs, 0.0)
        for counters in self._models:
            spent[counters.model.provider] += counters.spent * self._stride
        for name, cell in self._daily_costs.items():
            cell.set(round(spent[name] * 86_400 / max(elapsed, self._seconds), 6))
        self._storage.finish_step(elapsed)
        if self._specified is not None:
            self._specified.finish_step(elapsed)


def _count_requests(rng: Random, elapsed: float, volume: float) -> int:
    """How many requests arrive in a step: two slow waves (60 and 14 minutes) and noise."""
    wave = 1 + 0.35 * math.sin(math.tau * elapsed / 3600) + 0.15 * math.sin(math.tau * elapsed / 840)
    mean = REQUESTS_PER_STEP * wave * volume
    # A normal distribution with the variance of a Poisson process.
    return max(0, round(rng.gauss(mean, math.sqrt(mean))))
