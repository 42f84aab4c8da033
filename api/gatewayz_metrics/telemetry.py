"""The metrics of the service itself, in a registry of its own: a host application's default registry stays as it is."""

from collections.abc import Callable, Sequence
from functools import cache
from operator import add

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gatewayz_metrics.measurements import (
    Measurements,
    Merge,
    furthest_from_zero,
    measure,
    merge_measurements,
    render_measurements,
)

# Written out: prometheus-client has a name for it from 0.22 on only.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Upper bounds in seconds, from a cached answer to beyond the default PROMETHEUS_TIMEOUT of 8.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# To be called with the status of an answer and the seconds that it took.
RouteObserver = Callable[[int, float], None]


class Telemetry:
    """The metric families of the service.

    Label values come from the code alone, never from a request, so the number of series is bounded.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # What the values of several workers make together.
        self.gauges: dict[str, Merge] = {}
        self._observers: dict[str, RouteObserver] = {}
        self.requests = Counter(
            "gatewayz_metrics_http_requests",
            "Requests answered, by route template and status.",
            ["route", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "gatewayz_metrics_http_request_duration_seconds",
            "Time to answer a request, by route template.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.upstream_requests = Counter(
            "gatewayz_metrics_upstream_requests",
            "Requests sent to the upstream, by endpoint and outcome (ok or an error code).",
            ["endpoint", "outcome"],
            registry=self.registry,
        )
        self.upstream_seconds = Histogram(
            "gatewayz_metrics_upstream_request_duration_seconds",
            "Time until an upstream answer was whole, by endpoint.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.upstream_up = self._gauge(
            "gatewayz_metrics_upstream_up",
            "1 while the upstream answers, 0 while the circuit breaker is open; 0 before the first usable answer.",
            merge=min,
        )
        self.places = self._gauge(
            "gatewayz_metrics_upstream_places",
            "Questions to the upstream under way (held) and waiting for a place, by kind: catalogue, short, long "
            "(range queries of many points).",
            ["kind", "state"],
            merge=add,
        )
        self.place_refusals = Counter(
            "gatewayz_metrics_upstream_place_refusals",
            "Questions that got no place at the upstream in time, by kind.",
            ["kind"],
            registry=self.registry,
        )
        self.upstream_last_success = self._gauge(
            "gatewayz_metrics_upstream_last_success_timestamp_seconds",
            "Unix time of the last usable upstream answer; 0 before the first.",
            merge=max,
        )
        self.upstream_clock_skew = self._gauge(
            "gatewayz_metrics_upstream_clock_skew_seconds",
            "Our clock minus the upstream's by the Date of its last answer: positive when ours is ahead, 0 within the "
            "second that a Date stands for.",
            merge=furthest_from_zero,
        )
        self.cache_lookups = Counter(
            "gatewayz_metrics_cache_lookups",
            "Cache look-ups: hit, coalesced (shared a request under way), partial (only a part was fetched), miss, "
            "bypass (never cached), stale (kept points alone, as the upstream failed), refresh (what had aged, while "
            "new is read). The caches: snapshots (metrics routes), responses (whole API responses), ranges.",
            ["cache", "result"],
            registry=self.registry,
        )
        self.batch_splits = Counter(
            "gatewayz_metrics_batch_splits",
            "Batched queries that the upstream refused whole, so that each half was asked again.",
            registry=self.registry,
        )
        self.warnings = Counter(
            "gatewayz_metrics_upstream_warnings",
            "Warnings that came with upstream answers.",
            registry=self.registry,
        )
        self.range_fetches = Counter(
            "gatewayz_metrics_range_fetches",
            "Range queries for which more than the newest points was fetched, by the reason.",
            ["reason"],
            registry=self.registry,
        )
        self.range_points = Counter(
            "gatewayz_metrics_range_points",
            "Points per series that range queries were answered with: cached, or fetched from the upstream.",
            ["source"],
            registry=self.registry,
        )
        self.range_bytes = self._gauge(
            "gatewayz_metrics_range_cache_bytes", "Bytes that the range cache accounts for.", merge=add
        )
        self.memory_bytes = self._gauge(
            "gatewayz_metrics_memory_bytes",
            "Bytes reserved for answers under way; MAX_MEMORY_BYTES is their limit.",
            merge=add,
        )
        self.refusals = Counter(
            "gatewayz_metrics_limit_refusals",
            "Requests refused by a limit of our own, by the limit.",
            ["limit"],
            registry=self.registry,
        )
        self.server_refusals = Counter(
            "gatewayz_metrics_server_refusals",
            "Requests that the stand-alone server refused before any route, and slow readers that it hung up on, "
            "by the reason.",
            ["reason"],
            registry=self.registry,
        )

    def _gauge(self, name: str, help_text: str, labels: Sequence[str] = (), *, merge: Merge) -> Gauge:
        self.gauges[name] = merge
        return Gauge(name, help_text, labels, registry=self.registry)

    def of_route(self, route: str) -> RouteObserver:
        """The observer of a route."""
        if route not in self._observers:
            seconds = self.request_seconds.labels(route)
            # Cached, as looking a child up costs more than counting; a route has few statuses.
            count = cache(lambda status: self.requests.labels(route, str(status)))

            def observe(status: int, duration: float) -> None:
                count(status).inc()
                seconds.observe(duration)

            self._observers[route] = observe
        return self._observers[route]

    def of_cache(self, name: str) -> Callable[[str], None]:
        """The observer of a cache, to be called with the result of each look-up, such as `hit`."""
        count = cache(lambda result: self.cache_lookups.labels(name, result))
        return lambda result: count(result).inc()

    def page(self) -> bytes:
        """All families in the Prometheus text format 0.0.4."""
        return generate_latest(self.registry)

    def measure(self) -> Measurements:
        """All values, for a page of several workers."""
        return measure(self.registry)

    def page_of(self, workers: Sequence[Measurements]) -> bytes:
        """All families with the values of several workers."""
        return render_measurements(merge_measurements(workers, self.gauges), self.registry)
