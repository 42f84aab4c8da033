"""The simulated gateway: its metrics as they would be at a given time.

Time advances in steps, and each step has a random generator of its own, seeded with the step's number.
Whoever simulates the same steps therefore gets the same numbers: the backfilled history, the running
exporter and an exporter that is started again agree.
"""

import math
from bisect import bisect
from itertools import accumulate
from random import Random

from gatewayz_demo import scrape, topology
from gatewayz_demo.counters import (
    SPREAD,
    STEP,
    Incident,
    LoadCounters,
    ModelCounters,
    ProviderCounters,
    RouteCounters,
    StorageCounters,
)
from gatewayz_demo.metric_store import MetricStore
from gatewayz_demo.scrape import ScrapeTarget
from gatewayz_demo.specified import SpecifiedCounters

REQUESTS_PER_STEP = 42.0
# Seconds; one incident lies within each period of this length.
INCIDENT_EVERY = 1800.0
# The share of failed model calls that are tried at a second provider.
FAILOVER = 0.6


class Simulator:
    """A simulated gateway: `metrics` holds the values of the current step, and `data` those of a second page.

    It exports what the real gateway does. With `spec_families` it is a deployment that also writes the families of
    the specification which the real one registers at most, and has the second page.
    """

    def __init__(self, *, seed: int = 7, epoch: float, spec_families: bool = False) -> None:
        """Starts at the epoch (Unix seconds) with all counters at zero."""
        self.seed, self.epoch, self.spec_families = seed, epoch, spec_families
        self.metrics = MetricStore(created=epoch)
        self.data = MetricStore(created=epoch)
        self._steps = 0
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
        return self.epoch + self._steps * STEP

    def advance(self, now: float) -> None:
        """Simulates every step that has ended by `now`; an earlier time changes nothing."""
        due = int((now - self.epoch) // STEP)
        while self._steps < due:
            self._simulate_step(self._steps)
            self._steps += 1

    def find_incident(self, elapsed: float) -> Incident | None:
        """The incident under way some seconds after the epoch, if any."""
        period = int(elapsed // INCIDENT_EVERY)
        rng = Random(f"{self.seed}:incident:{period}")  # noqa: S311  # a simulation, not a secret
        start = period * INCIDENT_EVERY + rng.uniform(300, 1000)
        # The last two providers have little or no traffic: an incident there would hardly show.
        busy_providers = topology.PROVIDERS[: len(topology.PROVIDERS) - 2]
        found = Incident(rng.choice(busy_providers), start, start + rng.uniform(200, 420), rng.random() < 0.7)
        return found if found.start <= elapsed < found.end else None

    def _simulate_step(self, step: int) -> None:
        # Seeded with text, which unlike hash() gives the same numbers in every process.
        rng = Random(f"{self.seed}:{step}")  # noqa: S311  # a simulation, not a secret
        elapsed = step * STEP
        incident = self.find_incident(elapsed)
        for provider in self._providers.values():
            provider.start_step(incident)
        for _ in range(_count_requests(rng, elapsed)):
            self._simulate_request(rng)
        in_progress = sum(counters.finish_step() for counters in self._routes)
        self._load.finish_step(elapsed + STEP, in_progress, self._server_errors)
        self._server_errors = 0
        self._update_gauges(elapsed + STEP)

    def _simulate_request(self, rng: Random) -> None:
        """One HTTP request with its database queries and model calls."""
        counters = self._routes[bisect(self._route_weights, rng.random() * self._route_weights[-1])]
        route = counters.route
        status = counters.choose_status(rng.random())
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
            provider.breaker.finish_step()
        spent = dict.fromkeys(self._daily_costs, 0.0)
        for counters in self._models:
            spent[counters.model.provider] += counters.spent
        for name, cell in self._daily_costs.items():
            cell.set(round(spent[name] * 86_400 / max(elapsed, STEP), 6))
        self._storage.finish_step(elapsed)
        if self._specified is not None:
            self._specified.finish_step(elapsed)


def _count_requests(rng: Random, elapsed: float) -> int:
    """How many requests arrive in a step: two slow waves (60 and 14 minutes) and noise."""
    wave = 1 + 0.35 * math.sin(math.tau * elapsed / 3600) + 0.15 * math.sin(math.tau * elapsed / 840)
    mean = REQUESTS_PER_STEP * wave
    # A normal distribution with the variance of a Poisson process.
    return max(0, round(rng.gauss(mean, math.sqrt(mean))))
