"""Whatever pieces come in whatever order, an entry has the newest reading of each point, in the order of its series."""

import json

from gatewayz_metrics.range_cache.entry import CacheEntry
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.matrix import parse_matrix, render_matrix
from gatewayz_metrics.range_cache.plan import Lifetime, clip, unexpired
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pieces import at_once

GRID = StepGrid(0, 15_000)
NAMES = ["a", "a b", 'a"', "b", "☃"]
HISTOGRAM = {"count": "3", "sum": "1.5", "buckets": [[0, "0.5", "1", "2"]]}
# Which points a piece has, by series and place.
FOUND = st.dictionaries(
    st.sampled_from(NAMES), st.dictionaries(st.integers(0, 30), st.sampled_from(["1", "NaN", "h", "-0.5"]), max_size=30)
)
STRETCHES = st.tuples(st.integers(0, 25), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
READINGS = st.lists(st.tuples(STRETCHES, FOUND), max_size=8)
Points = dict[str, dict[int, str]]


def envelope(points: Points) -> bytes:
    result = []
    for name, values in sorted(points.items()):
        floats = [[15 * at, value] for at, value in sorted(values.items()) if value != "h"]
        others = [[15 * at, HISTOGRAM] for at, value in sorted(values.items()) if value == "h"]
        if floats or others:
            kinds = {"values": floats, "histograms": others}
            result.append({"metric": {"n": name}, **{kind: found for kind, found in kinds.items() if found}})
    document = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def within(points: Points, first: int, last: int) -> Points:
    return {name: {at: it for at, it in values.items() if first <= at <= last} for name, values in points.items()}


def written(entry: CacheEntry, first: int, last: int) -> bytes:
    return at_once(render_matrix(entry.points.within(first, last), GRID)).body


@given(READINGS, STRETCHES, st.integers(0, 8))
def test_an_entry_has_the_newest_reading_of_each_point(
    readings: list[tuple[tuple[int, int], Points]], window: tuple[int, int], now: int
) -> None:
    entry, model = CacheEntry(), {name: dict[int, str]() for name in NAMES}
    for number, ((first, last), found) in enumerate(readings):
        piece = at_once(parse_matrix(envelope(within(found, first, last)), GRID, first, last, entry.points.series))
        entry = at_once(entry.with_piece(piece, GRID, float(number), Lifetime(3.0)))
        for name, values in model.items():
            kept = {at: it for at, it in values.items() if not first <= at <= last}
            model[name] = kept | within(found, first, last).get(name, {})

        assert written(entry, *window) == envelope(within(model, *window))
        assert all(segment.is_whole for segment in entry.points.segments)

    believed = {at for extent in unexpired(entry.coverage, now) for at in range(extent.first, extent.last + 1)}
    left = at_once(entry.pruned(GRID, now))
    expected = {name: {at: it for at, it in values.items() if at in believed} for name, values in model.items()}
    assert written(left, *window) == envelope(within(expected, *window))
    assert left.size <= entry.size
    assert len(left.points.series) <= sum(any(values) for values in expected.values()) or left is entry
    assert clip(left.coverage, *window) == clip(unexpired(entry.coverage, now), *window)


def test_a_panel_that_refreshes_leaves_few_segments() -> None:
    points = {"a": {place: str(place) for place in range(1000)}}
    first = at_once(parse_matrix(envelope(within(points, 0, 499)), GRID, 0, 499))
    entry = at_once(CacheEntry().with_piece(first, GRID, 0.0, Lifetime(1e9)))
    for place in range(500, 1000):
        piece = at_once(parse_matrix(envelope(within(points, place, place)), GRID, place, place, entry.points.series))
        entry = at_once(entry.with_piece(piece, GRID, float(place), Lifetime(1e9)))
        assert len(entry.points.segments) <= 6
        # The labels are there once.
        assert entry.points.series is first.series

    assert written(entry, 400, 999) == envelope(within(points, 400, 999))
