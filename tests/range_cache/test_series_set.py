"""Sets of series: read once, in the order of their labels, and united with others."""

import json

import pytest
from gatewayz_metrics.errors import BadAnswer
from gatewayz_metrics.range_cache.series_set import ABSENT, NO_SERIES, SeriesSet, read_labels
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pieces import at_once

VALUES = st.sampled_from(["", "a", "b", "a b", "a!", 'a"', "A", "\\", "}", "ü", "<", "☃", "\x01"])
LABELS = st.dictionaries(st.sampled_from(["a", "b", "ab", "A", "ü"]), VALUES, max_size=3)
# As one engine writes a label set and as another does.
ANY_WAY = st.booleans()


def written(labels: dict[str, str], *, as_ascii: bool = False) -> bytes:
    return json.dumps(labels, ensure_ascii=as_ascii, separators=(",", ":")).encode()


def distinct(many: list[dict[str, str]]) -> list[dict[str, str]]:
    return list({tuple(sorted(labels.items())): labels for labels in many}.values())


SETS = st.lists(LABELS, max_size=12).map(distinct)


def read(many: list[dict[str, str]], *, known: SeriesSet = NO_SERIES, as_ascii: bool = False) -> SeriesSet:
    return at_once(known.read([written(labels, as_ascii=as_ascii) for labels in many]))[0]


def labels_of(series: SeriesSet) -> list[dict[str, str]]:
    return [json.loads(metric) for metric in series.metrics]


def in_order(many: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(many, key=lambda labels: sorted(labels.items()))


@given(SETS, SETS, ANY_WAY)
def test_an_answer_is_sorted_by_its_labels_whatever_is_known(
    known: list[dict[str, str]], found: list[dict[str, str]], as_ascii: bool
) -> None:
    metrics = [written(labels, as_ascii=as_ascii) for labels in found]

    series, rows = at_once(read(known).read(metrics))

    assert labels_of(series) == in_order(found)
    assert list(series.metrics) == [metrics[row] for row in (range(len(metrics)) if rows is None else rows)]


@given(SETS.filter(bool), st.data())
def test_a_series_that_occurs_twice_is_refused(found: list[dict[str, str]], data: st.DataObject) -> None:
    twice = data.draw(st.permutations([*found, data.draw(st.sampled_from(found))]))

    with pytest.raises(BadAnswer):
        read(twice)
    with pytest.raises(BadAnswer):
        read(twice, known=read(found))


@given(SETS, SETS, ANY_WAY)
def test_a_union_has_each_series_once_however_it_is_written(
    left: list[dict[str, str]], right: list[dict[str, str]], as_ascii: bool
) -> None:
    ours, theirs = read(left), read(right, as_ascii=as_ascii)

    united, our_rows, their_rows = at_once(ours.unite(theirs))

    assert labels_of(united) == in_order(distinct(left + right))
    for one, rows in ((ours, our_rows), (theirs, their_rows)):
        moved = list(range(len(one))) if rows is None else list(rows)
        assert [row for row in moved if row != ABSENT] == list(range(len(one)))
        assert len(moved) == len(united)
        for metric, row in zip(united.metrics, moved, strict=True):
            assert row == ABSENT or read_labels(one.metrics[row]) == read_labels(metric)
    # What both have stays as it was written first.
    assert set(ours.metrics) <= set(united.metrics)


def test_the_same_series_are_the_same_set() -> None:
    many = [{"a": str(number)} for number in range(10)]
    known = read(many)

    assert read(many, known=known) is known
    assert at_once(known.unite(read(many))) == (known, None, None)
    assert at_once(known.unite(read(many[3:5])))[0] is known


@pytest.mark.parametrize("metric", [b"{", b"[]", b"1", b'{"a":1}', b'{"a":null}', b'{"a":{}}', b'{"\xff":""}'])
def test_what_are_no_labels_is_refused(metric: bytes) -> None:
    with pytest.raises(BadAnswer):
        at_once(NO_SERIES.read([metric]))
