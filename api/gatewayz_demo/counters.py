"""The metrics of the simulated gateway: one class per kind of thing that is measured.

Within a step the simulator calls `start_step` on providers, `record...` for every event, and
`finish_step` on everything that has gauges.
"""

import math
from itertools import accumulate, cycle
from random import Random
from typing import Protocol

from gatewayz_demo import topology
from gatewayz_demo.incidents import Incident
from gatewayz_demo.metric_store import Cell, Distribution, MetricStore, create_cells
from gatewayz_demo.topology import Model, Route

# Seconds per step. The scrape interval is a multiple of it, so that a scrape sees whole steps only.
STEP = 5.0
# A breaker opens after so many failures in a row, and closes after so many successes once it is half open.
FAILURES_TO_OPEN, SUCCESSES_TO_CLOSE = 5, 2
# Seconds after which an open breaker lets calls through.
OPEN_SECONDS = 60.0
# Server errors in a step that turn overload protection on, and the seconds after which it is off again.
FAILURES_TO_PROTECT, PROTECTED_SECONDS = 4, 180.0
# The share of model calls whose answers are streamed.
STREAMED = 0.6
# Only models of this weight or more are streamed: every series costs time when hours of history are written.
STREAMED_FROM = 5
# Sigma of the log-normal factor on every duration.
SPREAD = 0.55


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
        self._sizes = [
            *(
                [(store.add_distribution(topology.REQUEST_BYTES, *labels), 2400 if route.calls_model else 320)]
                if route.method in ("POST", "PUT")
                else []
            ),
            (store.add_distribution(topology.RESPONSE_BYTES, *labels), 3800 if route.method != "DELETE" else 60),
        ]
        self._failures = list(zip(accumulate(p for _, p in route.failures), route.failures, strict=True))
        self._busy_seconds = 0.0

    def choose_status(self, draw: float) -> str:
        """The route's own status for a random number in [0, 1), before any model is called."""
        return next((status for limit, (status, _) in self._failures if draw < limit), self.route.success)

    def record(self, status: str, seconds: float, rng: Random) -> None:
        """Counts one request."""
        for sizes, median in self._sizes:
            sizes.observe(round(median * rng.lognormvariate(0, 1)))
        self._requests[status].add()
        self._seconds.observe(seconds)
        self._busy_seconds += seconds

    def finish_step(self) -> float:
        """Sets the requests in progress to their mean over the step, and returns that."""
        mean = self._busy_seconds / STEP
        self._in_progress.set(round(mean))
        self._busy_seconds = 0.0
        return mean


class ModelCounters:
    """The metrics of one model at one provider."""

    def __init__(self, store: MetricStore, model: Model) -> None:
        """Adds the model's series to the store, at zero."""
        labels = (model.provider, model.name)
        self.model = model
        # US dollars since the start.
        self.spent = 0.0
        self._successes = store.add_cell(topology.MODEL_CALLS, *labels, "success")
        self._failures = store.add_cell(topology.MODEL_CALLS, model.provider, model.client_name or model.name, "error")
        self._seconds = store.add_distribution(topology.MODEL_SECONDS, *labels)
        self._answers = store.add_distribution(topology.RESPONSE_SECONDS, *labels, "success")
        # Begins with the first failure.
        self._refusals: Distribution | None = None
        self._store, self._labels = store, labels
        self._input = store.add_cell(topology.TOKENS, *labels, "input")
        self._output = store.add_cell(topology.TOKENS, *labels, "output")
        self._credits = store.add_cell(topology.CREDITS, *labels)
        self._cost = store.add_cell(topology.COST, *labels)
        self._call_cost = store.add_distribution(topology.CALL_COST, *labels)
        # First byte, first chunk and the rest of a streamed answer.
        self._stream = (
            (
                store.add_distribution(topology.FIRST_BYTE, *labels, topology.ENDPOINT),
                store.add_distribution(topology.FIRST_CHUNK, *labels),
                store.add_distribution(topology.STREAMING, *labels, topology.ENDPOINT),
            )
            if model.weight >= STREAMED_FROM
            else None
        )

    def record(self, seconds: float, rng: Random, *, failed: bool) -> None:
        """Counts one call; a failed call uses no tokens and no credits."""
        self._seconds.observe(seconds)
        if failed:
            self._failures.add()
            if self._refusals is None:
                self._refusals = self._store.add_distribution(topology.RESPONSE_SECONDS, *self._labels, "error")
            self._refusals.observe(seconds)
            return
        self._answers.observe(seconds)
        # Medians of about 490 and 220 tokens.
        input_tokens, output_tokens = round(rng.lognormvariate(6.2, 0.9)), round(rng.lognormvariate(5.4, 0.8))
        self._successes.add()
        self._input.add(input_tokens)
        self._output.add(output_tokens)
        # The price is per million input tokens; output tokens cost three times as much.
        price = (input_tokens + 3 * output_tokens) * self.model.price / 1_000_000
        self._credits.add(price)
        self._cost.add(price)
        self._call_cost.observe(price)
        self.spent += price
        if self._stream is not None and rng.random() < STREAMED:
            # The first byte comes after a quarter of the time or so, the first chunk a little later.
            first = seconds * rng.uniform(0.15, 0.35)
            for distribution, amount in zip(self._stream, (first, first + 0.02, seconds - first), strict=True):
                distribution.observe(amount)


