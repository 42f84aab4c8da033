"""Classic histograms as exposition text: https://prometheus.io/docs/concepts/metric_types/#histogram.

Sums over replicas can have two faults, which are repaired: one bound may be written in two ways (`1` and `1.0`), each
with a part of the count, and replicas may have different bounds, so that a bound of some alone counts too few.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import inf, isfinite, isnan
from operator import itemgetter

from gatewayz_metrics.cooperative import sort_in_runs
from gatewayz_metrics.metrics_api.sample_lines import (
    AT_ONCE,
    EXPORT_PAIR,
    Pieces,
    escape_all,
    escape_rows,
    labels_template,
    order_columns,
    pick_columns,
)
from gatewayz_metrics.metrics_api.summary import format_go_float
from gatewayz_metrics.query import NamedTable
from gatewayz_metrics.upstream.response import Row

# A bound, how many observations are up to it, the text of that, and the pair `le` as it is written. A plain tuple, as
# there are many, and the garbage collector leaves those alone.
_Bucket = tuple[float, float, str, str]
_by_bound = itemgetter(0)

# Spellings of `le` that are remembered; a histogram has few.
_MOST_SPELLINGS = 1000


@dataclass(slots=True)
class _Child:
    """The samples of a histogram with the same labels, `le` aside."""

    labels: str  # as they are written
    buckets: list[_Bucket] = field(default_factory=list)
    total: str | None = None
    count: str | None = None


class _Children(dict[Row, _Child]):
    """The children with the same label names by their labels' values, made when they are asked for."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        super().__init__()
        self.labels = labels
        self._template = labels_template(labels)

    def __missing__(self, values: Row) -> _Child:
        child = self[values] = _Child(self._template % escape_rows([values])[0])
        return child


class _Bounds(dict[str, tuple[float, str]]):
    """The bound that a spelling of `le` means, and the pair as it is written; NaN when it is no number.

    `canonical` writes bounds as OpenMetrics does (`1.0`, not `1`).
    """

    def __init__(self, *, canonical: bool) -> None:
        super().__init__()
        self._canonical = canonical

    def __missing__(self, le: str) -> tuple[float, str]:
        if len(self) >= _MOST_SPELLINGS:
            self.clear()
        bound = _parse_bound(le)
        written = format_go_float(bound) if self._canonical and isfinite(bound) else le
        found = self[le] = bound, f'le="{escape_all(written)}"'
        return found


def _parse_bound(le: str) -> float:
    try:
        return float(le)
    except ValueError:
        return float("nan")


def render_histogram(name: str, tables: Sequence[NamedTable], *, canonical: bool) -> Pieces[None]:
    """Cumulative buckets up to +Inf, sum and count for every label set; one without a count is left out.

    `canonical` is OpenMetrics' way.
    """
    lines: list[str] = []
    for child in (yield from _read_children(tables, _Bounds(canonical=canonical))):
        lines += _complete(name, child, canonical=canonical)
        if len(lines) >= AT_ONCE:
            yield "".join(lines)
            lines.clear()
    yield "".join(lines)


def _read_children(tables: Sequence[NamedTable], bounds: _Bounds) -> Pieces[list[_Child]]:
    """The children in the order of their labels."""
    found: dict[tuple[str, ...], _Children] = {}
    for table in tables:
        columns = order_columns(table.labels, without="le")
        labels = tuple(table.labels[column] for column in columns)
        if labels not in found:
            found[labels] = _Children(labels)
        yield from _read_table(table, pick_columns(columns), bounds, found[labels])
    if len(found) == 1:
        [children] = found.values()
        return [children[values] for values in (yield from sort_in_runs(list(children)))]
    placed: list[tuple[object, _Child]] = []
    for labels, children in found.items():
        for values, child in children.items():
            placed.append((tuple(zip(labels, values, strict=True)), child))
            yield None
    return [child for _, child in (yield from sort_in_runs(placed, key=itemgetter(0)))]


def _read_table(table: NamedTable, pick: Callable[[Row], Row], bounds: _Bounds, children: _Children) -> Pieces[None]:
    """Give the samples of a table to their children; a bound or a value that is no number counts nothing."""
    le = table.labels.index("le") if "le" in table.labels else None
    is_bucket, is_total = table.name.endswith("_bucket"), table.name.endswith("_sum")
    for number, row in enumerate(table.rows, 1):
        if number % AT_ONCE == 0:
            yield None
        text = row[-1]
        count = float(text)
        bound, label = (inf, "") if le is None else bounds[row[le]]
        if isnan(bound) or isnan(count):
            continue
        child = children[pick(row)]
        if is_bucket:
            child.buckets.append((bound, count, text, label))
        elif is_total:
            child.total = text
        else:
            child.count = text


def _merge_spellings(buckets: list[_Bucket]) -> list[_Bucket]:
    """Buckets in order, each bound once; the engine's own text stays where there is only one count."""
    if len({bucket[0] for bucket in buckets}) == len(buckets):
        return buckets
    return [_add_up(list(same)) for _, same in groupby(buckets, key=_by_bound)]


def _add_up(same: list[_Bucket]) -> _Bucket:
    if len(same) == 1:
        return same[0]
    bound, _, _, label = same[0]
    text = format_go_float(sum(count for _, count, _, _ in same))
    return bound, float(text), text, label


def _complete(name: str, child: _Child, *, canonical: bool) -> Iterator[str]:
    """The lines of one label set."""
    buckets = _merge_spellings(sorted(child.buckets, key=_by_bound))
    count = child.count
    if count is None and buckets and buckets[-1][0] == inf:
        count = buckets[-1][2]
    if count is None:
        return
    below, most = 0.0, float(count)
    begin, end = f"{name}_bucket{{{child.labels}", f",{EXPORT_PAIR}}} "
    for bound, number, text, label in buckets:
        # A bound that only some replicas have counts fewer than the one below: it is left out, not estimated.
        if isfinite(bound) and below <= number <= most:
            below = number
            yield f"{begin}{label}{end}{text}\n"
    yield f'{begin}le="+Inf"{end}{count}\n'
    if child.total is not None:
        yield f"{name}_sum{{{child.labels}{EXPORT_PAIR}}} {child.total}\n"
    # OpenMetrics allows a count only together with a sum.
    if child.total is not None or not canonical:
        yield f"{name}_count{{{child.labels}{EXPORT_PAIR}}} {count}\n"
