"""Readings as exposition text: Prometheus text 0.0.4 and OpenMetrics 1.0.

The formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/. Their differences follow
`ExpositionFormat.is_openmetrics`.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum

from gatewayz_metrics.catalogue import Family
from gatewayz_metrics.cooperative import yield_periodically
from gatewayz_metrics.memory import AnswerBuffer, borrow_memory
from gatewayz_metrics.metrics_api.histograms import render_histogram
from gatewayz_metrics.metrics_api.sample_lines import Pieces, escape, escape_all, render_tables
from gatewayz_metrics.query import NamedTable, Reading, Snapshot

# Bytes, measured: a sample while all of a family are put in order; most in a histogram of lone buckets.
_SORTED = 500


class ExpositionFormat(Enum):
    """The format of a page; the value is its content type."""

    PLAIN = "text/plain; charset=utf-8"
    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    @property
    def is_openmetrics(self) -> bool:
        """Whether it is OpenMetrics, which has units and an end mark, but no comments, and restricts values more."""
        return self is ExpositionFormat.OPENMETRICS


async def render_exposition(families: Iterable[Family], snapshot: Snapshot, form: ExpositionFormat) -> bytes:
    """The page of some families; lone surrogates in label values are replaced, as UTF-8 cannot encode them.

    Other requests run in between. Raises MemoryFull.
    """
    pause = yield_periodically()
    page = AnswerBuffer()
    for piece in _render_page(families, snapshot, form):
        if piece:
            page.write(piece.encode("utf-8", "replace"))
        await pause()
    return page.finish()


def _render_page(families: Iterable[Family], snapshot: Snapshot, form: ExpositionFormat) -> Pieces[None]:
    if snapshot.outage is not None:
        yield from _comments([snapshot.outage.sentence], form)
    else:
        yield from _comments((f"Warning: {text}" for text in snapshot.warnings), form)
        for family in families:
            yield from _render_family(family, snapshot.readings[family.name], form)
    if form.is_openmetrics:
        yield "# EOF\n"


def _render_family(family: Family, reading: Reading, form: ExpositionFormat) -> Pieces[None]:
    """The text of one family: HELP and TYPE alone without data, only a comment when it failed."""
    if reading.error is not None:
        yield from _comments([f"{family.name}: {reading.error.sentence}"], form)
        return
    yield from _render_heading(family, form)
    with borrow_memory(_SORTED * reading.size):
        is_empty = True
        for piece in _render_samples(family, reading.tables, form):
            is_empty = is_empty and not piece
            yield piece
    if is_empty:
        yield from _comments([f"{family.name}: no data"], form)


def _render_heading(family: Family, form: ExpositionFormat) -> Iterator[str]:
    if not form.is_openmetrics:
        # The text format escapes no quotes in HELP, OpenMetrics does.
        yield f"# HELP {family.name} {escape(family.help)}\n"
        yield f"# TYPE {family.name} {family.type}\n"
        return
    # OpenMetrics: a counter's family has no `_total`, its samples do; a unit must be the end of the name.
    name = family.name.removesuffix("_total") if family.type == "counter" else family.name
    yield f"# HELP {name} {escape_all(family.help)}\n"
    yield f"# TYPE {name} {family.type}\n"
    if name.endswith(f"_{family.unit}"):
        yield f"# UNIT {name} {family.unit}\n"


def _render_samples(family: Family, tables: Sequence[NamedTable], form: ExpositionFormat) -> Pieces[None]:
    """The samples that the format allows, in the order of their labels."""
    if family.type == "histogram":
        return render_histogram(family.name, tables, canonical=form.is_openmetrics)
    # A negative or NaN counter makes a scraper reject the whole page.
    return render_tables(tables, not_negative=form.is_openmetrics and family.type == "counter")


def _comments(sentences: Iterable[str], form: ExpositionFormat) -> Iterator[str]:
    if not form.is_openmetrics:
        yield from (f"# {escape(sentence)}\n" for sentence in sentences)
