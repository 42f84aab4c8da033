"""Rows of large deployments: how long others wait meanwhile, and how much memory it takes."""

import json
import time
from collections.abc import Iterator
from statistics import median
from urllib.parse import urlencode

from tests.bench.bench import Bench, read
from tests.bench.cold import UNCACHED, WIDE, wide_range
from tests.bench.figures import Figure
from tests.bench.load import Ask
from tests.bench.old_module import OldModule
from tests.bench.parties import Party
from tests.bench.warm import METRICS

_MEGABYTE = 10**6
_ROUNDS = 3


def measure_waits(bench: Bench) -> Iterator[Figure]:
    """Every kind of large answer, one at a time; the row is the worst kind's median round."""
    with bench.service("wide", **UNCACHED) as ours:
        undisturbed = _undisturbed_wait(bench, ours)
        waits: dict[str, list[float]] = {}
        for number in range(min(_ROUNDS, bench.form.rounds)):
            for name, ask in _large_answers(ours, number).items():
                waits.setdefault(name, []).append(bench.longest_wait(ours, [ask]))
    worst = {name: median(values) for name, values in waits.items()}
    name, longest = max(worst.items(), key=lambda item: item[1])
    note = f"{bench.series['wide']:,} series; the worst answer: {name}"
    yield Figure("livez", longest, undisturbed, longest / undisturbed, others=worst, note=note)


def _undisturbed_wait(bench: Bench, ours: Party) -> float:
    """The machine's own delays: the longest wait while the engine answers as much and the service does nothing."""
    engine = bench.engine("wide")
    large = [engine.ask(wide_range(0)), engine.ask(f"/api/v1/query?{urlencode({'query': WIDE})}")]
    return median(bench.longest_wait(ours, large) for _ in range(_ROUNDS))


def _large_answers(ours: Party, number: int) -> dict[str, Ask]:
    now = time.time()
    hour = {"from": _iso(now - 4200), "to": _iso(now - 600)}
    panel = {"targets": [{"refId": "A", "target": WIDE}], "range": hour, "intervalMs": 120_000, "maxDataPoints": 31}
    everything = {"match[]": WIDE, "start": int(now - 600) // 60 * 60, "end": int(now) // 60 * 60}
    return {
        "/summary": ours.ask(f"{METRICS}/summary"),
        "/all": ours.ask(f"{METRICS}/all"),
        "/models": ours.ask(f"{METRICS}/models"),
        "instant query": ours.ask(f"/api/v1/query?{urlencode({'query': WIDE, 'time': int(now) - number})}"),
        "range": ours.ask(wide_range(number)),
        "the same range again": ours.ask(wide_range(number)),
        "range, gzip": ours.ask(wide_range(number), accepts="gzip"),
        "series": ours.ask(f"/api/v1/series?{urlencode(everything)}"),
        "/query of the JSON datasource": ours.ask_json("/query", json.dumps(panel)),
    }


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:00.000Z", time.gmtime(seconds))


def measure_memory(bench: Bench) -> Iterator[Figure]:
    """The highest resident memory of a fresh process that answers one page over every series."""
    with bench.service("large") as ours:
        before = ours.peak_memory() / _MEGABYTE
        size = len(read(ours.ask(f"{METRICS}/all"))[0])
        after, used = ours.peak_memory() / _MEGABYTE, ours.processor_seconds()
    note = f"{bench.series['large']:,} series; {size / 1e6:.1f} MB of text"
    yield Figure("memory", after, before, after / before, cpu_ms=1000 * used, note=note)


def measure_old_way(bench: Bench) -> Iterator[Figure]:
    """What the teams' old module took for the same pages: why this project exists."""
    old = OldModule(bench.engine("medium").url)
    with bench.service("medium", **UNCACHED) as ours:
        for key, page, run in (("old_summary", "summary", old.summary), ("old_all", "all", old.all)):
            times = []
            for _ in range(min(_ROUNDS, bench.form.rounds)):
                begun = time.perf_counter()
                run()
                taken = bench.load.ask_each([ours.ask(f"{METRICS}/{page}")])
                times.append((1000 * (time.perf_counter() - begun) - taken[0].milliseconds, taken[0].milliseconds))
            theirs, mine = (median(column) for column in zip(*times, strict=True))
            yield Figure(key, theirs, mine, theirs / mine, note=f"{bench.series['medium']:,} series")
