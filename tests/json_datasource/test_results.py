"""Envelopes taken apart piece by piece give what decoding them whole gives."""

import asyncio
import math

import orjson
import pytest
from gatewayz_metrics.errors import BadAnswer, QueryRefused
from gatewayz_metrics.json_datasource.results import QueryResult, decode_result
from hypothesis import given
from hypothesis import strategies as st

names = st.one_of(st.just("__name__"), st.text(max_size=8))
texts = st.one_of(st.text(max_size=12), st.sampled_from(['{"metric":{', '"},{"metric":{"a":"b"', "},", "]}"]))
numbers = st.one_of(
    st.floats().map(lambda f: "NaN" if math.isnan(f) else f"{f:g}".replace("inf", "Inf")), st.just("+Inf")
)
points = st.lists(st.tuples(st.integers(0, 2**41).map(lambda ms: ms / 1000), numbers), min_size=1, max_size=4)
items = st.tuples(st.dictionaries(names, texts, max_size=3), points)


def found(document: object) -> QueryResult:
    return asyncio.run(decode_result(orjson.dumps(document)))


def envelope(kind: str, result: object, **more: object) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": kind, "result": result}, **more}


@given(st.lists(items, max_size=5))
def test_every_series_and_point_is_there(series: list[tuple[dict[str, str], list[tuple[float, str]]]]) -> None:
    # The members in the engines' order, which is what the taking apart relies on.
    decoded = found(envelope("matrix", [{"metric": metric, "values": points} for metric, points in series]))

    assert [one.labels for one in decoded.series] == [metric for metric, _ in series]
    for one, (_, points) in zip(decoded.series, series, strict=True):
        assert one.times == [round(time * 1000) for time, _ in points]
        assert one.values == pytest.approx([float(value) for _, value in points], nan_ok=True, rel=0, abs=0)


def test_vectors_scalars_and_notices() -> None:
    vector = found(envelope("vector", [{"metric": {"a": "b"}, "value": [1.5, "2"]}], warnings=["w"], infos=["i", "i"]))
    scalar = found(envelope("scalar", [1.5, "NaN"], isPartial=True))

    assert (vector.series[0].times, list(vector.series[0].values), vector.notices) == ([1500], [2.0], ("w", "i"))
    assert math.isnan(scalar.series[0].values[0])
    assert scalar.notices == ("The upstream calls its answer partial.",)


def test_native_histograms_are_told_not_drawn() -> None:
    item = {"metric": {}, "histograms": [[1, {"count": "1", "sum": "1"}]]}

    decoded = found(envelope("matrix", [item, item]))

    assert list(decoded.series) == []
    assert ["histograms" in notice for notice in decoded.notices] == [True]


@pytest.mark.parametrize(
    "document",
    [
        {"status": "success"},
        envelope("matrix", None),
        envelope("matrix", [{"metric": {}, "values": [[1]]}]),
        envelope("matrix", [{"metric": {}, "values": [[1, "x"]]}, {"metric": {"a": "b"}, "values": [[1, "1"]]}]),
        envelope("matrix", [{"metric": {"a": "b"}, "values": [["x", "1"]]}] * 3),
        envelope("streams", []),
    ],
)
def test_what_is_not_the_protocol_is_refused(document: object) -> None:
    with pytest.raises(BadAnswer):
        found(document)


def test_an_error_keeps_the_engines_words() -> None:
    with pytest.raises(QueryRefused, match="no such thing"):
        found({"status": "error", "errorType": "bad_data", "error": "no such thing"})
