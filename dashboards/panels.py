"""The house panels. Each has title, meaning, unit, datasource, legend and tooltip; none can be left out."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, Self, TypeVar

from gatewayz_metrics.promql.build import with_label
from grafana_foundation_sdk.builders import (
    bargauge,
    gauge,
    heatmap,
    piechart,
    stat,
    statetimeline,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import piechart as piechart_models
from grafana_foundation_sdk.models import text as text_models

from dashboards import queries, theme
from dashboards.expressions import Expression
from dashboards.links import Link
from dashboards.queries import Line

Panel = Builder[models.Panel]


class _Dressable(Protocol):
    """What every panel builder of the SDK has."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def datasource(self, datasource: models.DataSourceRef) -> Self: ...
    def span(self, w: int) -> Self: ...
    def height(self, h: int) -> Self: ...
    def interval(self, interval: str) -> Self: ...
    def thresholds(self, thresholds: Builder[models.ThresholdsConfig]) -> Self: ...
    def no_value(self, no_value: str) -> Self: ...
    def data_links(self, links: list[Builder[models.DashboardLink]]) -> Self: ...
    def targets(self, targets: list[Builder[Dataquery]]) -> Self: ...


P = TypeVar("P", bound=_Dressable)
# Panels that show a number rather than a line.
_NUMBERS = (stat.Panel, gauge.Panel, bargauge.Panel, piechart.Panel)


def dressed(
    panel: P,
    title: str,
    about: Expression,
    targets: Sequence[Builder[Dataquery]],
    *,
    note: str = "",
    steps: theme.Steps | None = None,
    links: Sequence[Link] = (),
    size: tuple[int, int] = (12, 8),
    source: models.DataSourceRef = queries.CHOSEN,
    empty: str = theme.NO_DATA,
) -> P:
    """A panel with what all have in common.

    An expression tells its unit and meaning, a note what else to know, `empty` why there may be no answer.
    """
    width, height = size
    unit = about.unit
    if isinstance(panel, _NUMBERS):
        unit = theme.as_shown(unit)
        if unit in theme.DECIMALS:
            panel.decimals(theme.DECIMALS[unit])
    return (
        panel.title(title)
        .description(f"{sentence(about.help)} {note}".strip())
        .unit(unit)
        .datasource(source)
        .targets(list(targets))
        .span(width)
        .height(height)
        # Without a floor a short range asks for windows that hold no two scrapes.
        .interval(theme.SCRAPE_INTERVAL)
        .thresholds(steps or theme.plain())
        .no_value(empty)
        .data_links(list(links))
    )


