import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from gatewayz_metrics.errors import BadAnswer
from gatewayz_metrics.range_cache.entry import CacheEntry
from gatewayz_metrics.range_cache.fast_parse import format_timestamp, scan_matrix
from gatewayz_metrics.range_cache.matrix import (
    Matrix,
    StepGrid,
    UnalignedPoints,
    _decode_matrix,
    parse_matrix,
    render_matrix,
)
from gatewayz_metrics.range_cache.plan import Lifetime
from gatewayz_metrics.upstream.response import AnswerNotes
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pieces import at_once

GRID = StepGrid(phase_ms=781, step_ms=500)
FIRST = GRID.index(1_760_000_000_281)


def at(place: int) -> float:
    return GRID.time_ms(FIRST + place) / 1000


def as_prometheus(text: bytes) -> bytes:
    """Times with three decimals, which JSON writers shorten."""
    return re.sub(rb"\[(\d+)\.(\d{1,3}),", lambda found: b"[%b.%b," % (found[1], found[2].ljust(3, b"0")), text)


def body(result: list[Any], **envelope: object) -> bytes:
    document = {"status": "success", "data": {"resultType": "matrix", "result": result}, **envelope}
    return as_prometheus(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())


HISTOGRAM = {"count": "3", "sum": "1.5", "buckets": [[0, "0.5", "1", "2"], [3, "-1", "1", "1"]]}
SERIES = [
    {"metric": {"a": '"],["', "ü": "☃"}, "values": [[at(0), "1e+21"], [at(2), "NaN"], [at(3), "-Inf"]]},
    {"metric": {"b": "2"}, "values": [[at(1), "1"]], "histograms": [[at(0), HISTOGRAM], [at(3), HISTOGRAM]]},
]


def test_what_is_taken_apart_is_put_together_again() -> None:
    found = at_once(parse_matrix(body(SERIES, infos=["an info"]), GRID, FIRST, FIRST + 3))

    assert json.loads(at_once(render_matrix(found.series, FIRST, FIRST + 3, infos=found.notes.infos))) == json.loads(
        body(SERIES, infos=["an info"])
    )


def test_a_part_holds_its_points_and_no_empty_series() -> None:
    found = at_once(parse_matrix(body(SERIES), GRID, FIRST, FIRST + 3))

    expected = [{"metric": {"a": '"],["', "ü": "☃"}, "values": [[at(2), "NaN"]]}]
    assert json.loads(at_once(render_matrix(found.series, FIRST + 2, FIRST + 2))) == json.loads(body(expected))


def test_pieces_make_the_whole_with_histograms() -> None:
    entry = CacheEntry()
    for place in (3, 0, 2, 1):
        part = at_once(parse_matrix(_part(place), GRID, FIRST + place, FIRST + place))
        entry = at_once(entry.with_piece(part, 0.0, Lifetime(1.0)))

    assert json.loads(at_once(render_matrix(entry.series, FIRST, FIRST + 3))) == json.loads(body(SERIES))


def _part(place: int) -> bytes:
    cut = []
    for series in SERIES:
        kept = {
            name: [point for point in points if point[0] == at(place)]
            for name, points in series.items()
            if name != "metric"
        }
        kept = {name: points for name, points in kept.items() if points}
        if kept:
            cut.append({"metric": series["metric"], **kept})
    return body(cut)


def test_an_entry_forgets_points_with_the_coverage_that_aged() -> None:
    entry = CacheEntry()
    for place, read_at in ((0, 0.0), (1, 50.0), (2, 0.0), (3, 50.0)):
        part = at_once(parse_matrix(_part(place), GRID, FIRST + place, FIRST + place))
        entry = at_once(entry.with_piece(part, read_at, Lifetime(30.0)))

    left = at_once(entry.pruned(now=50.0))

    everything = json.loads(at_once(render_matrix(left.series, FIRST, FIRST + 3)))["data"]["result"]
    places = {point[0] for one in everything for name in ("values", "histograms") for point in one.get(name, ())}
    assert places == {at(1), at(3)}
    assert left.size < entry.size


@pytest.mark.parametrize(
    "points",
    [
        pytest.param([[at(0) + 0.1, "1"]], id="beside the grid"),
        pytest.param([[at(-1), "1"]], id="before the range"),
        pytest.param([[at(4), "1"]], id="after the range"),
        pytest.param([[at(1), "1"], [at(1), "1"]], id="twice"),
        pytest.param([[at(2), "1"], [at(1), "1"]], id="out of order"),
    ],
)
def test_points_that_were_not_asked_for_are_noticed(points: list[Any]) -> None:
    with pytest.raises(UnalignedPoints):
        at_once(parse_matrix(body([{"metric": {}, "values": points}]), GRID, FIRST, FIRST + 3))


