import json
import re
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import pytest
from gatewayz_metrics.errors import BadAnswer
from gatewayz_metrics.range_cache.entry import CacheEntry
from gatewayz_metrics.range_cache.fast_parse import Layout, Stamps, scan_matrix
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.matrix import (
    Matrix,
    UnalignedPoints,
    _decode_matrix,
    parse_matrix,
    render_matrix,
)
from gatewayz_metrics.range_cache.plan import Lifetime
from gatewayz_metrics.range_cache.strides import SMALL_ROWS
from gatewayz_metrics.range_cache.timeline import NO_POINTS, Timeline
from gatewayz_metrics.upstream.response import AnswerNotes
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pieces import at_once, count_pieces

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


def timeline(found: Matrix) -> Timeline:
    return Timeline(found.series, (found.points,))


def rendered(points: Timeline, first: int = FIRST, last: int = FIRST + 3, infos: tuple[str, ...] = ()) -> bytes:
    return at_once(render_matrix(points.within(first, last), GRID, infos=infos)).body


HISTOGRAM = {"count": "3", "sum": "1.5", "buckets": [[0, "0.5", "1", "2"], [3, "-1", "1", "1"]]}
SERIES = [
    {"metric": {"a": '"],["', "ü": "☃"}, "values": [[at(0), "1e+21"], [at(2), "NaN"], [at(3), "-Inf"]]},
    {"metric": {"b": "2"}, "values": [[at(1), "1"]], "histograms": [[at(0), HISTOGRAM], [at(3), HISTOGRAM]]},
]


def test_what_is_taken_apart_is_put_together_again() -> None:
    found = at_once(parse_matrix(body(SERIES, infos=["an info"]), GRID, FIRST, FIRST + 3))

    assert rendered(timeline(found), infos=found.notes.infos) == body(SERIES, infos=["an info"])


def test_a_part_holds_its_points_and_no_empty_series() -> None:
    found = at_once(parse_matrix(body(SERIES), GRID, FIRST, FIRST + 3))

    expected = [{"metric": {"a": '"],["', "ü": "☃"}, "values": [[at(2), "NaN"]]}]
    assert rendered(timeline(found), FIRST + 2, FIRST + 2) == body(expected)


def test_pieces_make_the_whole_with_histograms() -> None:
    entry = CacheEntry()
    for place in (3, 0, 2, 1):
        part = at_once(parse_matrix(_part(place), GRID, FIRST + place, FIRST + place))
        entry = at_once(entry.with_piece(part, GRID, 0.0, Lifetime(1.0)))

    assert rendered(entry.points) == body(SERIES)


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
        entry = at_once(entry.with_piece(part, GRID, read_at, Lifetime(30.0)))

    left = at_once(entry.pruned(GRID, now=50.0))

    everything = json.loads(rendered(left.points))["data"]["result"]
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

    told = json.loads(at_once(render_matrix(NO_POINTS, GRID, warnings=["same", "same"], infos=many)).body)

    assert told["warnings"] == ["same"]
    assert told["infos"][:-1] == many[:10]
    assert told["infos"][-1] == "20 more info annotations omitted"


@pytest.mark.parametrize("warnings", [5, "text", {"a": 1}, True])
def test_a_warning_that_is_in_no_list_is_not_told_and_not_forgotten(warnings: object) -> None:
    found = at_once(parse_matrix(body(SERIES, warnings=warnings), GRID, FIRST, FIRST + 3))

    assert (found.notes.warnings, found.notes.is_complete) == ((), False)


WRITTEN_OTHERWISE = [
    pytest.param([{"metric": {"a": "1"}, "values": [[at(0), "1"]], "extra": 1}], id="another member"),
    pytest.param([{"values": [[at(0), "1"]], "metric": {"a": "1"}}], id="another order"),
    pytest.param([{"metric": {"a": "1"}, "values": []}], id="no points"),
    pytest.param([{"metric": {"a": "1"}, "values": [], "histograms": [[at(0), HISTOGRAM]]}], id="no floats"),
    pytest.param(
        [{"metric": {"b": "1"}, "values": [[at(0), "1"]]}, {"metric": {"a": "1"}, "values": [[at(0), "2"]]}],
        id="series out of order",
    ),
]


@pytest.mark.parametrize("result", WRITTEN_OTHERWISE)
def test_what_is_written_otherwise_means_the_same(result: list[Any]) -> None:
    found = at_once(parse_matrix(body(result), GRID, FIRST, FIRST + 3))

    expected = [
        {"metric": one["metric"], **{name: one[name] for name in ("values", "histograms") if one.get(name)}}
        for one in sorted(result, key=lambda one: sorted(one["metric"].items()))
        if one.get("values") or one.get("histograms")
    ]
    assert json.loads(rendered(timeline(found))) == json.loads(body(expected))


