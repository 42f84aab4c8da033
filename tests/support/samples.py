"""One hour of known samples: several deployments in one engine, told apart by `env`.

production  everything present, two replicas, an exporter of provider counts
staging     the same names with other numbers: what a missing selector would mix in
bare        as real backends are: no provider counts, few families
idle        counters that never move
written     what the real backend writes, in place of the specification's provider and cache families
calls       model calls and Redis, but no breaker and no catalogue cache
oneshot     only cache hits, no 5xx, no provider error rate
hostile     label values that break careless writers
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

STEP = 15
START = 1_760_000_000 // STEP * STEP
END = START + 3600

HOSTILE = ['say "hi"', "back\\slash", "two\nlines", "ünïcode ☃ 🚀", "", "{}=,#", "a\tb\rc", "\u2028"]

Curve = Callable[[float], float]


@dataclass(frozen=True)
class Series:
    """A series as a function of the seconds since START."""

    name: str
    labels: dict[str, str]
    curve: Curve


def steady(per_second: float, begin: float = 0) -> Curve:
    """A counter that grows evenly."""
    return lambda t: begin + per_second * t


def flat(value: float) -> Curve:
    """A gauge that stays."""
    return lambda _t: value


def ticking(per_scrape: float) -> Curve:
    """A counter that grows by so much with every scrape; whole numbers stay whole."""
    return lambda t: per_scrape * t / STEP


def histogram(
    name: str, labels: dict[str, str], buckets: dict[str, int], mean: float, scale: float = 1
) -> Iterator[Series]:
    """A histogram whose buckets grow evenly; `buckets` are cumulative, per scrape, +Inf included."""
    for le, observations in buckets.items():
        yield Series(f"{name}_bucket", labels | {"le": le}, ticking(observations * scale))
    yield Series(f"{name}_sum", labels, ticking(buckets["+Inf"] * scale * mean))
    yield Series(f"{name}_count", labels, ticking(buckets["+Inf"] * scale))


def deployments() -> Iterator[Series]:
    """Every series of the engine."""
    yield from _production("production", 1.0)
    yield from _production("staging", 7.0)
    yield from _bare()
    yield from _idle()
    yield from _written()
    yield from _calls()
    yield from _oneshot()
    yield from _hostile()


def _production(env: str, scale: float) -> Iterator[Series]:
    for replica in ("gateway-1:8000", "gateway-2:8000"):
        base = {"env": env, "job": "gateway", "instance": replica}
        yield from _http(base, scale)
        yield from _models(base, scale)
        yield from _providers(base, scale)
        yield from _data(base, scale)
        yield from _stack(base, scale)


def _http(base: dict[str, str], scale: float) -> Iterator[Series]:
    for path, share in {"/v1/chat/completions": 1.0, "/v1/models": 0.25}.items():
        route = base | {"app_name": "gatewayz", "method": "POST", "path": path}
        for status, rate in {"200": 2.0, "429": 0.1, "500": 0.05, "503": 0.01}.items():
            labels = route | {"status_code": status, "status_class": f"{status[0]}xx"}
            yield Series("fastapi_requests_total", labels, steady(rate * share * scale, 100))
        buckets = {"0.1": 2, "0.5": 6, "1.0": 7, "5.0": 8, "+Inf": 9}
        yield from histogram("fastapi_requests_duration_seconds", route, buckets, 0.4, 4 * share * scale)
        yield Series("fastapi_requests_in_progress", route, flat(3 * scale))
    labels = base | {"app_name": "gatewayz", "exception_type": "ValueError"}
    yield Series("fastapi_exceptions_total", labels, steady(0.01 * scale))


def _models(base: dict[str, str], scale: float) -> Iterator[Series]:
    catalogue = {
        "gpt-4": "openai",
        "anthropic/claude-opus-4.5": "anthropic",
        "google/gemini-2.0-flash-exp:free": "google-vertex",
    }
    for weight, (model, provider) in enumerate(catalogue.items(), 1):
        call = base | {"model": model, "provider": provider}
        for status, rate in {"success": 0.9, "error": 0.02}.items():
            yield Series("model_inference_requests_total", call | {"status": status}, steady(rate * weight * scale))
        for kind, rate in {"input": 1234.0, "output": 321.5}.items():
            yield Series("tokens_used_total", call | {"token_type": kind}, steady(rate * weight * scale))
        yield Series("credits_used_total", call, steady(0.00123 * weight * scale))
        buckets = {"0.5": 3, "1.0": 7, "5.0": 12, "60.0": 13, "+Inf": 14}
        yield from histogram("model_inference_duration_seconds", call, buckets, 1.7, weight * scale)


def _providers(base: dict[str, str], scale: float) -> Iterator[Series]:
    states = {"openai": (1, 0.01), "anthropic": (1, 0.25), "google-vertex": (0, 1.0), "groq": (1, 0.0)}
    counts = {"total": 26, "healthy": 21, "degraded": 3, "down": 2}
    for state, count in counts.items():
        yield Series(f"gatewayz_providers_{state}", base, flat(count * scale))
    for provider, (up, errors) in states.items():
        labels = base | {"provider": provider}
        yield Series("provider_availability", labels, flat(up))
        yield Series("provider_availability", labels | {"source": "prometheus_data"}, flat(100 * up))
        yield Series("provider_error_rate", labels, flat(errors))
        buckets = {"0.1": 1, "1.0": 9, "10.0": 10, "+Inf": 10}
        yield from histogram("provider_response_time_seconds", labels, buckets, 0.6, scale)


def _data(base: dict[str, str], scale: float) -> Iterator[Series]:
    for table, mean in {"users": 0.004, "api_keys_new": 0.012}.items():
        yield Series("database_queries_total", base | {"table": table, "operation": "select"}, steady(5 * scale))
        yield Series("database_query_duration_seconds_sum", base | {"table": table}, steady(5 * mean * scale))
        yield Series("database_query_duration_seconds_count", base | {"table": table}, steady(5 * scale))
    for cache, (hits, misses) in {"models": (9.0, 1.0), "keys": (1.0, 3.0)}.items():
        yield Series("cache_hits_total", base | {"cache_name": cache}, steady(hits * scale))
        yield Series("cache_misses_total", base | {"cache_name": cache}, steady(misses * scale))
        yield Series("cache_size_bytes", base | {"cache_name": cache}, flat(2**20 * scale))
    for status, keys in {"active": 412, "revoked": 88}.items():
        yield Series("active_api_keys", base | {"status": status}, flat(keys * scale))
    for plan, cycle, number in [("pro", "monthly", 120), ("pro", "yearly", 30), ("max", "monthly", 7)]:
        labels = base | {"plan_type": plan, "billing_cycle": cycle}
        yield Series("subscription_count", labels, flat(number * scale))
    yield Series("trial_active", base | {"status": "active"}, flat(19 * scale))
    yield Series("trial_active", base | {"status": "expired"}, flat(55 * scale))


def _stack(base: dict[str, str], scale: float) -> Iterator[Series]:
    """What the gateway writes beyond the specification."""
    route = base | {"app_name": "gatewayz", "method": "POST", "path": "/v1/models"}
    for name in ("fastapi_request_size_bytes", "fastapi_response_size_bytes"):
        yield from histogram(name, route, {"100.0": 1, "1000.0": 5, "+Inf": 6}, 400, scale)
    call = base | {"model": "gpt-4", "provider": "openai"}
    for name in ("time_to_first_chunk_seconds", "backend_ttfb_seconds", "streaming_duration_seconds"):
        yield from histogram(name, call, {"0.5": 3, "1.0": 7, "10.0": 9, "+Inf": 9}, 0.8, scale)
    yield Series("gatewayz_api_cost_usd_total", call, steady(0.01 * scale))
    yield Series("gatewayz_cache_cost_savings_usd_total", call | {"cache_type": "response"}, steady(0.002 * scale))
    yield from histogram("gatewayz_api_cost_per_request_usd", call, {"0.001": 3, "0.1": 9, "+Inf": 9}, 0.01, scale)
    yield Series("gatewayz_daily_cost_estimate_usd", base | {"provider": "openai"}, flat(864 * scale))
    breaker = base | {"provider": "openai"}
    yield Series("circuit_breaker_current_state", breaker | {"state": "closed"}, flat(1))
    changes = {"from_state": "half_open", "to_state": "closed"}
    yield Series("circuit_breaker_state_transitions_total", breaker | changes, steady(0.01))
    yield Series("circuit_breaker_rejected_requests_total", breaker, steady(0.1))
    yield Series("velocity_mode_active", base, flat(0))
    yield Series("velocity_mode_activations_total", base, steady(0.01))
    yield from histogram("velocity_mode_duration_seconds", base, {"60.0": 1, "300.0": 3, "+Inf": 3}, 120)
    yield Series("concurrency_active_requests", base, flat(7 * scale))
    yield Series("concurrency_queued_requests", base, flat(2 * scale))
    yield Series("concurrency_rejected_total", base | {"reason": "queue_full"}, steady(0.1))
    for name, rate in {"hits": 9.0, "misses": 1.0}.items():
        yield Series(f"catalog_cache_{name}_total", base | {"gateway": "openrouter"}, steady(rate * scale))
        yield Series(f"redis_keyspace_{name}_total", base, steady(rate * scale))
    yield Series("catalog_cache_size_bytes", base | {"gateway": "openrouter"}, flat(2**20))
    yield Series("redis_up", base, flat(1))
    yield Series("redis_connected_clients", base, flat(24))
    yield Series("redis_memory_used_bytes", base, flat(2**25))
    yield Series("redis_memory_max_bytes", base, flat(2**28))
    yield Series("redis_db_keys", base | {"db": "db0"}, flat(1200))
    yield Series("redis_uptime_in_seconds", base, steady(1))
    for name, rate in {
        "commands_processed": 20.0,
        "total_connections_received": 0.2,
        "evicted_keys": 0.0,
        "expired_keys": 4.0,
    }.items():
        yield Series(f"redis_{name}_total", base, steady(rate))


def _bare() -> Iterator[Series]:
    base = {"env": "bare", "job": "gateway", "instance": "a"}
    for provider, up in {"openai": 1, "groq": 1, "xai": 0}.items():
        for instance in ("a", "b"):
            labels = base | {"provider": provider, "instance": instance}
            yield Series("provider_availability", labels, flat(up))
            yield Series("provider_error_rate", labels, flat(0.2 if provider == "groq" else 0.01))
        yield Series(
            "provider_availability", base | {"provider": provider, "source": "prometheus_data"}, flat(100 * up)
        )


def _idle() -> Iterator[Series]:
    base = {"env": "idle", "job": "gateway", "instance": "a"}
    yield Series("fastapi_requests_total", base | {"status_code": "200"}, flat(1234))
    yield from histogram("fastapi_requests_duration_seconds", base, {"1.0": 0, "+Inf": 0}, 1)
    yield Series("cache_hits_total", base | {"cache_name": "keys"}, flat(10))


def _written() -> Iterator[Series]:
    base = {"env": "written", "job": "gateway", "instance": "a"}
    # xai has not been called for a while, groq fails every call, openai one of five.
    for provider, (good, bad) in {"openai": (0.8, 0.2), "groq": (0, 2), "mistral": (1, 0), "xai": (0, 0)}.items():
        yield from _calls_to(base, provider, good, bad)
        labels = base | {"provider": provider, "model": "m", "status": "success"}
        buckets = {"1.0": 3, "10.0": 4, "45.0": 4, "+Inf": 4}
        yield from histogram("provider_response_duration_seconds", labels, buckets, 0.8)
    # A breaker sets the state that it enters to 1 and the one that it leaves to 0; it starts closed, without a series.
    for provider, states in {"groq": {"closed": 0, "open": 1}, "openai": {"open": 0, "half_open": 1}}.items():
        for state, holds in states.items():
            yield Series("circuit_breaker_current_state", base | {"provider": provider, "state": state}, flat(holds))
    for gateway, (hits, misses) in {"openrouter": (7.0, 1.0), "groq": (1.0, 1.0)}.items():
        yield Series("catalog_cache_hits_total", base | {"gateway": gateway}, steady(hits))
        yield Series("catalog_cache_misses_total", base | {"gateway": gateway}, steady(misses))
    yield from _redis(base)


def _calls() -> Iterator[Series]:
    base = {"env": "calls", "job": "gateway", "instance": "a"}
    for provider, (good, bad) in {"openai": (0.8, 0.2), "groq": (0, 2), "mistral": (1, 0)}.items():
        yield from _calls_to(base, provider, good, bad)
    yield from _redis(base)


def _calls_to(base: dict[str, str], provider: str, good: float, bad: float) -> Iterator[Series]:
    for status, rate in {"success": good, "error": bad}.items():
        labels = base | {"provider": provider, "model": "m", "status": status}
        yield Series("model_inference_requests_total", labels, steady(rate))


def _redis(base: dict[str, str]) -> Iterator[Series]:
    yield Series("redis_keyspace_hits_total", base, steady(3))
    yield Series("redis_keyspace_misses_total", base, steady(1))


def _oneshot() -> Iterator[Series]:
    base = {"env": "oneshot", "job": "gateway", "instance": "a"}
    yield Series("fastapi_requests_total", base | {"status_code": "200"}, steady(1))
    yield Series("cache_hits_total", base | {"cache_name": "keys"}, steady(2))
    yield Series("provider_availability", base | {"provider": "openai"}, flat(1))
    for status, rate in {"success": 3, "error": 1}.items():
        labels = base | {"model": "gpt-4", "provider": "openai", "status": status}
        yield Series("model_inference_requests_total", labels, steady(rate))


def _hostile() -> Iterator[Series]:
    base = {"env": "hostile", "job": "gateway", "instance": "a"}
    for number, text in enumerate(HOSTILE, 1):
        labels = base | {"model": text, "provider": f"p{number}", "status": "success"}
        yield Series("model_inference_requests_total", labels, flat(number))


def openmetrics(path: Path, *, start: int = START, seconds: int = 3600, found: Iterable[Series] | None = None) -> Path:
    """All of it, or other series, as OpenMetrics text with timestamps, which `promtool` turns into blocks."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for series in sorted(found or deployments(), key=lambda series: series.name):
            head = f"{series.name}{{{_labels(series.labels)}}}"
            file.writelines(f"{head} {series.curve(t)!r} {start + t}\n" for t in range(0, seconds + STEP, STEP))
        file.write("# EOF\n")
    return path


def exposition_with_times(path: Path) -> Path:
    """The same as Prometheus text with millisecond timestamps, which VictoriaMetrics imports."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for series in deployments():
            head = f"{series.name}{{{_labels(series.labels)}}}"
            file.writelines(f"{head} {series.curve(t)!r} {(START + t) * 1000}\n" for t in range(0, 3600 + STEP, STEP))
    return path


def _labels(labels: dict[str, str]) -> str:
    pairs = (
        f'{k}="' + v.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") + '"' for k, v in labels.items()
    )
    return ",".join(pairs)
