"""The growth of costs as pictures: SVG by hand, readable on light and on dark pages."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

from tests.bench.figures import Point, Results

_WIDTH, _HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 190, 44, 56
# Pixels between two labels at the ends of lines.
_LABEL = 16
_LOG_MARKS = (1, 2, 5)

# In light and in dark; lines differ by their dashes too.
_COLOURS = (
    ("#2457c5", "#86aeff"),
    ("#b4540a", "#f0a060"),
    ("#1b7f4b", "#6fd3a0"),
    ("#7a3fb0", "#c79bf2"),
    ("#a8324a", "#f092a4"),
)
_DASHES = ("none", "7 4", "2 4", "9 3 2 3", "12 4")

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Picture:
    """Lines over one axis, by the names of the values that they show."""

    title: str
    x: str
    y: str
    lines: tuple[str, ...]
    is_log: bool = True


PICTURES = {
    "series": Picture(
        "Cold answers against the series of a deployment",
        "series",
        "milliseconds",
        ("/all ms", "/federate ms", "/all CPU ms", "/summary ms", "/summary CPU ms"),
    ),
    "viewers": Picture(
        "What reaches the upstream against viewers of one dashboard",
        "viewers (20 panels each, refreshed every 30 s)",
        "range queries a second",
        ("asked a second", "upstream a second"),
    ),
    "workers": Picture(
        "Requests a second against workers",
        "workers",
        "requests a second, 50 clients",
        ("warm /summary a second", "distinct queries a second"),
        is_log=False,
    ),
}


def draw(results: Results) -> dict[str, str]:
    """The pictures by file name; none for a growth that was not measured."""
    return {
        file_name(name): "\n".join(_draw(picture, results.growth[name])) + "\n"
        for name, picture in PICTURES.items()
        if results.growth.get(name)
    }


def file_name(name: str) -> str:
    """The file of a picture."""
    return f"growth-{name}.svg"


def _draw(picture: Picture, points: Sequence[Point]) -> Iterator[str]:
    lines = [name for name in picture.lines if name in points[0].values]
    x_marks = [point.x for point in points] if picture.is_log else [0, *(point.x for point in points)]
    x = _scale(x_marks, _LEFT, _WIDTH - _RIGHT, is_log=picture.is_log)
    values = [point.values[name] for point in points for name in lines]
    y_marks = _log_marks(values) if picture.is_log else _even_marks(values)
    y = _scale(y_marks, _HEIGHT - _BOTTOM, _TOP, is_log=picture.is_log)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-labelledby="title description" font-family="system-ui, sans-serif" font-size="13">'
    )
    yield f'<title id="title">{escape(picture.title)}</title>'
    yield f'<desc id="description">{escape(_describe(picture, lines, points))}</desc>'
    yield from _style(len(lines))
    yield f'<text class="strong" x="{_LEFT}" y="22">{escape(picture.title)}</text>'
    yield from _grid(picture, x_marks, x, y_marks, y)
    ends = _spread([y(points[-1].values[name]) for name in lines])
    for number, (name, end) in enumerate(zip(lines, ends, strict=True)):
        places = [(x(point.x), y(point.values[name])) for point in points]
        yield f'<polyline class="l{number}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}"/>'
        yield from (f'<circle class="d{number}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in places)
        yield f'<text class="t{number}" x="{_WIDTH - _RIGHT + 10}" y="{end + 4:.1f}">{escape(name)}</text>'
    yield "</svg>"


def _describe(picture: Picture, lines: Sequence[str], points: Sequence[Point]) -> str:
    first, last = points[0], points[-1]
    changes = (f"{name} {_number(first.values[name])} to {_number(last.values[name])}" for name in lines)
    return f"From {first.x:,.0f} to {last.x:,.0f} {picture.x}: {', '.join(changes)}."


def _style(lines: int) -> Iterator[str]:
    def rules(theme: int) -> Iterator[str]:
        text, soft, grid = (("#1b2430", "#566273", "#d5dbe4"), ("#e6eaf0", "#9dabbc", "#333d4a"))[theme]
        yield f"text {{ fill: {text}; }} .soft {{ fill: {soft}; }}"
        yield f".grid {{ stroke: {grid}; }} .axis {{ stroke: {soft}; }}"
        for number in range(lines):
            colour = _COLOURS[number][theme]
            yield f".l{number} {{ stroke: {colour}; }} .d{number}, .t{number} {{ fill: {colour}; }}"

    yield "<style>"
    yield ".strong { font-weight: 600; } .soft { font-size: 12px; } polyline { fill: none; stroke-width: 2; }"
    for number in range(lines):
        yield f".l{number} {{ stroke-dasharray: {_DASHES[number]}; }}"
    yield from rules(0)
    yield "@media (prefers-color-scheme: dark) {"
    yield from rules(1)
    yield "}"
    yield "</style>"


def _grid(picture: Picture, x_marks: Sequence[float], x: Scale, y_marks: Sequence[float], y: Scale) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for mark in y_marks:
        yield f'<line class="grid" x1="{_LEFT}" y1="{y(mark):.1f}" x2="{right}" y2="{y(mark):.1f}"/>'
        yield f'<text class="soft" x="{_LEFT - 8}" y="{y(mark) + 4:.1f}" text-anchor="end">{_number(mark)}</text>'
    for mark in x_marks:
        yield f'<line class="axis" x1="{x(mark):.1f}" y1="{bottom}" x2="{x(mark):.1f}" y2="{bottom + 5}"/>'
        yield f'<text class="soft" x="{x(mark):.1f}" y="{bottom + 20}" text-anchor="middle">{_number(mark)}</text>'
    yield f'<line class="axis" x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>'
    yield f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(picture.x)}</text>'
    middle = (_TOP + bottom) / 2
    turned = f'transform="rotate(-90 18 {middle:.0f})"'
    yield f'<text x="18" y="{middle:.0f}" text-anchor="middle" {turned}>{escape(picture.y)}</text>'


def _scale(marks: Sequence[float], begin: float, end: float, *, is_log: bool) -> Scale:
    """Where a value stands on an axis from the first mark to the last."""

    def on_scale(value: float) -> float:
        # A logarithm has no place for zero: what was not asked at all stands at the lower end.
        return log10(max(value, marks[0])) if is_log else value

    low, high = on_scale(marks[0]), on_scale(marks[-1])
    return lambda value: begin + (end - begin) * (on_scale(value) - low) / (high - low)


def _log_marks(values: Sequence[float]) -> list[float]:
    positive = [value for value in values if value > 0]
    low, high = min(positive), max(positive)
    few = log10(high / low) < 2
    steps = _LOG_MARKS if few else (1,)
    marks = [step * 10.0**power for power in range(floor(log10(low)), ceil(log10(high)) + 1) for step in steps]
    below, above = [mark for mark in marks if mark <= low], [mark for mark in marks if mark >= high]
    return [mark for mark in marks if below[-1] <= mark <= max(above[0], below[-1] * 10)]


def _even_marks(values: Sequence[float]) -> list[float]:
    """From zero, in four to ten equal steps."""
    step = 10.0 ** floor(log10(max(values)))
    step = next(step * part for part in (1, 0.5, 0.2) if max(values) / (step * part) >= 4 or part == 0.2)
    return [step * number for number in range(ceil(max(values) / step) + 1)]


def _spread(places: Sequence[float]) -> list[float]:
    """The places, moved apart as far as labels need."""
    found = list(places)
    order = sorted(range(len(found)), key=found.__getitem__)
    for before, after in pairwise(order):
        found[after] = max(found[after], found[before] + _LABEL)
    return found


def _number(value: float) -> str:
    """Two significant digits, with separators."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 1 else f"{rounded:g}"
