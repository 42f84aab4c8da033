"""Samples as lines of exposition text, many at a time: templates of label names, filled with rows of label values."""

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import TypeVar

from gatewayz_metrics.cooperative import sort_in_runs
from gatewayz_metrics.promql.build import EXPORT_LABEL, EXPORT_VALUE
from gatewayz_metrics.query import NamedTable
from gatewayz_metrics.upstream.response import Row

T = TypeVar("T")
# Work on a page: text of some lines, or None for a mere pause.
Pieces = Generator[str | None, None, T]

# On every sample, so that queries can exclude our own exports from the series that they are computed from.
EXPORT_PAIR = f'{EXPORT_LABEL}="{EXPORT_VALUE}"'
# Samples that are taken in one go, which takes less than a millisecond.
AT_ONCE = 250

_INVALID_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")


def render_tables(tables: Sequence[NamedTable], *, not_negative: bool = False) -> Pieces[None]:
    """The samples of some tables in the order of their labels, then of their names.

    `not_negative` leaves negative values and NaN out.
    """
    if len(tables) == 1:
        return _render_table(tables[0], not_negative=not_negative)
    return _render_mixed(tables, not_negative=not_negative)


def _render_table(table: NamedTable, *, not_negative: bool) -> Pieces[None]:
    template = _line_template(table)
    rows = yield from sort_in_runs(table.rows, key=pick_columns(order_columns(table.labels)))
    for begin in range(0, len(rows), AT_ONCE):
        some = rows[begin : begin + AT_ONCE]
        if not_negative:
            some = [row for row in some if _is_not_negative(row)]
        yield "".join([template % row for row in escape_rows(some)])


def _render_mixed(tables: Sequence[NamedTable], *, not_negative: bool) -> Pieces[None]:
    placed: list[tuple[object, str, Row]] = []
    for table in tables:
        columns = order_columns(table.labels)
        pick, names = pick_columns(columns), [table.labels[column] for column in columns]
        template = _line_template(table)
        for begin in range(0, len(table.rows), AT_ONCE):
            some = table.rows[begin : begin + AT_ONCE]
            placed += (
                ((tuple(zip(names, pick(row), strict=True)), table.name), template, row)
                for row in some
                if not not_negative or _is_not_negative(row)
            )
            yield None
    placed = yield from sort_in_runs(placed, key=itemgetter(0))
    for begin in range(0, len(placed), AT_ONCE):
        _, templates, rows = zip(*placed[begin : begin + AT_ONCE], strict=True)
        yield "".join([template % row for template, row in zip(templates, escape_rows(rows), strict=True)])


def _is_not_negative(row: Row) -> bool:
    return float(row[-1]) >= 0


# Columns of a table.


def order_columns(labels: Sequence[str], *, without: str = "") -> list[int]:
    """The columns of labels in the order of their names; one name may be left out."""
    return sorted((column for column, name in enumerate(labels) if name != without), key=labels.__getitem__)


def pick_columns(columns: Sequence[int]) -> Callable[[Row], Row]:
    """A function that takes some columns out of a row."""
    first = columns[0] if columns else 0
    if list(columns) == list(range(first, first + len(columns))):
        return itemgetter(slice(first, first + len(columns)))
    return itemgetter(*columns)


# Templates. `%` is in no metric name, and label names are made valid.


def _line_template(table: NamedTable) -> str:
    return f"{table.name}{{{labels_template(table.labels)}{EXPORT_PAIR}}} %s\n"


def labels_template(labels: Iterable[str]) -> str:
    """Places for the values of some labels, each pair with a comma behind it."""
    # `%.0s` takes a value and writes nothing.
    return "".join(f'{_INVALID_IN_NAMES.sub("_", name)}="%s",' if _is_exported(name) else "%.0s" for name in labels)


def _is_exported(name: str) -> bool:
    """Whether a label is written: `__` starts reserved names, and the export label is added to every sample."""
    return name != EXPORT_LABEL and not name.startswith("__")


def escape_rows(rows: Sequence[Row]) -> Sequence[Row]:
    """Rows whose values can stand in quotes."""
    text = "".join(chain.from_iterable(rows))
    # Hardly any value has something to escape, and looking at all of them at once is cheap.
    if '"' in text or "\\" in text or "\n" in text:
        return [tuple(map(escape_all, row)) for row in rows]
    return rows


def escape(text: str) -> str:
    """Text that ends no line."""
    return text.replace("\\", r"\\").replace("\n", r"\n")


def escape_all(text: str) -> str:
    """Text that can stand in quotes."""
    return escape(text).replace('"', r"\"")