@pytest.mark.parametrize(
    "broken",
    [
        b'{"status":"success","data":{"resultType":"vector","result":[]}}',
        b'{"status":"success","data":{"resultType":"matrix"}}',
        b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1]]}]}}',
        b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"]]},{"metric":{}}]}}',
        b'{"status":"success","data":{"resultType":"matrix","result":[{"metric"',
    ],
)
def test_what_is_no_matrix_is_refused(broken: bytes) -> None:
    with pytest.raises(BadAnswer):
        at_once(parse_matrix(broken, StepGrid(0, 1000), 0, 10))


def test_notes_of_several_answers_are_each_told_once_and_not_too_many() -> None:
    many = [f"note {number}" for number in range(30)]

    told = json.loads(at_once(render_matrix({}, 0, 1, warnings=["same", "same"], infos=many)))

    assert told["warnings"] == ["same"]
    assert told["infos"][:-1] == many[:10]
    assert told["infos"][-1] == "20 more info annotations omitted"


@pytest.mark.parametrize("warnings", [5, "text", {"a": 1}, True])
def test_a_warning_that_is_in_no_list_is_not_told_and_not_forgotten(warnings: object) -> None:
    found = at_once(parse_matrix(body(SERIES, warnings=warnings), GRID, FIRST, FIRST + 3))

    assert (found.notes.warnings, found.notes.is_complete) == ((), False)


VALUES = st.sampled_from(["1", "-2.5e-07", "NaN", "+Inf", "-Inf", "1e+21", '"', "],[", "\\", "ü", "]]}", "x"])
LABELS = st.dictionaries(
    st.sampled_from(["a", "values", "metric", "ü"]), st.sampled_from(["", ',"values":[[', "]]}", '"', "\\", "☃"])
)
WHOLE = st.lists(
    st.fixed_dictionaries(
        {"metric": LABELS, "values": st.lists(st.tuples(st.integers(-1, 5), VALUES), min_size=1, max_size=4)}
    ),
    max_size=4,
)


@given(WHOLE, st.sampled_from(["", " ", "\n"]), st.booleans())
def test_scanning_and_decoding_find_the_same(result: list[Any], ending: str, noted: bool) -> None:
    result = [one | {"values": [[at(place), value] for place, value in one["values"]]} for one in result]
    text = body(result, **({"infos": ["an info"]} if noted else {})) + ending.encode()

    assert outcome(whole, text) == outcome(decoded, text)


def decoded(text: bytes, grid: StepGrid, first: int, last: int) -> Matrix:
    return at_once(_decode_matrix(text, grid, first, last))


def whole(text: bytes, grid: StepGrid, first: int, last: int) -> Matrix:
    return at_once(parse_matrix(text, grid, first, last))


def outcome(read: Callable[[bytes, StepGrid, int, int], Matrix], text: bytes) -> object:
    try:
        found = read(text, GRID, FIRST, FIRST + 3)
    except (UnalignedPoints, BadAnswer) as exc:
        return type(exc)
    return json.loads(at_once(render_matrix(found.series, FIRST, FIRST + 3))), found.notes.infos


def test_what_prometheus_writes_is_scanned_and_stays_as_it_was() -> None:
    text = body(SERIES[:1])
    places = {format_timestamp(GRID.time_ms(FIRST + place)): FIRST + place for place in range(4)}

    assert len(list(scan_matrix(text, places))) == 1
    found = at_once(parse_matrix(text, GRID, FIRST, FIRST + 3))
    assert at_once(render_matrix(found.series, FIRST, FIRST + 3)) == text


AS_GO_WRITES = (
    b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"m","a":"\\u003cb\\u003e"},'
    b'"values":[[999.500,"1"],[1000,"2"],[1000.500,"-0.330"],[1001,"NaN"]]}]},'
    b'"warnings":["PromQL warning: x]},\\"infos\\":[ (1:1)"],"infos":["PromQL info: a \\u003e b \\u0026 c"]}'
)


def test_what_go_writes_stays_as_it_was() -> None:
    """1.7: texts of times, labels and infos."""
    found = at_once(parse_matrix(AS_GO_WRITES + b"\n", StepGrid(0, 500), 1999, 2002))

    assert at_once(render_matrix(found.series, 1999, 2002, found.notes.warnings, found.notes.infos)) == AS_GO_WRITES


@pytest.mark.parametrize(
    "tail", [b',"infos":["i"],"stats":{}}', b',"infos":"i"}', b',"isPartial":true,"infos":["i"]}', b',"infos":["i"]']
)
def test_what_stands_behind_the_data_is_read_as_a_whole_where_it_is_not_as_prometheus_writes_it(tail: bytes) -> None:
    body = AS_GO_WRITES[: AS_GO_WRITES.index(b',"warnings"')] + tail
    if not tail.endswith(b"}"):
        with pytest.raises(BadAnswer):
            at_once(parse_matrix(body, StepGrid(0, 500), 1999, 2002))
        return

    found = at_once(parse_matrix(body, StepGrid(0, 500), 1999, 2002))

    assert len(found.series) == 1
    assert found.notes == AnswerNotes.of(json.loads(body))
