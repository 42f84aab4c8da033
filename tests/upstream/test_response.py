"""Bodies become vectors or our own errors, whatever is in them."""

import gc
import json
from typing import Any

import orjson
import pytest
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import BadAnswer, QueryRefused
from gatewayz_metrics.metrics_api.summary import ValueFormat, format_decimal, render_summary
from gatewayz_metrics.promql.build import Slots
from gatewayz_metrics.query import Snapshot
from gatewayz_metrics.upstream.response import AnswerNotes, SampleTable, Vector, parse_refusal, parse_vector
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.pieces import at_once
from tests.support.readings import NamedSample, reading_of, values_of

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
near = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["success", "error"]) | anything,
        "data": st.fixed_dictionaries(
            {},
            optional={
                "resultType": st.sampled_from(["vector", "matrix"]) | anything,
                "result": st.lists(
                    st.fixed_dictionaries(
                        {},
                        optional={
                            "metric": st.dictionaries(st.text(max_size=4), st.text(max_size=4) | anything, max_size=2)
                            | anything,
                            "value": st.lists(anything, max_size=3) | st.just([1, "1"]) | anything,
                        },
                    )
                    | anything,
                    max_size=3,
                )
                | anything,
            },
        )
        | anything,
        "error": anything,
        "errorType": anything,
        "warnings": st.lists(anything) | anything,
        "isPartial": anything,
    },
)


def tables_of(vector: Vector) -> list[SampleTable]:
    return [table for tables in vector.parts.values() for table in tables]


def tried(body: bytes) -> Vector | None:
    """The vector, or None where one of our two errors says, not at length, why there is none."""
    try:
        return at_once(parse_vector(body))
    except (BadAnswer, QueryRefused) as exc:
        return None if len(exc.sentence) < 1000 else Vector({}, (exc.sentence,))


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_vector_or_one_of_our_errors(body: bytes) -> None:
    assert tried(body) is None
    assert parse_refusal(body) is None or b"error" in body


