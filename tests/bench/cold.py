"""Rows of cold answers: what has to be asked, taken apart and written anew."""

import time
from collections.abc import Iterator
from urllib.parse import urlencode

from gatewayz_metrics.catalogue import load
from gatewayz_metrics.promql.build import Slots, batch, find_metrics

from tests.bench.bench import Bench, read
from tests.bench.figures import Figure
from tests.bench.load import Ask
from tests.bench.parties import Party
from tests.bench.warm import METRICS, RANGE

UNCACHED = {"CACHE_TTL": "0"}
# Half of a deployment's series, under their own names.
WIDE = '{__name__=~"(provider|model)_.+|fastapi_requests_duration_seconds_bucket"}'
_POINTS = 31


def joined(engine: Party) -> Ask:
    """All statistics in one query, as one would ask the engine oneself."""
    slots = Slots()
    one = batch((statistic.name, slots.fill(statistic.expr)) for statistic in load().statistics)
    return engine.ask("/api/v1/query", body=urlencode({"query": one}))


def federate(engine: Party, category: str | None) -> Ask:
    """The series behind a page, as they are."""
    families = load().in_category(category)
    templates = [term.template for family in families for terms in family.choices for term in terms]
    names = "|".join(dict.fromkeys(name for template in templates for name in find_metrics(template)))
    matcher = f'{{__name__=~"{names}"}}'
    return engine.ask(f"/federate?{urlencode({'match[]': matcher})}")


def measure_cold_pages(bench: Bench) -> Iterator[Figure]:
    """Pages of the metrics routes without any cache."""
    engine = bench.engine("medium")
    yardsticks = {
        "cold_summary": ("summary", joined(engine)),
        "cold_all": ("all", federate(engine, None)),
        "cold_models": ("models", federate(engine, "models")),
    }
    with bench.service("medium", **UNCACHED) as ours:
        for key, (page, yardstick) in yardsticks.items():
            asked = ours.ask(f"{METRICS}/{page}")
            sizes = len(read(asked)[0]), len(read(yardstick)[0])
            note = f"{bench.series['medium']:,} series; {sizes[0] / 1e6:.2f} MB, theirs {sizes[1] / 1e6:.2f} MB"
            rounds = [{"ours": asked, "theirs": yardstick}] * (4 * bench.form.rounds + 1)
            yield bench.turns(key, ours, rounds, "theirs", engine=engine, note=note)


def measure_cold_range(bench: Bench) -> Iterator[Figure]:
    """A range that nobody asked for before; both are asked the same text."""
    engine = bench.engine("long")
    end = int(time.time()) // 15 * 15 - 600

    def path(number: int) -> str:
        # The matcher excludes nothing and makes the text a new one.
        query = f'{{__name__=~"(model_inference|fastapi_requests)_duration_seconds_sum",job!="{number}"}}'
        return f"{RANGE}?{urlencode({'query': query, 'start': end - bench.form.range_seconds, 'end': end, 'step': 15})}"

    with bench.service("long") as ours:
        size = len(read(ours.ask(path(-1)))[0])
        turns = [{"ours": ours.ask(path(n)), "direct": engine.ask(path(n))} for n in range(3 * bench.form.rounds + 1)]
        yield bench.turns("cold_range", ours, turns, "direct", engine=engine, note=f"{size / 1e6:.1f} MB")


def measure_wide_range(bench: Bench) -> Iterator[Figure]:
    """A window over many series that moves on by one step at a time; its points no longer change."""
    engine = bench.engine("wide")
    with bench.service("wide") as ours:
        paths = [wide_range(step) for step in range(2 * bench.form.rounds + 2)]
        size = len(read(ours.ask(paths[0]))[0])
        turns = [{"ours": ours.ask(path), "direct": engine.ask(path)} for path in paths[1:]]
        yield bench.turns("wide_partial", ours, turns, "direct", engine=engine, note=f"{size / 1e6:.1f} MB")


def wide_range(step: int) -> str:
    """The path of a window of 31 points over half of the series, so many steps on."""
    end = int(time.time()) // 60 * 60 - 1200 + 60 * step
    return f"{RANGE}?{urlencode({'query': WIDE, 'start': end - 60 * (_POINTS - 1), 'end': end, 'step': 60})}"