@pytest.mark.parametrize(
    "point",
    [
        pytest.param({"values": [[at(0), "x"]]}, id="no number"),
        pytest.param({"values": [[at(0), '1"],[']]}, id="what stands between points"),
        pytest.param({"values": [[at(0), 1]]}, id="no text"),
        pytest.param({"histograms": [[at(0), {"count": {}}]]}, id="an object in a histogram"),
        pytest.param({"histograms": [[at(0), {"count": "}],["}]]}, id="what stands between histograms"),
        pytest.param({"histograms": [[at(0), "1"]]}, id="no histogram"),
        pytest.param({"metric": {"a": 1}}, id="labels of numbers"),
    ],
)
def test_points_whose_end_could_not_be_found_again_are_refused(point: dict[str, Any]) -> None:
    series = {"metric": {"a": "1"}, **point}
    with pytest.raises(BadAnswer):
        at_once(parse_matrix(body([series]), GRID, FIRST, FIRST + 3))


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
    return json.loads(rendered(timeline(found))), found.notes.infos


@pytest.mark.parametrize("head", [b"", b'"isPartial":false,'])
def test_what_engines_write_is_scanned_and_stays_as_it_was(head: bytes) -> None:
    """Native histograms and gaps, too."""
    text = body(SERIES)
    as_sent = text.replace(b'"data"', head + b'"data"', 1)

    scanned = list(scan_matrix(as_sent, Layout.of(as_sent), at_once(Stamps.of(GRID, FIRST, FIRST + 3))))

    assert sum(len(rows.metrics) for rows in scanned) == len(SERIES)
    assert rendered(timeline(at_once(parse_matrix(as_sent, GRID, FIRST, FIRST + 3)))) == text


AS_GO_WRITES = (
    b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"m","a":"\\u003cb\\u003e"},'
    b'"values":[[999.500,"1"],[1000,"2"],[1000.500,"-0.330"],[1001,"NaN"]]}]},'
    b'"warnings":["PromQL warning: x]},\\"infos\\":[ (1:1)"],"infos":["PromQL info: a \\u003e b \\u0026 c"]}'
)


def test_what_go_writes_stays_as_it_was() -> None:
    """1.7: texts of times, labels and infos."""
    found = at_once(parse_matrix(AS_GO_WRITES + b"\n", StepGrid(0, 500), 1999, 2002))

    notes = found.notes
    assert at_once(render_matrix(timeline(found), StepGrid(0, 500), notes.warnings, notes.infos)).body == AS_GO_WRITES


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


MANY = 20 * SMALL_ROWS


def wide(first: int, last: int, skipped: int = 0) -> Matrix:
    """Many series with a point at each place."""
    series = [
        {"metric": {"n": f"{number:06}"}, "values": [[at(place), "1"] for place in range(first, last + 1)]}
        for number in range(skipped, MANY + skipped)
    ]
    return at_once(parse_matrix(body(series), GRID, FIRST + first, FIRST + last))


def test_no_work_over_many_series_is_done_in_one_go() -> None:
    """Counted in pieces: none of them may be more than a fraction of the series, whatever the machine is."""
    text, cold = body(json.loads(rendered(timeline(wide(0, 3))))["data"]["result"]), wide(0, 3)
    entry = at_once(CacheEntry().with_piece(cold, GRID, 0.0, Lifetime(10.0)))
    churned = wide(4, 4, skipped=1)
    work: dict[str, Generator[None, None, object]] = {
        "parse": parse_matrix(text, GRID, FIRST, FIRST + 3),
        "parse known": parse_matrix(text, GRID, FIRST, FIRST + 3, cold.series),
        "overlay": entry.points.overlaid(churned.series, churned.points),
        "store": entry.with_piece(churned, GRID, 1.0, Lifetime(10.0)),
        "store in the middle": entry.with_piece(
            replace(cold, points=cold.points.clipped(FIRST + 1, FIRST + 2)), GRID, 1.0, Lifetime(10.0)
        ),
        "render": render_matrix(entry.points, GRID),
        "render a part": render_matrix(entry.points.within(FIRST + 1, FIRST + 2), GRID),
        "render with new series": render_matrix(
            at_once(entry.points.overlaid(churned.series, churned.points)).within(FIRST + 1, FIRST + 4), GRID
        ),
        "drop the empty": entry.points.within(FIRST + 1, FIRST + 1).without_empty(GRID),
    }

    pieces = {name: count_pieces(one)[1] for name, one in work.items()}

    assert {name: count for name, count in pieces.items() if count < MANY // SMALL_ROWS} == {}


def test_long_series_are_written_a_few_at_a_time() -> None:
    grid, points = StepGrid(0, 1000), 11_000
    series = [
        {"metric": {"n": str(number)}, "values": [[second, "0.123456789012345"] for second in range(points)]}
        for number in range(9)
    ]
    found = at_once(parse_matrix(body(series), grid, 0, points - 1))

    _, pieces = count_pieces(render_matrix(timeline(found), grid))

    # Half a megabyte each.
    assert pieces > 4