class Breaker:
    """The circuit breaker of one provider: its series begin with its first change of state, as the gateway's do."""

    def __init__(self, store: MetricStore, provider: str) -> None:
        """Starts closed, without a series."""
        self.state = "closed"
        self._store, self._provider = store, provider
        self._states: dict[str, Cell] = {}
        self._changes: dict[tuple[str, str], Cell] = {}
        self._refusals: Cell | None = None
        self._in_row, self._seconds_open = 0, 0.0

    def refuses(self) -> bool:
        """Whether a call is refused; it is counted then."""
        if self.state != "open":
            return False
        self._refusals = self._refusals or self._store.add_cell(topology.BREAKER_REFUSALS, self._provider)
        self._refusals.add()
        return True

    def record(self, *, failed: bool) -> None:
        """Takes the result of a call."""
        same = failed == (self.state == "closed")
        self._in_row = self._in_row + 1 if same else 0
        if self.state == "half_open" and failed:
            self._enter("open")
        elif self._in_row >= (FAILURES_TO_OPEN if failed else SUCCESSES_TO_CLOSE):
            self._enter("open" if failed else "closed")

    def finish_step(self, seconds: float) -> None:
        """Lets calls through again some time after it opened; a step took so many seconds."""
        self._seconds_open += seconds * (self.state == "open")
        if self._seconds_open >= OPEN_SECONDS:
            self._enter("half_open")

    def _enter(self, state: str) -> None:
        change = (self.state, state)
        if change not in self._changes:
            self._changes[change] = self._store.add_cell(topology.BREAKER_CHANGES, self._provider, *change)
        self._changes[change].add()
        for each, holds in ((state, 1), (self.state, 0)):
            if each not in self._states:
                self._states[each] = self._store.add_cell(topology.BREAKER_STATE, self._provider, each)
            self._states[each].set(holds)
        self.state, self._in_row, self._seconds_open = state, 0, 0.0


class ProviderCounters:
    """The metrics of one provider, and its state in the current step."""

    def __init__(self, store: MetricStore, name: str) -> None:
        """Adds the provider's series to the store, healthy."""
        self.name = name
        self.failure_rate, self.slowdown = 0.0, 1.0
        self.breaker = Breaker(store, name)
        self.is_down = False
        # The calls of the step, as seconds.
        self.calls: list[float] = []
        self.failures = 0
        # About half of the providers fail only in an incident.
        self._usual_failure_rate = max(0.0, Random(name).uniform(-0.01, 0.012))  # noqa: S311  # a simulation, not a secret

    def start_step(self, incident: Incident | None) -> None:
        """Sets failure rate and slowdown for a step, from the incident that is under way, if any."""
        affected = incident is not None and incident.provider == self.name
        self.is_down = affected and incident is not None and incident.kind == "outage"
        # The share of calls that fail: in an outage, in a lesser incident, and usually.
        self.failure_rate = 0.85 if self.is_down else 0.2 if affected else self._usual_failure_rate
        self.slowdown = 2.5 if affected else 1.0
        self.calls, self.failures = [], 0

    def record(self, seconds: float, *, failed: bool) -> None:
        """Counts one call."""
        self.breaker.record(failed=failed)
        self.calls.append(seconds)
        self.failures += failed


class LoadCounters:
    """Slots of the concurrency limit, and the overload protection that comes on when many requests fail."""

    def __init__(self, store: MetricStore) -> None:
        """Adds the series to the store, without load."""
        self._used = store.add_cell(topology.SLOTS_USED)
        self._awaited = store.add_cell(topology.SLOTS_AWAITED)
        self._refused = create_cells(store, topology.SLOTS_REFUSED, ("queue_full", "queue_timeout"))
        self._active = store.add_cell(topology.VELOCITY_ACTIVE)
        self._activations = store.add_cell(topology.VELOCITY_ON)
        self._seconds = store.add_distribution(topology.VELOCITY_SECONDS)
        self._since: float | None = None

    def finish_step(self, elapsed: float, in_progress: float, failures: int) -> None:
        """Takes the requests in progress and the server errors of a step."""
        waiting = max(0.0, in_progress - topology.SLOTS)
        self._used.set(round(in_progress - waiting))
        self._awaited.set(round(waiting))
        if waiting > topology.SLOTS:
            self._refused["queue_full",].add(round(waiting - topology.SLOTS))
        if self._since is None and failures >= FAILURES_TO_PROTECT:
            self._since = elapsed
            self._activations.add()
        elif self._since is not None and elapsed - self._since >= PROTECTED_SECONDS:
            self._seconds.observe(elapsed - self._since)
            self._since = None
        self._active.set(float(self._since is not None))