@given(near)
@example({"status": "success", "data": {"resultType": "vector", "result": [{"metric": [], "value": [1, "1"]}]}})
@example({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": "a1"}]}})
@example({"status": "success", "data": {"resultType": ["x" * 9999], "result": []}})
@example({"status": "error", "errorType": "x" * 9999, "error": "y" * 9999})
def test_almost_an_answer_is_a_vector_or_one_of_our_errors(document: dict[str, Any]) -> None:
    found = tried(json.dumps(document).encode())

    assert found is None or all(len(warning) <= 500 for warning in found.warnings)
    for table in tables_of(found) if found else ():
        assert all(isinstance(text, str) for row in (table.labels, *table.rows) for text in row)


# Those that are no labels of the sample among them.
LABEL_NAMES = st.sampled_from(["_part", "__name__", "a", "b"]) | st.text()


@given(
    st.lists(st.tuples(st.dictionaries(LABEL_NAMES, st.text(), max_size=3), st.floats().map(str)), max_size=5),
    st.lists(st.text(), max_size=3),
)
def test_an_answer_comes_through_as_it_is(series: list[tuple[dict[str, str], str]], warnings: list[str]) -> None:
    spelt = [(labels, {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(value, value)) for labels, value in series]
    result = [{"metric": labels, "value": [1.5, value]} for labels, value in spelt]
    body = {"status": "success", "data": {"resultType": "vector", "result": result}, "warnings": warnings}
    expected: dict[str, dict[tuple[str, ...], list[tuple[str, ...]]]] = {}
    for labels, value in spelt:
        kept = {name: text for name, text in labels.items() if name not in ("__name__", "_part")}
        tables = expected.setdefault(labels.get("_part", ""), {})
        tables.setdefault(tuple(kept), []).append((*kept.values(), value))
    found = at_once(parse_vector(json.dumps(body).encode()))

    assert found.warnings == tuple(warnings)
    assert {part: {table.labels: table.rows for table in tables} for part, tables in found.parts.items()} == expected


def test_rows_share_their_texts_and_the_garbage_collector_leaves_them_alone() -> None:
    series = [{"metric": {"_part": "p", "a": "a text", "b": str(n)}, "value": [1, "1"]} for n in range(2000)]
    body = orjson.dumps({"status": "success", "data": {"resultType": "vector", "result": series}})
    with pytest.MonkeyPatch.context() as patch:
        # Forgotten now and then.
        patch.setattr("gatewayz_metrics.upstream.response._MOST_TEXTS", 900)
        [table] = tables_of(at_once(parse_vector(body)))
    gc.collect()

    assert table.rows == [("a text", str(n), "1") for n in range(2000)]
    assert len({id(row[0]) for row in table.rows}) == 3
    assert not any(map(gc.is_tracked, table.rows))


def body_of(value: object) -> bytes:
    result = [{"metric": {}, "value": [1, value]}]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


GOOD = ["0", "-0", "1.5", "1e+06", "-1.5E-7", "NaN", "+Inf", "-Inf", "Inf", "9" * 309, "0." + "0" * 323 + "5"]
POOR = [
    "",
    " 1",
    "1\n",
    "1\n2",
    "1_000",
    "0x10",
    "nan(1)",
    "infinity",
    "1e",
    "\u0661",
    "1e999999999",
    "9" * 1000,
    1,
    None,
    True,
]


@pytest.mark.parametrize("value", GOOD)
def test_a_value_that_engines_write_is_taken(value: str) -> None:
    assert values_of(at_once(parse_vector(body_of(value)))) == [value]


@pytest.mark.parametrize("value", POOR)
def test_a_value_that_no_engine_writes_is_refused(value: object) -> None:
    with pytest.raises(BadAnswer):
        at_once(parse_vector(body_of(value)))


@given(st.from_regex(r"[+-]?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_a_value_that_is_taken_can_be_written(value: str) -> None:
    assert values_of(at_once(parse_vector(body_of(value)))) == [value]
    assert len(format_decimal(value, "exact") or "") < 3000
    assert len(format_decimal(value, "rounded") or "") < 3000
    assert len(format_decimal(value, "money") or "") < 3000


def test_a_value_at_the_limit_reaches_the_summary() -> None:
    statistic = load().statistics[0]
    reading = reading_of([NamedSample(statistic.name, {}, "9e999")])
    body = render_summary((statistic,), Snapshot(0, {statistic.name: reading}), ValueFormat.NUMBER, Slots())

    assert json.loads(body)["metrics"][statistic.section][statistic.key] == 9 * 10**999


def test_a_partial_answer_says_so() -> None:
    body = {"status": "success", "isPartial": True, "data": {"resultType": "vector", "result": []}}

    assert at_once(parse_vector(json.dumps(body).encode())).warnings == ("The upstream calls its answer partial.",)


@pytest.mark.parametrize(
    ("document", "notes", "is_complete"),
    [
        ({}, AnswerNotes(), True),
        ({"warnings": None, "infos": [], "isPartial": False}, AnswerNotes(), True),
        ({"infos": ["a", "b"]}, AnswerNotes(infos=("a", "b")), True),
        ({"warnings": ["a", 5]}, AnswerNotes(("a", "5")), False),
        ({"warnings": "a b"}, AnswerNotes(is_malformed=True), False),
        ({"warnings": 5}, AnswerNotes(is_malformed=True), False),
        ({"warnings": "", "infos": {"a": 1}}, AnswerNotes(), True),
        ({"isPartial": True}, AnswerNotes(is_partial=True), False),
        ({"isPartial": "true"}, AnswerNotes(), True),
    ],
)
def test_what_an_answer_says_about_itself(document: dict[str, Any], notes: AnswerNotes, is_complete: bool) -> None:
    assert AnswerNotes.of(document) == notes
    assert notes.is_complete is is_complete


def test_notes_are_whole_where_they_are_kept_and_bounded_where_they_are_shown() -> None:
    notes = AnswerNotes.of({"warnings": ["x" * 600] * 30, "infos": ["i"] * 30, "isPartial": True})

    assert (len(notes.warnings), len(notes.warnings[0]), len(notes.infos)) == (30, 600, 30)
    assert notes.to_sentences() == ("x" * 500,) * 20 + ("The upstream calls its answer partial.",)
    assert len(notes.to_sentences(with_infos=True)) == 41
