"""`make bench`: every goal against its yardstick in one run; `make bench-short` is smaller and only prints."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from gatewayz_demo import engines

from tests.bench.bench import FULL, SHORT, SMOKE, Bench, Form
from tests.bench.cold import measure_cold_pages, measure_cold_range, measure_wide_range
from tests.bench.dashboard import measure_refresh
from tests.bench.figures import Figure, Point, Results, machine_facts
from tests.bench.growth import GROWTH
from tests.bench.heavy import measure_memory, measure_old_way, measure_waits
from tests.bench.parties import ROOT, checked_out
from tests.bench.report import KEPT, print_table, publish
from tests.bench.warm import measure_range_hits, measure_small_questions, measure_warm_pages

MEASUREMENTS: tuple[Callable[[Bench], Iterator[Figure]], ...] = (
    measure_warm_pages,
    measure_small_questions,
    measure_range_hits,
    measure_cold_pages,
    measure_cold_range,
    measure_wide_range,
    measure_refresh,
    measure_waits,
    measure_memory,
    measure_old_way,
)
T = TypeVar("T")
_FORMS = {form.name: form for form in (FULL, SHORT, SMOKE)}


def run(bench: Bench, *, only: str = "", with_growth: bool = True) -> Results:
    """Measure everything, or what has a word in its name; what fails is said and left out."""
    figures: list[Figure] = []
    for measurement in MEASUREMENTS:
        if only in measurement.__name__:
            figures += _attempt(bench, measurement)
    growth: dict[str, list[Point]] = {}
    for name, growing in GROWTH.items() if with_growth and not only else ():
        growth[name] = _attempt(bench, growing)
    facts = machine_facts(
        prometheus=engines.find_engine("prometheus").version(),
        trickster=bench.trickster_version or "not given",
        series=", ".join(f"{count:,}" for count in sorted(bench.series.values())),
    )
    return Results(bench.form.name, facts, figures, growth)


def _attempt(bench: Bench, measurement: Callable[[Bench], Iterator[T]]) -> list[T]:
    """What a measurement found, or nothing: one that fails must not cost all the others."""
    begun = time.monotonic()
    found: list[T] = []
    try:
        found.extend(measurement(bench))
    except Exception as exc:  # whatever it is, it is said, and the run has failed
        bench.failures.append(f"{measurement.__name__}: {exc!r:.600}")
        bench.say(bench.failures[-1])
    bench.say(f"{measurement.__name__}: {time.monotonic() - begun:.0f} s")
    return found


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--form", choices=_FORMS, default="full")
    parser.add_argument("--base", help="measure the code of this commit in place of the folder's")
    parser.add_argument("--only", default="", help="measurements with this word in their name")
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    parser.add_argument("--publish", action="store_true", help="write docs/performance.* and its pictures")
    parser.add_argument("--render", action="store_true", help="write the page and its pictures anew, measure nothing")
    asked = parser.parse_args()
    if asked.render:
        publish(Results.from_json(KEPT.read_text("utf-8")))
        return
    form: Form = _FORMS[asked.form]
    with ExitStack() as stack:
        code = stack.enter_context(checked_out(asked.base)) if asked.base else ROOT / "api"
        bench = stack.enter_context(Bench(form, code))
        results = run(bench, only=asked.only, with_growth=form is not SHORT)
    if asked.base:
        results = replace(results, facts=results.facts | {"commit": asked.base})
    print_table(results)
    if asked.json:
        asked.json.write_text(results.to_json(), encoding="utf-8")
    if bench.failures:
        sys.exit("Nothing is published: some measurements failed.\n" + "\n".join(bench.failures))
    if asked.publish:
        publish(results)


if __name__ == "__main__":
    main()
