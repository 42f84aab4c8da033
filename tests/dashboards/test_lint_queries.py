"""The linter's rules for expressions and our own, over every PromQL target, variable, annotation and alert."""

import promql_parser
import pytest

from dashboards import alerts, alerts_file, rules_file
from tests.dashboards import contract, reading
from tests.dashboards.reading import Target

TARGETS = reading.every_promql()
EXPRESSIONS = {
    **{target.place: target.query["expr"] for target in TARGETS},
    **{
        f"{board['uid']}: ${variable['name']}": reading.label_values(variable)[0]
        for board in reading.boards()
        for variable in reading.variables(board)
        if variable["type"] == "query"
    },
    **{
        f"{board['uid']}: {annotation['name']}": annotation["expr"]
        for board in reading.boards()
        for annotation in board["annotations"]["list"]
    },
    **{f"alert {alert.name}": alerts_file.expression(alert) for alert in alerts.ALL},
}

# Rates that do not run over $__rate_interval, and why.
FIXED_WINDOWS = {
    "gw-overview: Error budget left A": "the budget of a month",
    "gw-overview: Burn rate A": "the windows that the alerts use",
    "gw-overview: Burn rate B": "the windows that the alerts use",
    "gw-overview: Burn rate C": "the windows that the alerts use",
}

NEVER_ZERO = {"process_max_fds"}

each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.place)
each_expression = pytest.mark.parametrize("promql", EXPRESSIONS.values(), ids=EXPRESSIONS)
# What shows that a series is there at all.
SHOWN = {place: promql for place, promql in EXPRESSIONS.items() if ": $" not in place and place != "alert no-data"}


@each_expression
def test_an_expression_parses(promql: str) -> None:
    assert reading.parsed(promql)


@each_target
def test_a_target_says_what_it_wants(target: Target) -> None:
    assert target.query["expr"]
    assert target.query.get("instant", False) != target.query.get("range", False)
    if target.panel["type"] == "table":
        assert target.query["format"] == "table"
        assert target.query["instant"] is True
    if target.panel["type"] == "heatmap":
        assert target.query["format"] == "heatmap"


@each_target
def test_rates_run_over_the_rate_interval(target: Target) -> None:
    promql = target.query["expr"].replace("$__rate_interval", "7919s").replace("$__range", "7781s")
    nodes = [n for n in reading.parsed(promql) if isinstance(n.expr, promql_parser.MatrixSelector)]
    windows = {round(n.expr.range.total_seconds()) for n in nodes if n.function in ("rate", "irate")}

    assert (windows <= {7919}) != (target.place in FIXED_WINDOWS)


@each_expression
def test_a_range_stands_in_a_function(promql: str) -> None:
    for node in reading.parsed(promql):
        if isinstance(node.expr, promql_parser.MatrixSelector):
            assert node.function


@pytest.mark.parametrize("promql", SHOWN.values(), ids=SHOWN)
def test_a_counter_is_never_shown_raw(promql: str) -> None:
    for node in reading.selectors(promql):
        metric = contract.metrics()[node.expr.name]
        if metric.type in ("counter", "histogram", "summary"):
            assert _growth(node) in ("rate", "irate", "increase"), node.expr.name


def _growth(node: reading.Node) -> str:
    around = [parent for parent in node.parents if isinstance(parent, promql_parser.Call)]
    direct = isinstance(node.parents[-1], promql_parser.MatrixSelector) if node.parents else False
    return around[-1].func.name if around and direct else ""


@each_expression
def test_every_metric_is_one_that_exists_with_these_labels(promql: str) -> None:
    for node in reading.selectors(promql):
        metric = contract.metrics().get(node.expr.name)
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


@each_expression
def test_every_selector_leaves_our_own_exports_out(promql: str) -> None:
    for node in reading.selectors(promql):
        assert reading.matchers(node.expr).get("aggregated_by") == ""


@each_target
def test_every_selector_is_narrowed_by_the_dashboards_variables(target: Target) -> None:
    defined = {v["name"] for v in reading.variables(reading.board(target.board))}
    promql = target.query["expr"]
    for node in reading.selectors(promql):
        metric = contract.metrics()[node.expr.name]
        if metric.name.startswith("gatewayz_metrics_"):
            assert 'job=~"$job",instance=~"$instance"' in promql
        else:
            assert "env" in reading.matchers(node.expr)
        if "app_name" in metric.labels and "app" in defined:
            assert "app_name" in reading.matchers(node.expr) or "on (job, instance)" in promql


@each_expression
def test_variables_are_matched_by_pattern(promql: str) -> None:
    # Several values arrive as a pattern, and a deployment without `env` as an empty one.
    assert '="$' not in promql.replace('=~"$', "")


@each_expression
def test_a_quantile_is_taken_of_summed_buckets_of_a_histogram(promql: str) -> None:
    for node in reading.parsed(promql):
        if isinstance(node.expr, promql_parser.Call) and node.expr.func.name == "histogram_quantile":
            inner = node.expr.args[1]
            assert isinstance(inner, promql_parser.AggregateExpr)
            assert inner.modifier is not None
            assert "le" in inner.modifier.labels
            (selector,) = [n for n in reading.walk(inner) if isinstance(n.expr, promql_parser.VectorSelector)]
            assert contract.metrics()[selector.expr.name].type == "histogram"
            assert selector.expr.name.endswith("_bucket")


@each_expression
def test_a_division_never_divides_by_nothing(promql: str) -> None:
    for node in reading.parsed(promql):
        if isinstance(node.expr, promql_parser.BinaryExpr) and str(node.expr.op) == "/":
            right = node.expr.rhs
            while isinstance(right, promql_parser.ParenExpr):
                right = right.expr
            guarded = isinstance(right, promql_parser.BinaryExpr) and str(right.op) == ">"
            never_zero = isinstance(right, promql_parser.VectorSelector) and right.name in NEVER_ZERO
            assert guarded or isinstance(right, promql_parser.NumberLiteral) or never_zero


@pytest.mark.parametrize("alert", alerts.ALL, ids=lambda alert: alert.name)
def test_an_alert_of_prometheus_means_the_same_as_that_of_grafana(alert: alerts.Alert) -> None:
    recorded = rules_file.expression(alert)
    for window in alerts.WINDOWS:
        recorded = recorded.replace(alerts.recorded_ratio(window), alerts.plain_ratio(window))

    assert recorded == f"({alerts_file.expression(alert)}) {alert.operator} {alert.threshold:g}"
