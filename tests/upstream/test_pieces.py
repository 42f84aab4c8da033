"""Answers in pieces hold what they hold when they are decoded at once, wherever they are cut."""

import asyncio
from typing import Any

import orjson
import pytest
from gatewayz_metrics.cooperative import sort_in_runs
from gatewayz_metrics.upstream import pieces
from gatewayz_metrics.upstream.pieces import AnswerPieces, count_marks
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pieces import at_once

# Texts made of what stands between elements.
TEXTS = st.text(st.sampled_from(list('",\\{}[]: a'))) | st.sampled_from(['","', "},{", '\\",\\"', ',{"metric":{', '"}'])
LABELS = st.dictionaries(TEXTS, TEXTS, max_size=3)
SERIES = st.builds(lambda labels, values: {"metric": labels, "values": values}, LABELS, st.lists(TEXTS, max_size=3))
EXEMPLARS = st.builds(lambda labels, found: {"seriesLabels": labels, "exemplars": found}, LABELS, st.lists(LABELS))
LISTS = (
    st.lists(TEXTS) | st.lists(LABELS) | st.lists(SERIES) | st.lists(EXEMPLARS) | st.lists(st.integers(-(2**63), 2**63))
)


@pytest.fixture(autouse=True, scope="module")
def tiny() -> Any:
    """Pieces of a few bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_PIECE", 8)
        patch.setattr(pieces, "_SMALL", 0)
        patch.setattr(pieces, "_STRETCH", 5)
        yield


@given(LISTS, st.booleans(), st.dictionaries(st.sampled_from(["warnings", "infos"]), st.lists(TEXTS)))
def test_pieces_make_the_whole(elements: list[Any], is_matrix: bool, notes: dict[str, Any]) -> None:
    data: Any = {"resultType": "matrix", "result": elements} if is_matrix else elements
    body = orjson.dumps({"status": "success", "data": data, **notes})
    found = AnswerPieces(body)

    read = [element for piece in found for element in piece]
    envelope = orjson.loads(found.envelope)
    rest = envelope["data"]["result"] if is_matrix else envelope["data"]

    assert read + rest == elements
    assert {name: envelope[name] for name in notes} == notes


def test_a_long_list_is_cut() -> None:
    body = orjson.dumps({"status": "success", "data": [f"name {number}" for number in range(100)]})
    found = AnswerPieces(body)

    assert max(map(len, found)) < 5
    assert len(found.envelope) < 100


@given(st.lists(st.tuples(st.integers(0, 9), st.text(max_size=1))))
def test_runs_are_sorted_as_the_whole_is(items: list[tuple[int, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gatewayz_metrics.cooperative._RUN", 4)
        patch.setattr("gatewayz_metrics.cooperative._SEEN", 2)
        assert at_once(sort_in_runs(items)) == sorted(items)
        assert at_once(sort_in_runs(items, key=lambda item: item[0])) == sorted(items, key=lambda item: item[0])


@given(st.text(st.sampled_from("ab"), max_size=60))
def test_marks_are_counted_across_stretches(text: str) -> None:
    body = text.encode()

    assert asyncio.run(count_marks(body, b"ab")) == body.count(b"ab")
