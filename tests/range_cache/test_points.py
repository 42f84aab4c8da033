"""Columns of points: cut, replaced in the middle, weighed."""

from gatewayz_metrics.range_cache.points import PointColumn
from hypothesis import given
from hypothesis import strategies as st

POINTS = st.dictionaries(st.integers(-50, 50), st.sampled_from(['"1"', '"NaN"', '"-Inf"', '"1e+21"', '{"count":"2"}']))
PLACES = st.integers(-60, 60)


def column(points: dict[int, str]) -> PointColumn:
    at = sorted(points)
    return PointColumn.of(at, [text(place, points[place]) for place in at])


def text(place: int, value: str) -> bytes:
    return f"[{place},{value}]".encode()


def content(found: PointColumn) -> dict[int, bytes]:
    return {place: found.between(place, place) for place in found.indices}


@given(POINTS, PLACES, PLACES)
def test_a_range_is_the_text_of_its_points(points: dict[int, str], first: int, last: int) -> None:
    expected = b"".join(text(at, points[at]) + b"," for at in sorted(points) if first <= at <= last)

    assert column(points).between(first, last) == expected
    assert column(points).only(first, last).text == expected


@given(POINTS, POINTS, PLACES, PLACES)
def test_replaced_points_are_the_others_inside_and_the_same_outside(
    points: dict[int, str], others: dict[int, str], first: int, last: int
) -> None:
    first, last = min(first, last), max(first, last)
    inside = {at: value for at, value in others.items() if first <= at <= last}
    outside = {at: value for at, value in points.items() if not first <= at <= last}

    found = column(points).replaced(first, last, column(inside))

    assert content(found) == content(column(outside | inside))
    assert found.text == column(outside | inside).text


def test_a_column_accounts_for_its_text() -> None:
    assert column({1: '"1"', 2: '"2"'}).size >= len(b'[1,"1"],[2,"2"],')
