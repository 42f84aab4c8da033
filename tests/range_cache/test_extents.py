"""The extents of a cached range: put together, cut, and what is missing between them."""

from itertools import pairwise

import pytest
from gatewayz_metrics.range_cache.plan import Coverage, Extent, Lifetime, add_extent, clip, find_gaps, unexpired
from gatewayz_metrics.upstream.response import AnswerNotes
from hypothesis import given
from hypothesis import strategies as st

STRETCHES = st.tuples(st.integers(0, 40), st.integers(0, 15)).map(lambda pair: (pair[0], pair[0] + pair[1]))
READS = st.lists(st.tuples(STRETCHES, st.integers(0, 20), st.sampled_from(["", "", "an info"])), max_size=12)


def coverage(reads: list[tuple[tuple[int, int], int, str]], slack: float) -> Coverage:
    found: Coverage = ()
    for (first, last), at, info in reads:
        found = add_extent(found, Extent(first, last, at, AnswerNotes(infos=(info,) if info else ()), at), slack)
    return found


def model(reads: list[tuple[tuple[int, int], int, str]]) -> dict[int, int]:
    """For every place, when it was last read."""
    return {place: at for (first, last), at, _ in reads for place in range(first, last + 1)}


@given(READS, st.integers(0, 10))
def test_extents_cover_what_was_read_and_are_never_newer(
    reads: list[tuple[tuple[int, int], int, str]], slack: int
) -> None:
    found, truth = coverage(reads, slack), model(reads)

    places = [place for extent in found for place in range(extent.first, extent.last + 1)]
    assert places == sorted(truth)
    assert all(extent.read_at <= truth[place] for extent in found for place in range(extent.first, extent.last + 1))


@given(READS)
def test_without_slack_each_place_knows_when_it_was_read(reads: list[tuple[tuple[int, int], int, str]]) -> None:
    found = coverage(reads, 0)

    assert {place: e.read_at for e in found for place in range(e.first, e.last + 1)} == model(reads)


@given(READS, STRETCHES)
def test_gaps_are_exactly_what_is_missing(
    reads: list[tuple[tuple[int, int], int, str]], wanted: tuple[int, int]
) -> None:
    found, truth = coverage(reads, 5), model(reads)

    missing = [place for first, last in find_gaps(found, *wanted) for place in range(first, last + 1)]
    assert missing == [place for place in range(wanted[0], wanted[1] + 1) if place not in truth]
    assert sum(extent.steps for extent in clip(found, *wanted)) == wanted[1] - wanted[0] + 1 - len(missing)


def test_a_refreshing_panel_leaves_one_extent() -> None:
    found: Coverage = ()
    for minute in range(10):
        found = add_extent(found, Extent(minute, minute, float(minute)), slack=100)

    assert found == (Extent(0, 9, 0.0),)


def test_infos_keep_extents_apart() -> None:
    found = add_extent((Extent(0, 9, 0.0, AnswerNotes(infos=("no counter",))),), Extent(10, 12, 0.0), slack=100)

    assert [extent.notes.infos for extent in found] == [("no counter",), ()]


def test_infos_that_differ_in_their_numbers_do_not() -> None:
    older, newer = (AnswerNotes(infos=(f"fixed over {count} samples (1:1)",)) for count in (7, 8))

    found = add_extent((Extent(0, 9, 0.0, older),), Extent(10, 12, 0.0, newer), slack=100)

    assert [(extent.first, extent.last, extent.notes.infos) for extent in found] == [(0, 12, newer.infos)]


def test_what_was_read_too_long_ago_is_not_alive() -> None:
    older, newer = Extent(0, 1, 5.0, expires_at=5.0), Extent(2, 3, 6.0, expires_at=6.0)

    assert unexpired((older, newer), now=6.0) == (newer,)


def test_a_large_piece_expires_part_by_part() -> None:
    parts = Lifetime(3600, shift=0.3).divide(Extent(0, 1439, 100.0), is_large=True)

    assert [extent.steps for extent in parts] == [180] * 8
    assert (parts[0].first, parts[-1].last) == (0, 1439)
    expiries = sorted(extent.expires_at - 100 for extent in parts)
    assert all(right - left == pytest.approx(225) for left, right in pairwise(expiries))
    assert 1800 < expiries[0] < expiries[-1] <= 3600
    # Stored together they stay apart.
    found: Coverage = ()
    for part in parts:
        found = add_extent(found, part, Lifetime(3600).slack)
    assert len(found) == 8
