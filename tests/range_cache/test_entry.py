import gc
import json
import tracemalloc

from gatewayz_metrics.promql.parser import parse
from gatewayz_metrics.range_cache.entry import CacheEntry
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.matrix import parse_matrix
from gatewayz_metrics.range_cache.plan import Lifetime

from tests.support.pieces import at_once

GRID = StepGrid(0, 15_000)


def entry(series: int, points: int, query: str = "up") -> CacheEntry:
    found = [
        {"metric": {"__name__": "m", "n": str(number)}, "values": [[15 * k, f"{k / 7}"] for k in range(points)]}
        for number in range(series)
    ]
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": found}}).encode()
    empty = CacheEntry(traits=parse(query).traits)
    piece = at_once(parse_matrix(body, GRID, 0, max(points - 1, 0)))
    return at_once(empty.with_piece(piece, GRID, 0.0, Lifetime(1.0)))


def test_accounted_bytes_are_about_the_real_ones() -> None:
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    entries = [entry(5, 200) for _ in range(40)]
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 0.9 < (after - before) / sum(one.size for one in entries) < 1.1


def test_fixed_times_weigh_too() -> None:
    one, many = (entry(1, 10, "+".join(f"up @ {1e9 + n}" for n in range(count))) for count in (1, 101))

    assert many.size - one.size == 100 * 40


def test_what_a_query_was_judged_by_stays_for_as_long_as_anything_is_known() -> None:
    found = entry(1, 10)

    assert at_once(found.pruned(GRID, 0.0)).traits is found.traits is not None
    assert at_once(found.pruned(GRID, 1.1)) == CacheEntry()
