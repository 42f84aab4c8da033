"""Tables as far as no engine is needed: how many rows, and how columns are told apart."""

from typing import Any

from gatewayz_metrics.json_datasource.frames import render_heatmaps
from gatewayz_metrics.json_datasource.packed import Series
from gatewayz_metrics.json_datasource.results import ResultSeries, TargetResult
from gatewayz_metrics.json_datasource.tables import render_table
from gatewayz_metrics.json_datasource.targets import OutputFormat, TargetPlan, TargetQuery
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.promql.times import TimeRange


def answer(ref_id: str, *series: Series, legend: str = "", name: str = "") -> TargetResult:
    ask = TargetQuery(name, QueryText("x"))
    plan = TargetPlan(ref_id, (ask,), TimeRange(0, 0, 1000), 0, OutputFormat.TABLE, legend=legend, is_joined=True)
    return TargetResult(plan, tuple(ResultSeries(ask, one) for one in series))


def table(results: list[TargetResult]) -> dict[str, Any]:
    *_, found = render_table(results)
    assert found is not None
    return found


def test_rows_are_limited_and_the_panel_says_so() -> None:
    times = list(range(0, 6_000_000, 1000))
    found = table([answer("A", *(Series({"a": str(n)}, times, [1.0] * 6000) for n in range(3)))])

    assert len(found["rows"]) == 10_000
    assert "10,000 rows are shown" in found["meta"]["notices"][0]["text"]


def test_columns_are_named_by_their_legend_or_their_query() -> None:
    one = Series({"a": "1"}, [0], [1.0])
    found = table([answer("A", one), answer("B", one, legend="Beta"), answer("C", one, legend="{{a}}", name="m")])

    assert [column["text"] for column in found["columns"]] == ["Time", "a", "Value #A", "Beta", "m"]
    assert found["rows"] == [[0, "1", 1.0, 1.0, 1.0]]


def test_rows_that_only_one_query_has_stay() -> None:
    found = table([answer("A", Series({"a": "1"}, [0], [1.0])), answer("B", Series({"b": "2"}, [0], [2.0]))])

    assert found["rows"] == [[0, "1", None, 1.0, None], [0, None, "2", None, 2.0]]


def test_a_heatmap_without_buckets_says_so() -> None:
    [found] = filter(None, render_heatmaps(answer("A", Series({"a": "1"}, [0], [1.0]))))

    assert found["fields"] == []
    assert "le" in found["meta"]["notices"][0]["text"]
