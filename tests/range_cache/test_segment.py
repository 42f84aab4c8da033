"""The texts of many series: cut at places of the grid, put into other rows, joined, weighed."""

from dataclasses import replace

import pytest
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.segment import Segment
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pieces import at_once

GRID = StepGrid(250, 500)
FLOATS = ["1", "NaN", "-Inf", "1e+21", "0.250"]
HISTOGRAM = '{"count":"2","sum":"1","buckets":[[0,"0.5","1","2"],[3,"-1","1","1"]]}'
PLACES = st.integers(-60, 60)
POINTS = st.dictionaries(st.integers(-50, 50), st.sampled_from([f'"{value}"' for value in FLOATS]))
HISTOGRAMS = st.dictionaries(st.integers(-50, 50), st.just(HISTOGRAM))


def text(points: dict[int, str], first: int = -60, last: int = 60) -> bytes:
    found = (f"[{GRID.stamp(at).decode()},{points[at]}]" for at in sorted(points) if first <= at <= last)
    return ",".join(found).encode()


def segment(rows: list[dict[int, str]], histograms: list[dict[int, str]] | None = None) -> Segment:
    others = None if histograms is None else [text(row) for row in histograms]
    return at_once(Segment.of(-60, 60, [text(row) for row in rows], others))


@given(st.lists(POINTS, max_size=4), PLACES, PLACES)
def test_a_stretch_is_the_text_of_its_points(rows: list[dict[int, str]], first: int, last: int) -> None:
    first, last = min(first, last), max(first, last)

    found, _ = segment(rows).clipped(first, last).texts(0, len(rows), GRID)

    assert list(found) == [text(row, first, last) for row in rows]


@given(POINTS, HISTOGRAMS, PLACES, PLACES)
def test_histograms_are_cut_where_they_end(
    floats: dict[int, str], histograms: dict[int, str], first: int, last: int
) -> None:
    first, last = min(first, last), max(first, last)

    found = segment([floats], [histograms]).clipped(first, last).texts(0, 1, GRID)

    assert found == ([text(floats, first, last)], [text(histograms, first, last)])


@given(st.lists(POINTS, min_size=3, max_size=3), PLACES, st.lists(st.integers(-1, 2), max_size=5))
def test_a_copy_has_just_its_points_in_its_rows(rows: list[dict[int, str]], first: int, order: list[int]) -> None:
    moved = at_once(segment(rows).clipped(first, 60).moved(order))

    copied = at_once(moved.copied(len(order), GRID))

    assert list(copied.floats) == [b"" if row == -1 else text(rows[row], first) for row in order]
    assert copied.is_whole
    assert at_once(copied.copied(len(order), GRID)) is copied


@given(st.lists(st.tuples(POINTS, POINTS), max_size=3), PLACES)
def test_two_in_a_row_make_one(rows: list[tuple[dict[int, str], dict[int, str]]], middle: int) -> None:
    earlier = at_once(segment([one for one, _ in rows]).clipped(-60, middle).copied(len(rows), GRID))
    later = at_once(segment([other for _, other in rows]).clipped(middle + 1, 61).copied(len(rows), GRID))

    joined = at_once(earlier.joined(later))

    assert list(joined.floats) == [
        text({at: it for at, it in one.items() if at <= middle} | {at: it for at, it in other.items() if at > middle})
        for one, other in rows
    ]


@pytest.mark.parametrize("has_histograms", [(True, False), (False, True), (True, True)])
def test_histograms_of_either_are_in_both(has_histograms: tuple[bool, bool]) -> None:
    points = {0: HISTOGRAM}
    earlier, later = (segment([{}], [points] if has else None) for has in has_histograms)

    joined = at_once(replace(earlier, last=0, end=0).joined(replace(later, first=1, begin=1)))

    assert list(joined.histograms or ()) == [b",".join([text(points)] * sum(has_histograms))]


def test_rows_moved_twice_are_where_they_belong() -> None:
    rows = [{0: '"1"'}, {0: '"2"'}, {0: '"3"'}]

    found = at_once(at_once(segment(rows).moved([2, -1, 0])).moved([1, 2, 0, -1]))

    assert found.texts(0, 4, GRID)[0] == [b"", text(rows[0]), text(rows[2]), b""]
