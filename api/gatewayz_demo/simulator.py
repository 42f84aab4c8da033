"""A gateway that never was: what it would have counted by a given time, always the same for the same seed.

Time goes in steps, each with a random generator of its own, so that whoever lives through the same steps
arrives at the same numbers: history, live exporter and an exporter started again agree.
"""

import math
from bisect import bisect
from collections import Counter
from itertools import accumulate
from random import Random

from gatewayz_demo import topology
from gatewayz_demo.counters import (
    SPREAD,
    STEP,
    BusinessCounters,
    Incident,
    ModelCounters,
    ProviderCounters,
    RouteCounters,
    StorageCounters,
)
from gatewayz_demo.metric_store import MetricStore

REQUESTS_PER_STEP = 42.0
INCIDENT_EVERY = 1800.0
FAILOVER = 0.6


class Simulator:
    """The simulated gateway up to a point in time."""

    def __init__(self, *, seed: int = 7, epoch: float) -> None:
        """The world at its epoch, all counters at zero."""
        self.seed, self.epoch = seed, epoch
        self.metrics = MetricStore(created=epoch)
        self.data = MetricStore(created=epoch)
        self._steps = 0
        self._http = [RouteCounters(self.metrics, route) for route in topology.ROUTES]
        self._route_weights = list(accumulate(route.weight for route in topology.ROUTES))
        self._exceptions = [self.metrics.cell(topology.EXCEPTIONS_TOTAL, topology.APP, e) for e in topology.EXCEPTIONS]
        self._models = [ModelCounters(self.metrics, model) for model in topology.MODELS]
        self._model_weights = list(accumulate(model.weight for model in topology.MODELS))
        self._providers = {name: ProviderCounters(self.metrics, self.data, name) for name in topology.PROVIDERS}
        self._provider_counts = {k: self.metrics.cell(f) for k, f in topology.PROVIDER_COUNTS.items()}
        self._storage = StorageCounters(self.metrics)
        self._business = BusinessCounters(self.metrics)
        self._take_stock(0.0)

    @property
    def now(self) -> float:
        """How far it has lived."""
        return self.epoch + self._steps * STEP

    def advance(self, now: float) -> None:
        """Lives through every step that has ended by now."""
        due = int((now - self.epoch) // STEP)
        while self._steps < due:
            self._live(self._steps)
            self._steps += 1

    def incident(self, elapsed: float) -> Incident | None:
        """The trouble some seconds after the epoch, if any."""
        block = int(elapsed // INCIDENT_EVERY)
        rng = Random(f"{self.seed}:incident:{block}")  # noqa: S311  # a simulation, not a secret
        start = block * INCIDENT_EVERY + rng.uniform(300, 1000)
        busy = topology.PROVIDERS[: len(topology.PROVIDERS) - 2]
        found = Incident(rng.choice(busy), start, start + rng.uniform(200, 420), rng.random() < 0.7)
        return found if found.start <= elapsed < found.end else None

    def _live(self, step: int) -> None:
        rng = Random(f"{self.seed}:{step}")  # noqa: S311  # a simulation, not a secret
        elapsed = step * STEP
        trouble = self.incident(elapsed)
        for provider in self._providers.values():
            provider.begin(trouble)
        for _ in range(_traffic(rng, elapsed)):
            self._serve(rng)
        for books in self._http:
            books.settle()
        self._take_stock(elapsed + STEP)

    def _serve(self, rng: Random) -> None:
        """One HTTP request and everything it causes."""
        books = self._http[bisect(self._route_weights, rng.random() * self._route_weights[-1])]
        route = books.route
        status = books.status(rng.random())
        seconds = route.seconds * rng.lognormvariate(0, SPREAD)
        seconds += self._storage.authenticate(rng)
        if status == route.success:
            if route.calls_model:
                status, spent = self._infer(rng)
                seconds += spent
            seconds += self._storage.work(route, rng)
        elif status == "500":
            self._exceptions[rng.randrange(len(self._exceptions))].add()
        books.record(status, seconds)

    def _infer(self, rng: Random) -> tuple[str, float]:
        """The status and the seconds it took; often a second provider is tried when the first fails."""
        spent = 0.0
        for _ in range(2 if rng.random() < FAILOVER else 1):
            books = self._models[bisect(self._model_weights, rng.random() * self._model_weights[-1])]
            provider = self._providers[books.model.provider]
            failed = rng.random() < provider.failing
            seconds = books.model.seconds * provider.slowness * rng.lognormvariate(0, SPREAD)
            spent += seconds
            provider.record(seconds, failed=failed)
            books.record(seconds, rng, failed=failed)
            if not failed:
                return "200", spent
        return ("502" if rng.random() < 0.7 else "503"), spent

    def _take_stock(self, elapsed: float) -> None:
        """The gauges at the end of a step."""
        tally = Counter(provider.settle() for provider in self._providers.values())
        tally["total"] = len(self._providers)
        for status, cell in self._provider_counts.items():
            cell.set(tally[status])
        self._storage.settle(elapsed)
        self._business.settle(elapsed)


def _traffic(rng: Random, elapsed: float) -> int:
    """How many requests arrive in a step: slow waves and some noise."""
    wave = 1 + 0.35 * math.sin(math.tau * elapsed / 3600) + 0.15 * math.sin(math.tau * elapsed / 840)
    mean = REQUESTS_PER_STEP * wave
    return max(0, round(rng.gauss(mean, math.sqrt(mean))))
