"""The boards that follow from a catalogue alone: panels for the families and numbers that no written board shows."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from gatewayz_metrics.catalogue import Family, functions_of
from grafana_foundation_sdk.builders import heatmap, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import theme
from dashboards.board import Row, board
from dashboards.expressions import Metrics
from dashboards.panels import fill_lines, graph, heat, sentence
from dashboards.queries import Line
from dashboards.service_panels import readiness, spelt, statistic, title_of
from dashboards.variables import BoardVariables

QUANTILES = (0.5, 0.95, 0.99)
_READABLE = 0.95

Drawn = timeseries.Panel | heatmap.Panel

# A uid has forty characters at most, this many beside its prefix and a number.
_LONGEST_SLUG = 32


def build(metrics: Metrics, written: Iterable[str]) -> list[Dashboard]:
    """An overview of the sections, and a board per category, of what the boards with these uids leave out."""
    v, taken = BoardVariables(metrics), set(written)
    # Building asks for more, so this comes first.
    sections = [name for name in metrics.catalogue.sections if not _is_read(metrics, name, taken)]
    missing = [family for family in metrics.catalogue.families if not _is_shown(metrics, family)]
    boards = [_overview(v, sections, taken)] if _numbers(metrics, sections) else []
    for category in metrics.catalogue.categories:
        families = [family for family in missing if category in family.categories]
        if families:
            boards.append(_category(v, category, families, taken))
    return boards


def _is_read(metrics: Metrics, section: str, written: set[str]) -> bool:
    """Whether a written board shows numbers of a section; without the Overview, all are shown in one place."""
    names = {statistic.name for statistic in metrics.catalogue.in_sections(frozenset([section]))}
    return "gw-overview" in written and bool(names & metrics.asked)


def _is_shown(metrics: Metrics, family: Family) -> bool:
    """Whether a written board draws a family, or the histogram that it takes quantiles of."""
    return family.name in metrics.asked or family.quantile_of in metrics.asked


def _overview(v: BoardVariables, sections: Sequence[str], taken: set[str]) -> Dashboard:
    uid, title = _named("overview", taken)
    return board(
        v,
        uid,
        title,
        "Every number of the summary, as of now.",
        variables=[v.datasource()],
        rows=[("Service", [readiness(size=(24, 4))]), *_numbers(v.metrics, sections)],
        since="now-6h",
        restarts=False,
        scraped="",
    )


def _category(v: BoardVariables, category: str, families: Sequence[Family], taken: set[str]) -> Dashboard:
    uid, title = _named(category, taken)
    return board(
        v,
        uid,
        title,
        sentence(v.metrics.catalogue.categories[category]),
        variables=[v.datasource(), v.env()],
        rows=_rows(v, families),
        since="now-6h",
        restarts=False,
    )


def _numbers(metrics: Metrics, sections: Sequence[str]) -> list[Row]:
    """A row of numbers per section that has some."""
    v = BoardVariables(metrics)
    shown = [each for each in metrics.catalogue.statistics if each.section in sections]
    titles = _unique({each.name: title_of(each.name) for each in shown})
    rows = ((name, [each.name for each in shown if each.section == name]) for name in sections)
    return [
        (_words(section), fill_lines([statistic(v, name, title=titles[name]) for name in names], 6))
        for section, names in rows
        if names
    ]


def _rows(v: BoardVariables, families: Sequence[Family]) -> list[Row]:
    """What grows, what is, and how it is distributed."""
    titles = _unique({family.name: _title(family.name) for family in families})
    drawn: dict[str, list[Drawn]] = {"Rates": [], "Values": [], "Distributions": []}
    for family in families:
        row, panels = _drawn(v, family, titles[family.name])
        drawn[row] += panels
    return [(row, fill_lines(panels, 2)) for row, panels in drawn.items() if panels]


def _drawn(v: BoardVariables, family: Family, title: str) -> tuple[str, list[Drawn]]:
    """The row and the panels of a family, by what can be made of it."""
    functions = functions_of(family)
    if family.quantile_of:
        lines = _quantiles(v, family, family.quantile_of, family.quantiles)
        return "Distributions", [graph(title, *lines, note=f"Quantiles of the histogram {family.quantile_of}.")]
    if family.type == "histogram":
        lines = _quantiles(v, family, family.name, QUANTILES)
        spread = heat(f"{title}, distribution", v.gateway.buckets(family.name))
        return "Distributions", [graph(title, *lines, note=f"Quantiles of the histogram {family.name}."), spread]
    if "mean" in functions:
        line = Line(v.gateway.mean(family.name, _drawn_by(family)), _legend(family, title))
        return "Distributions", [graph(title, line, note=f"The mean, for the summary {family.name} has no quantiles.")]
    if "rate" in functions:
        line = Line(v.gateway.rate(family.name, _drawn_by(family)), _legend(family, title))
        return "Rates", [graph(title, line, note=f"How fast the counter {family.name} grows.")]
    line = Line(v.gateway.as_defined(family), _legend(family, title, family.by))
    return "Values", [graph(title, line, note=f"The {family.type} {family.name} as the catalogue defines it.")]


def _quantiles(v: BoardVariables, family: Family, histogram: str, quantiles: Sequence[float]) -> list[Line]:
    by = _drawn_by(family)
    if theme.MANY.intersection(by):
        # The others would be as many lines again, and what is above it hangs on a few observations.
        quantiles = [max((each for each in quantiles if each <= _READABLE), default=min(quantiles))]
    drawn = ((quantile, v.gateway.quantile(quantile, histogram, by)) for quantile in quantiles)
    return [Line(each.meaning(family.help), _legend(family, f"p{quantile * 100:g}")) for quantile, each in drawn]


def _drawn_by(family: Family) -> tuple[str, ...]:
    """A family's labels; of those with a dozen values the first alone, for two have a line for every pair."""
    _, *rest = [label for label in family.by if label in theme.MANY] or [""]
    return tuple(label for label in family.by if label not in rest)


def _legend(family: Family, name: str, by: Sequence[str] | None = None) -> str:
    """The labels by which the drawn series differ; a lone series has its name."""
    labels = [f"{{{{{label}}}}}" for label in (_drawn_by(family) if by is None else by)]
    several = family.type == "histogram" or family.quantile_of is not None
    return " ".join([name, *labels] if several or not labels else labels)


def _title(family: str) -> str:
    """A family's name in words, the unit left to the axis: `till_wait_seconds` is the till wait."""
    unitless = family.removesuffix("_total").removesuffix("_seconds").removesuffix("_bytes").removesuffix("_in")
    return _words(unitless or family)


def _words(name: str) -> str:
    return spelt(name.replace("_", " ").split()) or name


def _unique(titles: Mapping[str, str]) -> dict[str, str]:
    """The titles by name; the name itself where two would have the same, for a panel is known by its title."""
    uses = Counter(titles.values())
    return {name: title if uses[title] == 1 else name for name, title in titles.items()}


def _named(name: str, taken: set[str]) -> tuple[str, str]:
    """A uid that is still free, and the title to it: `gw-tills` and `Tills`, else `gw-tills-2` and `Tills 2`."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_LONGEST_SLUG].strip("-") or "board"
    slugs = (slug if number == 1 else f"{slug}-{number}" for number in count(1))
    free = next(each for each in slugs if f"gw-{each}" not in taken)
    taken.add(f"gw-{free}")
    return f"gw-{free}", free.replace("-", " ").capitalize()