def sentence(text: str) -> str:
    """A catalogue's text with a capital letter and a full stop."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def fill_lines(panels: Sequence[P], most: int) -> list[P]:
    """The panels as wide as it takes to fill every line of the grid with so many of them, or fewer."""
    lines = [panels[start : start + most] for start in range(0, len(panels), most)]
    return [panel.span(width) for line in lines for panel, width in zip(line, _widths(len(line)), strict=True)]


def _widths(count: int) -> list[int]:
    """So many widths that fill a line, as equal as can be."""
    width, rest = divmod(theme.GRID, count)
    return [width + (place < rest) for place in range(count)]


def graph(
    title: str,
    *lines: Line,
    note: str = "",
    steps: theme.Steps | None = None,
    links: Sequence[Link] = (),
    size: tuple[int, int] = (12, 8),
    empty: str = theme.NO_DATA,
    ends_at: float | None = None,
) -> timeseries.Panel:
    """Lines over time; thresholds are drawn as dashed lines. `ends_at` is the last bucket of the histogram, in s.

    A histogram of durations shows exemplars, too: dots that lead to single slow requests.
    """
    about = replace(lines[0].expression, unit=_common_unit(title, lines))
    panel = timeseries.Panel().tooltip(theme.tooltip()).line_width(1).fill_opacity(0)
    panel.show_points(common.VisibilityMode.NEVER)
    _look(panel, lines, steps, ends_at, about.unit)
    if steps is not None:
        steps = steps.lines
        panel.thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(_DASHED))
    # Once: the other quantiles are of the same observations.
    targets = [
        queries.over_time(line, exemplars=ends_at is not None and _P95 in line.expression.promql) for line in lines
    ]
    return dressed(panel, title, about, targets, note=note, steps=steps, links=links, size=size, empty=empty)


def _common_unit(title: str, lines: Sequence[Line]) -> str:
    """The unit of all lines; hits and misses per second have that of any count. Raises ValueError."""
    units = {line.expression.unit for line in lines}
    if len(units) == 1:
        return units.pop()
    if all(unit.startswith("suffix: ") for unit in units):
        return "suffix: /s"
    raise ValueError(f"The lines of {title!r} have different units; draw them in panels of their own.")


def _look(
    panel: timeseries.Panel, lines: Sequence[Line], steps: theme.Steps | None, ends_at: float | None, unit: str
) -> None:
    """Colours, legend and axis, by what the lines are called and measured in."""
    names = " ".join(line.legend for line in lines)
    panel.legend(theme.legend(long_names=bool(_LONG.search(names))))
    if _MANY.search(names):
        panel.max_data_points(theme.FEW_POINTS)
    if "{{" in names:
        # By its place in the answer, a provider would have another colour on the next panel.
        panel.color_scheme(theme.by_name())
    if _STATUS.search(names):
        for pattern, properties in theme.status_colours(apart="{{status" in names).items():
            panel.override_by_regexp(pattern, properties)
    if ends_at is not None:
        panel.mappings([theme.or_more(ends_at)])
    panel.axis_soft_max(max(theme.LEAST_AXIS.get(unit, 0.01), steps.highest * 1.2 if steps else 0))
    panel.axis_soft_min(0)


def bars(
    title: str,
    *lines: Line,
    interval: str = "",
    note: str = "",
    size: tuple[int, int] = (12, 8),
    empty: str = theme.NO_DATA,
) -> timeseries.Panel:
    """Counts over time; one bar per interval, as wide as the expression's own window."""
    panel = graph(title, *lines, note=note, size=size, empty=empty)
    panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(60)
    if lines[0].expression.unit == "short":
        panel.decimals(0)
    if "{{" in lines[0].legend:
        # One behind the other they would hide what is smaller.
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    for line in lines[1:]:
        # What the bars are compared with.
        panel.override_by_name(line.legend, [models.DynamicConfigValue("custom.drawStyle", "line")])
    return panel.interval(interval) if interval else panel


def number(
    title: str,
    expression: Expression,
    *,
    steps: theme.Steps | None = None,
    note: str = "",
    links: Sequence[Link] = (),
    size: tuple[int, int] = (4, 4),
    empty: str = theme.NO_DATA,
) -> stat.Panel:
    """One number at the end of the range."""
    targets = [queries.at_the_end(Line(expression, title))]
    panel = blank_number(empty)
    return dressed(panel, title, expression, targets, note=note, steps=steps, links=links, size=size, empty=empty)


def dial(
    title: str,
    line: Line,
    *,
    steps: theme.Steps,
    note: str = "",
    size: tuple[int, int] = (6, 6),
    empty: str = theme.NO_DATA,
) -> gauge.Panel:
    """A share of a whole, as a gauge from 0 to 1."""
    panel = gauge.Panel().reduce_options(theme.last_value()).show_threshold_markers(True).min(0).max(1)
    panel.orientation(common.VizOrientation.AUTO).mappings([theme.missing(empty)])
    targets = [queries.at_the_end(line)]
    return dressed(panel, title, line.expression, targets, note=note, steps=steps, size=size, empty=empty)


def ranking(
    title: str,
    line: Line,
    *,
    steps: theme.Steps | None = None,
    links: Sequence[Link] = (),
    note: str = "",
    size: tuple[int, int] = (12, 8),
    empty: str = theme.NO_DATA,
) -> bargauge.Panel:
    """The largest of something, as bars with a number each."""
    panel = (
        bargauge.Panel()
        .reduce_options(theme.last_value())
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .value_mode(common.BarGaugeValueMode.COLOR)
        .orientation(common.VizOrientation.HORIZONTAL)
        .legend(theme.legend(shown=False))
        .min(0)
        .mappings([theme.missing(empty)])
    )
    if steps is None:
        panel.color_scheme(theme.fixed(theme.BAR))
    targets = [queries.at_the_end(line)]
    return dressed(panel, title, line.expression, targets, note=note, steps=steps, links=links, size=size, empty=empty)


