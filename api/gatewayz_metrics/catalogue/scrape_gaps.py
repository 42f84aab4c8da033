"""Whether the window of the statistics holds a gap of scrapes, in which case their rates show less than the truth.

`rate` divides what a counter grew by between its samples by the whole window, and extends it beyond them by about one
scrape alone: with samples in a third of the window it gives a third
(https://prometheus.io/docs/prometheus/latest/querying/functions/#rate). A gap in the middle does no harm.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gatewayz_metrics.catalogue.model import Statistic
from gatewayz_metrics.promql.build import Slots, selector
from gatewayz_metrics.promql.lexer import METRIC_NAME
from gatewayz_metrics.promql.times import format_duration, parse_literal_ms

# What counts as an end of the window: this share of it, and so many scrapes at least, of which a few may fail.
_EDGE_SHARE = 1 / 4
_SCRAPES = 4
_WINDOWED = re.compile(rf"({METRIC_NAME.pattern})\{{\$selector[^}}]*\}}\[\$window\]")
# What `tell_ends` comes out as where the first part of the window alone holds samples, the last alone, and both.
STOPPED, BEGUN, WHOLE = -1, -2, -3


@dataclass(frozen=True, slots=True)
class GapCheck:
    """An expression that tells at which ends of the window a metric has samples, and the statistics that read it."""

    name: str
    metric: str
    statistics: tuple[str, ...]
    promql: str
    window: str
    edge: str

    def explain(self, value: str) -> str | None:
        """What the statistics lack, as a sentence for people; None when both ends hold samples, or neither does."""
        if value not in (str(STOPPED), str(BEGUN)):
            return None
        where = f"in the last {self.edge}" if value == str(STOPPED) else f"in the first {self.edge}"
        return (
            f"{self.metric} has no samples {where} of the {self.window} over which {', '.join(self.statistics)} are "
            "computed: scrapes are missing, or it is new. They show less than there was."
        )


def find_gap_checks(statistics: Iterable[Statistic], slots: Slots, scrape_seconds: float) -> dict[str, GapCheck]:
    """One check per section, under the name of the statistic beside which it is asked.

    None where the window is too short for ends with some scrapes each. The metric is the last that the first windowed
    statistic of the section reads: what it divides by.
    """
    window_ms = parse_literal_ms(slots.window)
    edge_ms = find_edge(window_ms, scrape_seconds)
    if edge_ms is None:
        return {}
    by_section: dict[str, list[Statistic]] = {}
    for statistic in statistics:
        if _WINDOWED.search(statistic.expr):
            by_section.setdefault(statistic.section, []).append(statistic)
    checks: dict[str, GapCheck] = {}
    for section, found in by_section.items():
        metric = _WINDOWED.findall(found[0].expr)[-1]
        promql = slots.fill(tell_ends(selector(metric), window_ms, edge_ms))
        names = tuple(statistic.name for statistic in found)
        checks[found[0].name] = GapCheck(
            f"scrapes:{section}", metric, names, promql, slots.window, format_duration(edge_ms)
        )
    return checks


def find_growing(template: str) -> tuple[str, ...]:
    """The metrics whose growth a template shows. None of a quotient or a quantile: a gap is in both of its parts."""
    if "/" in template or "histogram_quantile" in template:
        return ()
    return tuple(dict.fromkeys(_WINDOWED.findall(template)))


def find_edge(window_ms: int, scrape_seconds: float) -> int | None:
    """How much of a window counts as one of its ends, in milliseconds; None where it is too short to have two."""
    edge_ms = round(max(_SCRAPES * scrape_seconds * 1000, _EDGE_SHARE * window_ms))
    return edge_ms if 2 * edge_ms <= window_ms else None


def tell_ends_within(series: str, window: str, scrape_seconds: float) -> str:
    """What tells about the ends of a window as written; one that is too short for two is cut into halves."""
    window_ms = parse_literal_ms(window)
    return tell_ends(series, window_ms, find_edge(window_ms, scrape_seconds) or window_ms // 2)


def tell_ends(series: str, window_ms: int, edge_ms: int) -> str:
    """Minus one for samples of a selector in the first part of the window, and minus two for samples in the last."""
    edge, offset = format_duration(edge_ms), format_duration(window_ms - edge_ms)
    begin, end = (
        f"((count(count_over_time({series}[{edge}]{shift})) > bool 0) or vector(0))"
        for shift in (f" offset {offset}", "")
    )
    return f"0 - {begin} - 2 * {end}"
