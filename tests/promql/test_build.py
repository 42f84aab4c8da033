"""The builder: a table of what each function writes, and what a real engine makes of it."""

import pytest
from gatewayz_metrics.promql import build
from gatewayz_metrics.promql.build import Slots

from tests.promql.oracle import parses
from tests.support.engine import Engine
from tests.support.samples import END

TABLE = {
    build.selector("up"): "up{$selector}",
    build.aggregate("max", (), "up"): "max(up)",
    build.aggregate("sum", ("a", '"b.c"'), "up"): 'sum by (a, "b.c") (up)',
    build.growth("rate", "up{}"): "rate(up{}[$window])",
    build.growth("increase", "up{}", "1d"): "increase(up{}[1d])",
    build.ratio("a", "b"): "a / (b > 0)",
    build.share("a", "b"): "(a or 0 * b) / (b > 0)",
    build.histogram_quantile(0.5, "b"): "histogram_quantile(0.5, b)",
    build.histogram_quantile(0.999, "b"): "histogram_quantile(0.999, b)",
    build.top(3, "a"): "topk(3, a)",
    build.with_label("a", "q", "0.5"): 'label_replace(a,"q","0.5","","")',
    build.with_label("a", "q", 'x"$1'): 'label_replace(a,"q","x\\"$$1","","")',
    build.total("m"): "sum(m{$selector})",
    build.total("m", ("a", "b")): "sum by (a, b) (m{$selector})",
    build.total_growth("increase", "m_total", ("a",)): "sum by (a) (increase(m_total{$selector}[$window]))",
    build.bucket_growth("increase", "m"): "sum by (le) (increase(m_bucket{$selector}[$window]))",
    build.quantile_of("m", 0.9, ("a",)): (
        "histogram_quantile(0.9, sum by (a, le) (rate(m_bucket{$selector}[$window])))"
    ),
    build.mean_of("m"): "sum(rate(m_sum{$selector}[$window])) / (sum(rate(m_count{$selector}[$window])) > 0)",
    build.mean_of("m", ("a",), "increase"): (
        "sum by (a) (increase(m_sum{$selector}[$window])) / (sum by (a) (increase(m_count{$selector}[$window])) > 0)"
    ),
    build.batch([("x", "a")]): 'label_replace(a,"_part","x","","")',
    build.batch([("x", "a"), ("y", "b"), ("z", "c")]): (
        '(label_replace(a,"_part","x","","") '
        'or (label_replace(b,"_part","y","","") or label_replace(c,"_part","z","","")))'
    ),
}


@pytest.mark.parametrize(("built", "expected"), TABLE.items(), ids=TABLE.values())
def test_a_function_writes(built: str, expected: str) -> None:
    assert built == expected


@pytest.mark.parametrize("built", TABLE)
def test_every_engine_takes_what_is_written(engine: Engine, built: str) -> None:
    # A label name in quotes is of Prometheus 3.
    if '"b.c"' not in built:
        engine.ask(Slots('env="production"').fill(built), END)


@pytest.mark.parametrize(
    ("slots", "own", "window"),
    [
        (Slots(), "", "5m"),
        (Slots('env="p"', "1h"), 'env="p",', "1h"),
        # What looks like a slot in a deployment's own text is text.
        (Slots('env=~"$window|$selector"'), 'env=~"$window|$selector",', "5m"),
    ],
)
def test_slots_are_filled_once(slots: Slots, own: str, window: str) -> None:
    filled = slots.fill('rate(a{$selector}[$window]) + b{$selector,c="d"}')

    assert filled == f'rate(a{{{own}aggregated_by=""}}[{window}]) + b{{{own}aggregated_by="",c="d"}}'
    assert parses(filled)


def test_a_template_tells_what_it_reads() -> None:
    template = 'sum(b_total{$selector,x="{"}) / sum(a:b{$selector}) + b_total{$selector}'

    assert build.count_selectors(template) == 3
    assert build.find_metrics(template) == ("b_total", "a:b")
    assert build.find_selector('max(b{$selector,x!="y"}) + c{$selector}') == 'b{$selector,x!="y"}'
    assert build.find_selector("vector(1)") == ""


@pytest.mark.parametrize(
    ("promql", "expected"),
    [
        ("max by (a) (x)", "max by (b, c) (x)"),
        ("max(x) BY (a)", "max(x) BY (b, c)"),
        ("(sum by(a)(x)) / sum by ( a ) (y)", "(sum by(b, c)(x)) / sum by (b, c) (y)"),
        ('sum by (a) (x{l="by (a)"})', 'sum by (b, c) (x{l="by (a)"})'),
        ("sum by (a) (count by (a, b) (x))", "sum by (b, c) (count by (a, b) (x))"),
        ("max by (a) (x{$selector})", "max by (b, c) (x{$selector})"),
    ],
)
def test_groupings_are_exchanged_and_nothing_else(promql: str, expected: str) -> None:
    assert build.regroup(promql, ("a",), ("b", "c")) == expected


def test_an_expression_without_that_grouping_is_refused() -> None:
    with pytest.raises(ValueError, match="fixed by its expression"):
        build.regroup("sum(x)", ("a",), ())


@pytest.mark.parametrize(
    ("promql", "expected"),
    [
        ("max by (a) (x{})", "max by (a) (x{} offset 7d)"),
        ('x{a="}"}', 'x{a="}"} offset 7d'),
        ("sum(increase(x{}[1d]))", "sum(increase(x{}[1d] offset 7d))"),
        ("rate(x{} [1d]) / y{}", "rate(x{} [1d] offset 7d) / y{} offset 7d"),
        ("max_over_time(x{}[1h]) + z{}", "max_over_time(x{}[1h] offset 7d) + z{} offset 7d"),
        ("max_over_time(sum(x{})[1h:])", "max_over_time(sum(x{} offset 7d)[1h:])"),
        ("rate(x{$selector}[$window])", "rate(x{$selector}[$window] offset 7d)"),
    ],
)
def test_every_selector_looks_back(promql: str, expected: str) -> None:
    assert build.shift(promql, "7d") == expected