class ProcessCounters:
    """What the process of the gateway takes, as every Python process with a client of Prometheus tells it."""

    def __init__(self, store: MetricStore) -> None:
        """Adds the series to the store; the process began when the store was created."""
        store.add_cell(topology.START_TIME).set(store.created)
        store.add_cell(topology.MOST_FILES).set(1024)
        self._seconds = store.add_cell(topology.CPU_SECONDS)
        self._bytes = store.add_cell(topology.RESIDENT_BYTES)
        self._files = store.add_cell(topology.OPEN_FILES)

    def finish_step(self, elapsed: float, requests: int, in_progress: float) -> None:
        """Takes the requests of a step and those in progress; memory grows for hours, as it does."""
        self._seconds.add(round(0.05 + 0.012 * requests, 3))
        self._bytes.set(round(280e6 + 60e6 * (1 - math.exp(-elapsed / 7200)) + 150e3 * in_progress))
        # A connection for each request in progress and one for what it waits for.
        self._files.set(round(48 + 2 * in_progress))


class LookUps(Protocol):
    """Counts look-ups by the name of the cache."""

    def record_look_up(self, cache: str, *, hit: bool) -> None:
        """Counts one look-up in a cache."""


class StorageCounters:
    """The metrics of the database and of the caches in front of it, which are in Redis."""

    def __init__(self, store: MetricStore, look_ups: LookUps | None) -> None:
        """Adds the series of every table and cache to the store, at zero."""
        self._queries = {query: store.add_cell(topology.DB_QUERIES, *query) for query in topology.QUERIES}
        self._seconds = {table: store.add_distribution(topology.DB_SECONDS, table) for table in topology.TABLES}
        self._look_ups = look_ups
        # How many times longer than usual a query takes.
        self.slowdown = 1.0
        self._catalog_hits = create_cells(store, topology.CATALOG_HITS, topology.PROVIDERS)
        self._catalog_misses = create_cells(store, topology.CATALOG_MISSES, topology.PROVIDERS)
        self._redis_hits, self._redis_misses = (
            store.add_cell(topology.REDIS_HITS),
            store.add_cell(topology.REDIS_MISSES),
        )
        self._redis_clients, self._redis_bytes = (
            store.add_cell(topology.REDIS_CLIENTS),
            store.add_cell(topology.REDIS_BYTES),
        )
        self._redis_uptime, self._redis_keys = (
            store.add_cell(topology.REDIS_UPTIME),
            store.add_cell(topology.REDIS_KEYS, "db0"),
        )
        self._redis_commands, self._redis_connections, self._redis_expired = (
            store.add_cell(topology.REDIS_COMMANDS),
            store.add_cell(topology.REDIS_CONNECTIONS),
            store.add_cell(topology.REDIS_EXPIRED),
        )
        # Its memory is never full.
        store.add_cell(topology.REDIS_EVICTED)
        store.add_cell(topology.REDIS_MOST_BYTES).set(256_000_000)
        # In turn: which model a found answer is of changes nothing else.
        self._saved = cycle(
            [store.add_cell(topology.SAVED_COST, one.provider, one.name, "response") for one in topology.MODELS]
        )
        store.add_cell(topology.REDIS_UP).set(1)
        for name, models in topology.MODEL_COUNTS.items():
            store.add_cell(topology.MODEL_COUNT, name).set(models)
            store.add_cell(topology.CATALOG_BYTES, name).set(2048 * models)

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
        """Sets the gauges of Redis, which follow slow waves."""
        self._redis_clients.set(round(24 + 6 * math.sin(math.tau * elapsed / 3600)))
        filling = 1 + 0.2 * math.sin(math.tau * elapsed / 2400)
        self._redis_bytes.set(round(48_000_000 * filling))
        self._redis_keys.set(round(12_000 * filling))
        # Redis is older than the gateway.
        self._redis_uptime.set(86_400 + round(elapsed))
        self._redis_connections.add(0.2)
        self._redis_expired.add(4)

    def _look_up(self, cache: str, hit_ratio: float, rng: Random) -> bool:
        hit = rng.random() < hit_ratio
        (self._redis_hits if hit else self._redis_misses).add()
        # What is not found is written.
        self._redis_commands.add(1 if hit else 2)
        if hit and cache == "response":
            next(self._saved).add(0.004)
        if cache == "catalog":
            gateway = topology.PROVIDERS[rng.randrange(len(topology.PROVIDERS))]
            (self._catalog_hits if hit else self._catalog_misses)[gateway,].add()
        if self._look_ups is not None:
            self._look_ups.record_look_up(cache, hit=hit)
        return hit

    def _record_query(self, query: tuple[str, str], rng: Random) -> float:
        seconds = 0.006 * self.slowdown * rng.lognormvariate(0, SPREAD)
        self._queries[query].add()
        self._seconds[query[0]].observe(seconds)
        return seconds