def donut(
    title: str, line: Line, *, links: Sequence[Link] = (), note: str = "", size: tuple[int, int] = (12, 8)
) -> piechart.Panel:
    """How a whole is shared."""
    shown = piechart.PieChartLegendOptions().display_mode(common.LegendDisplayMode.TABLE)
    shown.placement(common.LegendPlacement.RIGHT).show_legend(True)
    shown.values([piechart_models.PieChartLegendValues.PERCENT, piechart_models.PieChartLegendValues.VALUE])
    panel = piechart.Panel().pie_type(piechart_models.PieChartType.DONUT).reduce_options(theme.last_value())
    panel.legend(shown).tooltip(theme.tooltip()).color_scheme(theme.by_name())
    return dressed(panel, title, line.expression, [queries.at_the_end(line)], links=links, note=note, size=size)


def heat(title: str, expression: Expression, *, note: str = "") -> heatmap.Panel:
    """How often which value occurred, over time."""
    colour = heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    colour.scale(heatmap_models.HeatmapColorScale.EXPONENTIAL).exponent(0.5).fill("dark-orange").reverse(False)
    panel = heatmap.Panel().calculate(False).color(colour).cell_gap(1).show_legend()
    panel.y_axis(heatmap.YAxisConfig().unit(expression.unit).axis_placement(common.AxisPlacement.LEFT))
    panel.mode(common.TooltipDisplayMode.SINGLE).show_y_histogram().show_color_scale(False)
    # Which of two colours is brighter depends on the theme.
    note = f"{note} The more a cell stands out, the more of them there were.".strip()
    return dressed(panel, title, expression, [queries.as_heat(expression)], note=note)


def states(
    title: str,
    line: Line,
    words: models.ValueMap,
    *,
    absent: str,
    links: Sequence[Link] = (),
    size: tuple[int, int] = (12, 8),
) -> statetimeline.Panel:
    """Which state held when, from numbers of 0 on. A state without news for a while is none: it gets a colour too.

    `absent` is why there may be no state at all, in two or three words: the name of the row that stands there then.
    """
    panel = statetimeline.Panel().legend(theme.legend(shown=False)).tooltip(theme.tooltip())
    gone = {_GONE: ("no news", theme.GONE), _ABSENT: (absent, theme.GONE)}
    panel.mappings([words, theme.texts(**gone), theme.missing(theme.NO_DATA)])
    panel.show_value(common.VisibilityMode.NEVER).merge_values(True).row_height(0.8).fill_opacity(80)
    # Grafana draws a state on to the next one: through an outage it would stay as it was before.
    known = line.expression.scaled(_KNOWN, line.expression.unit)
    # Of an answer without series it says that a time field is missing, whatever the panel has for that case.
    nothing = with_label(f"vector({_ABSENT})", line.legend.strip("{}"), absent)
    drawn = replace(line, expression=known.scaled(f"({{}}) or on () {nothing}", known.unit))
    return dressed(panel, title, line.expression, [queries.over_time(drawn)], links=links, size=size)


def words(title: str, content: str, *, size: tuple[int, int] = (12, 6)) -> text.Panel:
    """Text for people."""
    width, height = size
    return (
        text.Panel().title(title).mode(text_models.TextMode.MARKDOWN).content(content).span(width).height(height)
    ).description("What to know and where to look.")


def blank_number(empty: str = theme.NO_DATA, *, named: bool = False, fields: str = "") -> stat.Panel:
    """A number without content yet; `named` shows what each is called, `fields` lets text in."""
    mode = common.BigValueTextMode.VALUE_AND_NAME if named else common.BigValueTextMode.VALUE
    panel = stat.Panel().reduce_options(theme.last_value().fields(fields)).text_mode(mode)
    panel.color_mode(common.BigValueColorMode.VALUE).graph_mode(common.BigValueGraphMode.NONE)
    panel.justify_mode(common.BigValueJustifyMode.AUTO).orientation(common.VizOrientation.AUTO)
    return panel.mappings([theme.missing(empty)])


_GONE, _ABSENT = "-1", "-2"
# What was there within the hour and is not now.
_KNOWN = f"({{0}}) or 0 * last_over_time(({{0}})[1h:]) + {_GONE}"
# What is called after these has names that a legend below the graph would cut.
_LONG = re.compile(r"\{\{(model|path|exception_type|from_state)\}\}")
_MANY = re.compile(rf"\{{\{{({'|'.join(sorted(theme.MANY))})\}}\}}")
_STATUS = re.compile(r"\{\{status(_code)?\}\}|\b[45]xx\b|\b429\b")
_P95 = "histogram_quantile(0.95,"
_DASHED = common.GraphThresholdsStyleMode.DASHED
