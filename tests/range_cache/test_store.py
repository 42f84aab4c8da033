import gc
import json
import tracemalloc

from gatewayz_metrics.range_cache.matrix import StepGrid, parse_matrix
from gatewayz_metrics.range_cache.store import CacheEntry, EntryStore
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pieces import at_once

GRID = StepGrid(0, 15_000)


def entry(series: int, points: int) -> CacheEntry:
    found = [
        {"metric": {"__name__": "m", "n": str(number)}, "values": [[15 * k, f"{k / 7}"] for k in range(points)]}
        for number in range(series)
    ]
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": found}}).encode()
    return CacheEntry().with_piece(at_once(parse_matrix(body, GRID, 0, max(points - 1, 0))), 0.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(1, 40)), max_size=30))
def test_the_bound_holds_whatever_is_kept(puts: list[tuple[int, int, int]]) -> None:
    store = EntryStore(20_000)
    for key, series, points in puts:
        kept = store.put(key, entry(series, points), 100)
        assert kept is (entry(series, points).size + 100 <= 5000)
        assert 0 <= store.size <= 20_000
    store.clear()
    assert store.size == 0


def test_what_was_used_longest_ago_goes_first() -> None:
    one = entry(1, 10)
    store = EntryStore(4 * one.size + 10)
    for key in "abcd":
        store.put(key, one, 0)
    store.get("a")
    store.put("e", one, 0)

    assert [bool(store.get(key).coverage) for key in "abcde"] == [True, False, True, True, True]


def test_accounted_bytes_are_about_the_real_ones() -> None:
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    store = EntryStore(2**30)
    for key in range(40):
        store.put(key, entry(5, 200), 0)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 0.5 < (after - before) / store.size < 1.3
