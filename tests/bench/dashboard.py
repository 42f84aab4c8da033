"""The row of a dashboard that refreshes: twenty panels, every fifteen seconds.

Time is simulated, so that minutes of watching take seconds: each refresh moves every range on by one step, half of
them before this moment and half after it, and the samples of all are in the engine from the start. The service's
clock stays where it is: what counts as too new to keep is right on average.
"""

import time
from collections.abc import Iterator
from statistics import fmean
from urllib.parse import urlencode

from tests.bench.bench import Bench
from tests.bench.figures import Figure
from tests.bench.parties import Party
from tests.bench.warm import RANGE

STEP = 15
# Seconds after which the points of the first look are kept; the next one would come later.
_UNTIL_KEPT = 3
_BY = {
    "fastapi_requests_total": "status_code",
    "model_inference_requests_total": "model",
    "tokens_used_total": "provider",
    "database_queries_total": "table",
    "cache_hits_total": "cache_name",
}
_HISTOGRAMS = {
    "fastapi_requests_duration_seconds": "path",
    "model_inference_duration_seconds": "model",
    "provider_response_time_seconds": "provider",
}


def panels() -> list[str]:
    """Twenty panels as dashboards have them, about a thousand lines together."""
    found = [f"sum by ({label}) (rate({name}[5m]))" for name, label in _BY.items()]
    found += [f"sum by ({label}, instance) (rate({name}[5m]))" for name, label in _BY.items()]
    found += [
        f"histogram_quantile({quantile}, sum by (le, {label}) (rate({name}_bucket[5m])))"
        for name, label in _HISTOGRAMS.items()
        for quantile in (0.5, 0.95)
    ]
    found += [f"sum by (instance) (rate({name}_count[5m]))" for name in _HISTOGRAMS]
    return [*found, "avg by (provider) (provider_error_rate)"]


def refresh(end: int, seconds: int) -> list[str]:
    """The paths of all panels for a range that ends then."""
    span = {"start": end - seconds, "end": end, "step": STEP}
    return [f"{RANGE}?{urlencode({'query': query} | span)}" for query in panels()]


def measure_refresh(bench: Bench) -> Iterator[Figure]:
    """Processor seconds of the service and of the engine for a refresh, and of the engine alone without the service."""
    engine, seconds = bench.engine("long"), bench.form.range_seconds
    now = int(time.time()) // STEP * STEP
    ends = [now + STEP * (number - bench.form.refreshes // 2) for number in range(bench.form.refreshes + 1)]
    with bench.service("long") as ours:
        _, megabytes = _refresh(bench, ours, ends[0], seconds)
        time.sleep(_UNTIL_KEPT)
        used = [_used(bench, ours, engine, ours, end) for end in ends[1:]]
        direct = [_used(bench, engine, engine, ours, end) for end in ends[-1:]]
    # Means: the kernel counts in hundredths of a second, and only their sum is exact.
    service, behind, milliseconds = (fmean(column) for column in zip(*used, strict=True))
    _, alone, alone_ms = (fmean(column) for column in zip(*direct, strict=True))
    others = {"engine CPU s behind ours": behind, "all panels, ms": milliseconds, "all panels direct, ms": alone_ms}
    yield Figure(
        "refresh",
        service,
        alone,
        service / alone if alone else None,
        others=others,
        note=f"{bench.series['long']:,} series; {len(panels())} panels, {megabytes:.1f} MB gzipped",
    )


def _refresh(bench: Bench, server: Party, end: int, seconds: int) -> tuple[float, float]:
    """Milliseconds of all panels, and the megabytes that came."""
    taken = bench.load.ask_each([server.ask(path, accepts="gzip") for path in refresh(end, seconds)])
    return sum(one.milliseconds for one in taken), sum(one.bytes for one in taken) / 1e6


def _used(bench: Bench, asked: Party, engine: Party, ours: Party, end: int) -> tuple[float, float, float]:
    before = ours.processor_seconds(), engine.processor_seconds()
    milliseconds, _ = _refresh(bench, asked, end, bench.form.range_seconds)
    after = ours.processor_seconds(), engine.processor_seconds()
    return after[0] - before[0], after[1] - before[1], milliseconds
