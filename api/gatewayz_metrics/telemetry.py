"""What the service measures about itself, in a registry of its own."""

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Telemetry:
    """Our own families. Labels hold only names from the code, never text from a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
            "Requests sent to the upstream, by API path and outcome (ok or an error code).",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self.upstream_seconds = Histogram(
            "gatewayz_metrics_upstream_request_duration_seconds",
            "Time until an upstream answer was whole, by API path.",
            ["kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.upstream_up = Gauge(
            "gatewayz_metrics_upstream_up",
            "1 when the upstream's last answer was usable, 0 when not; 0 before the first.",
            registry=self.registry,
        )
        self.upstream_last_success = Gauge(
            "gatewayz_metrics_upstream_last_success_timestamp_seconds",
            "Unix time of the last usable upstream answer; 0 before the first.",
            registry=self.registry,
        )
        self.cache_requests = Counter(
            "gatewayz_metrics_cache_requests",
            "Look-ups of kept answers: hit (kept), joined (shared a call under way), miss (asked the upstream).",
            ["result"],
            registry=self.registry,
        )
        self.join_fallbacks = Counter(
            "gatewayz_metrics_join_fallbacks",
            "Joined queries that the upstream refused whole, so that their parts were asked apart.",
            registry=self.registry,
        )
        self.warnings = Counter(
            "gatewayz_metrics_upstream_warnings",
            "Warnings that came with upstream answers.",
            registry=self.registry,
        )

        self.range_results = Counter(
            "gatewayz_metrics_range_results",
            "Range queries by what the cache could do (hit, partial, miss, bypass) and why.",
            ["result", "reason"],
            registry=self.registry,
        )
        self.range_points = Counter(
            "gatewayz_metrics_range_points",
            "Points per series that range queries were answered with: cached, or fetched from the upstream.",
            ["source"],
            registry=self.registry,
        )
        self.range_bytes = Gauge(
            "gatewayz_metrics_range_cache_bytes", "Bytes that the range cache accounts for.", registry=self.registry
        )
        self.api_answers = Counter(
            "gatewayz_metrics_api_answers",
            "Whole answers of the Prometheus API by path: hit (kept), joined (shared a call under way), miss.",
            ["kind", "result"],
            registry=self.registry,
        )
        self.refusals = Counter(
            "gatewayz_metrics_limit_refusals",
            "Requests refused by a limit of our own, by the limit.",
            ["limit"],
            registry=self.registry,
        )

    def of_route(self, route: str) -> Callable[[int, float], None]:
        """What a route calls with the status and the seconds of each of its answers."""
        seconds = self.request_seconds.labels(route)
        # Looking a child up costs more than counting; a route has few statuses.
        count = cache(lambda status: self.requests.labels(route, str(status)))

        def observe(status: int, duration: float) -> None:
            count(status).inc()
            seconds.observe(duration)

        return observe

    def of_cache(self) -> Callable[[str], None]:
        """What a cache calls with the result of each look-up."""
        count = cache(self.cache_requests.labels)
        return lambda result: count(result).inc()

    def page(self) -> bytes:
        """The exposition of all of them, Prometheus text format 0.0.4."""
        return generate_latest(self.registry)
