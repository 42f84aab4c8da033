"""The results as a table on the terminal and as the generated part of docs/performance.md."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figure, Results
from tests.bench.parties import ROOT
from tests.bench.plots import PICTURES, draw, file_name
from tests.support.readme import fill

PAGE = ROOT / "docs" / "performance.md"
KEPT = ROOT / "docs" / "performance.json"
IMAGES = ROOT / "docs" / "images"
_HEADINGS = ("What", "Ours", "Against", "Theirs", "Ratio", "Must", "Moonshot", "Reached", "CPU ms", "Load maker")
_REACHED = {"moonshot": "moonshot", "must": "yes", "no": "**no**", "": ""}


def print_table(results: Results) -> None:
    """On the terminal, with the notes and what else was measured beside each row."""
    table = Table(*_HEADINGS, title=f"{results.form}, {_title(results)}")
    for figure in results.figures:
        table.add_row(*_cells(figure))
    console = Console(width=200)
    console.print(table)
    for figure in results.figures:
        console.print(f"{figure.key}: {_beside(figure)}", markup=False, highlight=False)
    for name, points in results.growth.items():
        for point in points:
            values = "; ".join(f"{value} {_number(found)}" for value, found in point.values.items())
            console.print(f"{point.x:,.0f} {name}: {values}", markup=False, highlight=False)


def _cells(figure: Figure) -> list[str]:
    goal = figure.goal
    sign = "≥" if goal.more_is_better else "≤"
    unit = f" {goal.unit}" if goal.is_absolute else ""
    return [
        f"{goal.title}, {goal.unit}",
        _number(figure.ours),
        goal.yardstick,
        _number(figure.yardstick),
        _ratio(figure),
        f"{sign} {goal.must:g}{unit}" if goal.must else "",
        f"{sign} {goal.moonshot:g}{unit}" if goal.moonshot else "",
        _REACHED[figure.reached],
        _number(figure.cpu_ms),
        f"{figure.load_share:.0%}{', the limit' if figure.load_share > 0.9 else ''}" if figure.load_share else "",
    ]


def _ratio(figure: Figure) -> str:
    if figure.ratio is None:
        return ""
    spread = f" ({figure.spread[0]:.2g} to {figure.spread[1]:.2g})" if figure.spread else ""
    return f"{figure.ratio:.2f}{spread}"


def _number(value: float | None) -> str:
    """Three significant digits, with separators."""
    if value is None:
        return ""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _title(results: Results) -> str:
    facts = results.facts
    machine = f"{facts['cores']} cores of {facts['processor']}"
    return f"{facts['date']} on {machine}, Python {facts['python']}, Prometheus {facts['prometheus']}"


def with_results(text: str, results: Results) -> str:
    """The page with its generated parts made anew."""
    return fill(text, {"figures": lambda: render_figures(results), "growth": lambda: render_growth(results)})


def render_figures(results: Results) -> Iterator[str]:
    """The table of the goals, and what else the run found."""
    facts = results.facts
    yield f"Measured {_title(results)}; {facts['packages']}."
    yield f"Trickster: {facts['trickster']}. Series of the deployments: {facts['series']}."
    yield ""
    yield from _table(_HEADINGS, map(_cells, results.figures))
    yield ""
    yield "Sizes, and further figures of the same rows:"
    yield ""
    for figure in results.figures:
        if beside := _beside(figure):
            yield f"- {figure.goal.title}: {beside}."


def render_growth(results: Results) -> Iterator[str]:
    """A picture and its figures for each growth that was measured."""
    for name, picture in PICTURES.items():
        if points := results.growth.get(name):
            yield f"![{picture.title}](images/{file_name(name)})"
            yield ""
            rows = ([_number(point.x), *map(_number, point.values.values())] for point in points)
            yield from _table([name, *points[0].values], rows)
            yield ""


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _beside(figure: Figure) -> str:
    others = (f"{name} {_number(value)}" for name, value in figure.others.items())
    return "; ".join(filter(None, [figure.note, *others]))


def publish(results: Results) -> None:
    """Write the results, the page and the pictures."""
    KEPT.write_text(results.to_json(), encoding="utf-8")
    kept = Results.from_json(KEPT.read_text("utf-8"))
    PAGE.write_text(with_results(PAGE.read_text("utf-8"), kept), encoding="utf-8")
    for name, picture in draw(kept).items():
        Path(IMAGES, name).write_text(picture, encoding="utf-8")
