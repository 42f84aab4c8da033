"""A few hundred expressions over all function groups, for engines since Prometheus 2.42."""

from collections.abc import Iterator

GAUGE = 'provider_error_rate{env="production"}'
COUNTER = 'fastapi_requests_total{env="production"}'
BUCKETS = 'fastapi_requests_duration_seconds_bucket{env="production"}'
HOSTILE = 'model_inference_requests_total{env="hostile"}'

_OF_A_VECTOR = """
    abs absent acos acosh asin asinh atan atanh ceil cos cosh day_of_month day_of_week day_of_year days_in_month deg
    exp floor hour ln log10 log2 minute month rad round sgn sin sinh sort sort_desc sqrt tan tanh timestamp year
"""
_OF_A_RANGE = """
    absent_over_time avg_over_time changes count_over_time delta deriv idelta increase irate last_over_time
    max_over_time min_over_time present_over_time rate resets stddev_over_time stdvar_over_time sum_over_time
"""
_AGGREGATIONS = "avg count group max min stddev stdvar sum"
_ARITHMETIC = "+ - * / % ^ atan2"
_COMPARISONS = "== != > < >= <="


def plain() -> Iterator[str]:
    """Expressions that read no series."""
    yield from ("1", "1+1", "-1e3", "0x1F", "NaN", "Inf", "-Inf", "1/0", "0/0", "1e21", "123456789012345678", "1e-7")
    yield from ("vector(1)", "vector(time())", "scalar(vector(2))", "time()", "pi()", "minute()", "vector(NaN)")
    yield from ("1 > bool 2", "vector(1) > 2", "2 ^ 3 ^ 2", "-(1)", "time() - 1e9")


def selecting() -> Iterator[str]:
    """Selectors and what may follow them."""
    yield from (GAUGE, COUNTER, BUCKETS, HOSTILE, "nothing_at_all", '{__name__=~"cache_.*_total"}')
    yield from (f"{GAUGE} offset 5m", f"{GAUGE} offset -5m", f"{COUNTER} offset 1m30s", f"{GAUGE} # a remark")
    yield from (f"{GAUGE}\n  * 2", '{env="bare"}', '{env=~"b.*",provider!~"x.*"}', 'up{job=""}')
    yield from ("provider_availability{source=''}", 'model_inference_requests_total{model=~".*quote.*|say.*"}')


def functions() -> Iterator[str]:
    """Every function that Prometheus 2.42 has."""
    for name in _OF_A_VECTOR.split():
        yield f"{name}({GAUGE})"
        yield f"sum({name}({GAUGE} * 100)) by (provider)"
    for name in _OF_A_RANGE.split():
        yield f"{name}({COUNTER}[5m])"
        yield f"{name}({GAUGE}[90s])"
        yield f"max({name}({COUNTER}[2m:30s])) without (path)"
    yield from (f"quantile_over_time(0.9, {COUNTER}[5m])", f"holt_winters({COUNTER}[5m], 0.5, 0.5)")
    yield from (f"predict_linear({COUNTER}[5m], 3600)", f"clamp({GAUGE}, 0.1, 0.5)", f"clamp_min({GAUGE}, 0.2)")
    yield from (f"clamp_max({GAUGE}, 0.2)", f"round({GAUGE}, 0.05)", f"absent({GAUGE})", 'absent(nothing{a="b"})')
    yield f'label_replace({GAUGE}, "p", "x-$1", "provider", "(.).*")'
    yield f'label_join({GAUGE}, "joined", "/", "job", "provider")'
    for quantile in ("0.5", "0.95", "-1", "2"):
        yield f"histogram_quantile({quantile}, sum by (le, path) (rate({BUCKETS}[5m])))"
    yield f"histogram_quantile(0.9, rate({BUCKETS}[5m]))"


def aggregations() -> Iterator[str]:
    """Every aggregation, in each of its forms."""
    for name in _AGGREGATIONS.split():
        yield f"{name}({COUNTER})"
        yield f"{name} by (path) ({COUNTER})"
        yield f"{name} without (path, instance) (rate({COUNTER}[5m]))"
    yield from (f"quantile(0.9, {COUNTER})", f"quantile by (path) (0.1, {COUNTER})", f"topk(3, rate({COUNTER}[5m]))")
    yield from (f"bottomk(2, {COUNTER})", f"topk by (path) (1, {COUNTER})", f'count_values("v", {GAUGE})')
    yield from ("sum(model_inference_requests_total) by (model)", "count({__name__=~'.+'}) by (__name__)")


def operators() -> Iterator[str]:
    """Operators with and without matching."""
    for sign in _ARITHMETIC.split():
        yield f"{GAUGE} {sign} 2"
        yield f"{GAUGE} {sign} on (provider, instance) {GAUGE}"
    for sign in _COMPARISONS.split():
        yield f"{GAUGE} {sign} 0.1"
        yield f"{GAUGE} {sign} bool 0.1"
    for word in ("and", "or", "unless"):
        yield f"{GAUGE} {word} {GAUGE.replace('production', 'bare')}"
        yield f"{GAUGE} {word} on (provider) (provider_availability == 1)"
    yield f"{COUNTER} / on (path, instance) group_left sum by (path, instance) ({COUNTER})"
    yield f"sum by (instance) ({COUNTER}) * on (instance) group_right {COUNTER}"
    yield f"-{GAUGE}"
    yield f"({GAUGE} + ignoring (env) {GAUGE}) / 2"


def in_time(at: int) -> Iterator[str]:
    """Subqueries and fixed times; `at` is a second that has samples."""
    yield f"max_over_time(rate({COUNTER}[1m])[5m:15s])"
    yield f"avg_over_time({GAUGE}[10m:])"
    yield f"rate({COUNTER}[5m] offset 3m)"
    yield f"{GAUGE} @ {at}"
    yield f"rate({COUNTER}[5m] @ {at})"
    yield f"{GAUGE} @ start()"
    yield f"{COUNTER} - {COUNTER} @ end()"
    yield f"sum_over_time(({GAUGE} > 0)[5m:1m] @ {at} offset 1m)"
    yield f"max_over_time({GAUGE}[2m]) offset -1m"


def refused() -> Iterator[str]:
    """What engines refuse: syntax, types, and what shows only while it runs."""
    yield from ("", "1 +", "sum(", "up{", "foo(bar)", f"rate({COUNTER})", f"{COUNTER}[5m] + 1", "up{a=~'*'}", "{}")
    yield from ('"text" + 1', "sum by (a b) (up)", "up offset", "vector('x')", "limitk(1, up)", "up[5m:", "up[0s]")
    yield f"{COUNTER} * {GAUGE.replace('production', 'bare')} or {COUNTER} * on (job) {GAUGE}"
    yield f'label_replace({COUNTER}, "path", "same", "", "")'
    yield from ("$__rate_interval", "up default 0", "rate(up[$__interval])", "ü", "up\x00", "#", "sum(up) by")


def every(at: int) -> list[str]:
    """All of them, each once."""
    found = (plain(), selecting(), functions(), aggregations(), operators(), in_time(at), refused())
    return list(dict.fromkeys(text for group in found for text in group))
