"""The linter's rules for expressions and our own, over every PromQL target, variable, annotation and alert."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import promql_parser
import pytest

from dashboards import alerts_file, rules_file
from dashboards.alerting import Alert, AlertScope, recorded_name
from dashboards.variables import BoardVariables
from tests.dashboards import contract, reading
from tests.dashboards.catalogues import CATALOGUES, checked, made
from tests.dashboards.reading import PanelTarget


class Case(NamedTuple):
    """An expression, where it stands, and the catalogue that it was made of."""

    name: str
    place: str
    promql: str


def _cases() -> Iterator[Case]:
    for name, board in checked():
        for place, promql in reading.expressions(board).items():
            yield Case(name, place, promql)
    for name, alert in ALERTS:
        yield Case(name, f"alert {alert.name}", alerts_file.expression(made(name).metrics, alert))


def _is_shown(case: Case) -> bool:
    """Whether its values are looked at; a variable and `absent` ask for nothing but whether a series is there."""
    return ": $" not in case.place and case.place != "alert no-data" and case.promql not in _of_its_own(case.name)


def _of_its_own(name: str) -> set[str]:
    """Counters that a catalogue defines by an expression: no rate can be had of those."""
    everything = BoardVariables(made(name).metrics).gateway
    families = made(name).metrics.catalogue.families
    return {everything.as_defined(family).promql for family in families if family.type == "counter" and family.expr}


METRICS = {name: contract.metrics(made(name).metrics.catalogue) for name in CATALOGUES}
TARGETS = [(name, board, target) for name, board in checked() for target in reading.targets(board, "prometheus")]
ALERTS = [(name, alert) for name in CATALOGUES for alert in made(name).alerts]
CASES = list(_cases())
SHOWN = [case for case in CASES if _is_shown(case)]

# Rates that do not run over $__rate_interval, and why.
FIXED_WINDOWS = {
    "gw-overview: Error budget left A": "the budget of a month",
    "gw-overview: Burn rate A": "the windows that the alerts use",
    "gw-overview: Burn rate B": "the windows that the alerts use",
    "gw-overview: Burn rate C": "the windows that the alerts use",
}

NEVER_ZERO = {"process_max_fds"}

each_target = pytest.mark.parametrize(
    "target", [target for *_, target in TARGETS], ids=[f"{name}: {target.place}" for name, _, target in TARGETS]
)
each_case = pytest.mark.parametrize("case", CASES, ids=[f"{case.name}: {case.place}" for case in CASES])
each_alert = pytest.mark.parametrize(("name", "alert"), ALERTS, ids=[f"{name}: {alert.name}" for name, alert in ALERTS])


@each_case
def test_an_expression_parses(case: Case) -> None:
    assert reading.parsed(case.promql)


@each_target
def test_a_target_says_what_it_wants(target: PanelTarget) -> None:
    assert target.query["expr"]
    assert target.query.get("instant", False) != target.query.get("range", False)
    if target.panel["type"] == "table":
        assert target.query["format"] == "table"
        assert target.query["instant"] is True
    if target.panel["type"] == "heatmap":
        assert target.query["format"] == "heatmap"


@each_target
def test_rates_run_over_the_rate_interval(target: PanelTarget) -> None:
    promql = target.query["expr"].replace("$__rate_interval", "7919s").replace("$__range", "7781s")
    nodes = [n for n in reading.parsed(promql) if isinstance(n.expr, promql_parser.MatrixSelector)]
    windows = {round(n.expr.range.total_seconds()) for n in nodes if n.function in ("rate", "irate")}

    assert (windows <= {7919}) != (target.place in FIXED_WINDOWS)


@pytest.mark.parametrize(
    "annotation",
    [each for _, board in checked() for each in board["annotations"]["list"]],
    ids=lambda each: str(each["name"]),
)
def test_annotations_look_at_all_that_lies_between_two_points(annotation: reading.Document) -> None:
    """Grafana asks for a hundred points of any range: two minutes would leave out most of six hours."""
    assert re.findall(r"\[(.*?)\]", annotation["expr"])
    assert set(re.findall(r"\[(.*?)\]", annotation["expr"])) == {"$__rate_interval"}


@each_case
def test_a_range_stands_in_a_function(case: Case) -> None:
    for node in reading.parsed(case.promql):
        if isinstance(node.expr, promql_parser.MatrixSelector):
            assert node.function


@pytest.mark.parametrize("case", SHOWN, ids=[f"{case.name}: {case.place}" for case in SHOWN])
def test_a_counter_is_never_shown_raw(case: Case) -> None:
    for node in reading.selectors(case.promql):
        metric = METRICS[case.name][node.expr.name]
        # How many series there are is no matter of their values.
        if metric.type in ("counter", "histogram", "summary") and not _is_counted(node):
            assert _growth(node) in ("rate", "irate", "increase"), node.expr.name


def _is_counted(node: reading.Node) -> bool:
    calls = {parent.func.name for parent in node.parents if isinstance(parent, promql_parser.Call)}
    groups = {str(parent.op) for parent in node.parents if isinstance(parent, promql_parser.AggregateExpr)}
    direct = node.parents[-1] if node.parents else None
    is_count = isinstance(direct, promql_parser.AggregateExpr) and str(direct.op) == "count"
    return is_count or bool(calls & {"count_over_time", "absent_over_time"}) or "group" in groups


def _growth(node: reading.Node) -> str:
    around = [parent for parent in node.parents if isinstance(parent, promql_parser.Call)]
    direct = isinstance(node.parents[-1], promql_parser.MatrixSelector) if node.parents else False
    return around[-1].func.name if around and direct else ""


@each_case
def test_every_metric_is_one_that_exists_with_these_labels(case: Case) -> None:
    for node in reading.selectors(case.promql):
        metric = METRICS[case.name].get(node.expr.name)
        assert metric, node.expr.name
        assert reading.matchers(node.expr).keys() <= metric.labels
        for labels in _grouped(node):
            assert labels <= metric.labels, (metric.name, labels)


def _grouped(node: reading.Node) -> list[set[str]]:
    """The labels that the aggregations around a selector keep, from the nearest on."""
    found = []
    for parent in reversed(node.parents):
        if isinstance(parent, promql_parser.AggregateExpr) and parent.modifier is not None:
            assert "By" in str(parent.modifier.type)
            found.append(set(parent.modifier.labels))
    return found


@each_case
def test_every_selector_leaves_our_own_exports_out(case: Case) -> None:
    for node in reading.selectors(case.promql):
        assert reading.matchers(node.expr).get("aggregated_by") == ""


@pytest.mark.parametrize(
    ("name", "board", "target"), TARGETS, ids=[f"{name}: {target.place}" for name, _, target in TARGETS]
)
def test_every_selector_is_narrowed_by_the_dashboards_variables(
    name: str, board: reading.Document, target: PanelTarget
) -> None:
    label = made(name).metrics.catalogue.deployment_label
    defined = {v["name"] for v in reading.variables(board)}
    promql = target.query["expr"]
    for node in reading.selectors(promql):
        metric = METRICS[name][node.expr.name]
        if metric.name.startswith("gatewayz_metrics_"):
            assert 'job=~"$job",instance=~"$instance"' in promql
        else:
            assert ("env" in defined) == (label is not None)
            assert label is None or reading.matchers(node.expr)[label] == reading.filled("$env")
        # What people chose above holds for every panel below.
        for chosen in {"provider", "model"} & metric.labels & defined:
            assert chosen in reading.matchers(node.expr), metric.name
        if "app_name" in metric.labels and "app" in defined:
            assert "app_name" in reading.matchers(node.expr) or "on (job, instance)" in promql


@each_case
def test_variables_are_matched_by_pattern(case: Case) -> None:
    # Several values arrive as a pattern, and a deployment without its label as an empty one.
    assert not re.search(r'(?<!=~)"\$', case.promql)


@each_case
def test_a_quantile_is_taken_of_summed_buckets_of_a_histogram(case: Case) -> None:
    for node in reading.parsed(case.promql):
        if isinstance(node.expr, promql_parser.Call) and node.expr.func.name == "histogram_quantile":
            inner = node.expr.args[1]
            assert isinstance(inner, promql_parser.AggregateExpr)
            assert inner.modifier is not None
            assert "le" in inner.modifier.labels
            (selector,) = [n for n in reading.walk(inner) if isinstance(n.expr, promql_parser.VectorSelector)]
            assert METRICS[case.name][selector.expr.name].type == "histogram"
            assert selector.expr.name.endswith("_bucket")


@each_case
def test_a_division_never_divides_by_nothing(case: Case) -> None:
    for node in reading.parsed(case.promql):
        if isinstance(node.expr, promql_parser.BinaryExpr) and str(node.expr.op) == "/":
            right = node.expr.rhs
            while isinstance(right, promql_parser.ParenExpr):
                right = right.expr
            guarded = isinstance(right, promql_parser.BinaryExpr) and str(right.op) == ">"
            never_zero = isinstance(right, promql_parser.VectorSelector) and right.name in NEVER_ZERO
            assert guarded or isinstance(right, promql_parser.NumberLiteral) or never_zero


@each_alert
def test_an_alert_of_prometheus_means_the_same_as_that_of_grafana(name: str, alert: Alert) -> None:
    metrics = made(name).metrics
    recorded = rules_file.expression(metrics, alert)
    for window in rules_file.recorded_windows(metrics, [alert]):
        recorded = recorded.replace(recorded_name(window), AlertScope(metrics).error_share(window))

    assert recorded == f"({alerts_file.expression(metrics, alert)}) {alert.operator} {alert.threshold:g}"
