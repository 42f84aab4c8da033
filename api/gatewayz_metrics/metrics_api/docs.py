"""The documentation from the catalogue: a page of routes, errors, statistics and families, and the list of routes."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

from gatewayz_metrics.catalogue import Catalogue, Family, Statistic
from gatewayz_metrics.promql.build import EXPORT_LABEL, EXPORT_VALUE, Slots

_ERRORS = """
The routes answer 200 even while the upstream is down: a dashboard keeps its shape and says why it is empty.

| What happened | `summary` | text routes |
|---|---|---|
| the upstream is no help | `"error"` with a sentence, every value `"N/A"` | no sample, one comment with the sentence |
| one expression fails | that value `"N/A"`, its reason under `"errors"` | the family is left out, a comment says why |
| there is no data | that value `"N/A"`, a hint under `"absent"` | `HELP` and `TYPE` without samples, and a comment |
| the value is zero | `"0"` | `0` |
| a parameter has an unknown value | 400 with `{"error", "code"}` | 400 with `{"error", "code"}` |
| the token is missing or wrong | 401 with `{"error", "code"}` | 401 with `{"error", "code"}` |

OpenMetrics knows no comments; there the header `X-Upstream-Status` (`ok`, `partial`, `down`) alone tells.
""".strip()


def render_docs(catalogue: Catalogue, slots: Slots) -> bytes:
    """The whole page."""
    return "\n".join(_page(catalogue, slots)).encode()


def _page(catalogue: Catalogue, slots: Slots) -> Iterator[str]:
    yield f"# {catalogue.title} metrics\n"
    yield "Every route is a `GET`, below `/prometheus/metrics/`.\n\n## Routes\n"
    yield from render_routes_table(catalogue)
    yield (
        "\nThe text routes write Prometheus text by default, Prometheus text 0.0.4 or OpenMetrics 1.0 "
        f'where `Accept` names them. Every sample carries `{EXPORT_LABEL}="{EXPORT_VALUE}"`, which keeps what we '
        "export apart from what it was computed from.\n\n"
        "`?time=` asks for another moment than now, on every route but `docs` and `series`.\n\n"
        "`?format=rows` gives `summary` and `series` as a flat JSON array of objects, `?format=csv` the same as CSV. "
        "`series` takes `name` (a statistic or a family; may be repeated), `start`, `end` (the last hour when absent) "
        "and `step`; a point that is no number is null.\n\n"
        "A time is Unix seconds (`1766577600`, `1766577600.5`, negative before 1970) or RFC 3339 with an offset "
        "(`2025-12-24T12:00:00Z`, refused without one) here and on the Prometheus API; in the JSON datasource's "
        "`range` it is RFC 3339, too, but numbers are Unix milliseconds, as its plugins send them. "
        "A duration (`step`, `interval`, `window`) is seconds or units from large to small such as `1h30m`, "
        "and never negative.\n"
    )
    yield "## Errors\n"
    yield _ERRORS
    yield (
        '\n`series` answers 200 as well: its object has an `"error"`, or `"errors"` by name, its other forms have no '
        "rows. The rows of `summary` hold the reason each.\n"
    )
    yield "\n## Statistics of `summary`\n"
    yield (
        "`?category=` narrows to a section (it may be repeated), `?values=number` writes JSON numbers and null.\n"
        "Counts keep every digit, money its cents, other values four significant ones.\n\n"
        "Where a statistic or a family has several expressions, they are tried in this order: the first with data "
        "gives the value, and two are never mixed. `?sources=true` (or `?sources`) tells under "
        '`"sources"` which one it was.\n'
    )
    for section, meaning in catalogue.sections.items():
        yield f"### `{section}`\n\n{meaning}\n"
        yield from render_statistics_table(catalogue.in_sections(frozenset({section})), slots)
        yield ""
    yield "## Families of the text routes\n"
    for category, meaning in catalogue.categories.items():
        yield f"### `{category}`\n\n{meaning}\n"
        yield from render_families_table(catalogue.in_category(category), slots)
        yield ""


class RouteEntry(NamedTuple):
    """One of the metrics routes, as lists name it."""

    path: str
    answer: str
    holds: str


def list_routes(catalogue: Catalogue) -> Iterator[RouteEntry]:
    """Every metrics route."""
    yield RouteEntry("/prometheus/metrics", "JSON", "the list of these routes")
    yield RouteEntry("/prometheus/metrics/summary", "JSON", "every statistic, one number each")
    yield RouteEntry("/prometheus/metrics/series", "JSON", "statistics and families over time")
    for category, meaning in catalogue.categories.items():
        yield RouteEntry(f"/prometheus/metrics/{category}", "text", meaning)
    yield RouteEntry("/prometheus/metrics/all", "text", "every family, each once")
    yield RouteEntry("/prometheus/metrics/docs", "Markdown", "what each statistic and family means and how it is asked")


def render_index(catalogue: Catalogue) -> bytes:
    """The list of the routes as JSON."""
    return orjson.dumps({"routes": [entry._asdict() for entry in list_routes(catalogue)]})


def render_routes_table(catalogue: Catalogue) -> Iterator[str]:
    """A table of the routes."""
    yield "| Route | Answer | What it holds |"
    yield "|---|---|---|"
    for entry in list_routes(catalogue):
        yield f"| `{entry.path}` | {entry.answer} | {entry.holds} |"


def render_statistics_table(statistics: Iterable[Statistic], slots: Slots) -> Iterator[str]:
    """A table of statistics with unit, meaning and expression."""
    yield "| Key | Unit | Meaning | Expression |"
    yield "|---|---|---|---|"
    for statistic in statistics:
        expression = _in_order(_code(slots.fill(choice)) for choice in statistic.choices)
        yield f"| `{statistic.name}` | {statistic.unit} | {statistic.help} | {expression} |"


def render_families_table(families: Iterable[Family], slots: Slots) -> Iterator[str]:
    """A table of families with type, unit, labels, meaning and expressions."""
    yield "| Family | Type | Unit | Labels | Meaning | Expressions |"
    yield "|---|---|---|---|---|---|"
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.by)
        expressions = _in_order(
            "<br>".join(_code(slots.fill(term.template)) for term in terms) for terms in family.choices
        )
        yield f"| `{family.name}` | {family.type} | {family.unit} | {labels} | {family.help} | {expressions} |"


def _in_order(choices: Iterable[str]) -> str:
    """What is tried one after another, in one cell."""
    return "<br>else ".join(choices)


def _code(expression: str) -> str:
    # A bar ends a cell of the table, even inside code.
    return "`" + expression.strip().replace("|", "\\|") + "`"
