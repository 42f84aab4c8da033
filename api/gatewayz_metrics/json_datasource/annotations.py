"""Annotations from any query: an event wherever a series is not zero, a region where it stays so.

Two formats: a data frame in the answer to `/query`, and a list of objects for `/annotations`, which only
the oldest plugin (SimpleJson) requests.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain

import orjson

from gatewayz_metrics.json_datasource.frames import Element, build_frame, build_meta, fill_legend
from gatewayz_metrics.json_datasource.packed import Series
from gatewayz_metrics.json_datasource.results import ResultSeries, TargetOutcome, TargetResult, select_results
from gatewayz_metrics.json_datasource.texts import LONGEST_TAG, check_sum, shorten, split_tags
from gatewayz_metrics.promql.matchers import format_series

# Events of one annotation; Grafana draws a line for each.
_MOST_EVENTS = 1000
# Grafana finds these fields by name. None has labels, which would become a part of its name.
_FIELDS = (("time", "time"), ("timeEnd", "time"), ("title", "string"), ("text", "string"), ("tags", "other"))


@dataclass(frozen=True, slots=True)
class Event:
    """An annotation, in Unix milliseconds; without an end it is a point in time, with one a region."""

    time: int
    time_end: int | None
    title: str
    text: str
    tags: tuple[str, ...]

    @property
    def length(self) -> int:
        """Its characters."""
        return len(self.title) + len(self.text) + sum(map(len, self.tags))


def render_event_frame(result: TargetResult, name: str = "") -> Iterator[Element | None]:
    """The events of a target as a frame, after None for each series that was looked through.

    From a frame of numbers Grafana would silently make no annotation.
    """
    shown: list[Event] = []
    found = 0
    for series in result.series:
        events = list(_build_events(result, series, name or result.plan.ref_id))
        found += len(events)
        # The first by time, without all of them in memory.
        shown = nsmallest(_MOST_EVENTS, chain(shown, events), key=_order) if events else shown
        yield None
    notices = [f"{found:,} events; the first {_MOST_EVENTS:,} are shown."] if found > _MOST_EVENTS else []
    columns: list[list[object]] = [
        [event.time for event in shown],
        [event.time_end for event in shown],
        [event.title for event in shown],
        [event.text for event in shown],
        [list(event.tags) for event in shown],
    ]
    fields: list[Element] = [{"name": name, "type": kind} for name, kind in _FIELDS]
    yield build_frame(result.plan.ref_id, "annotations", fields, columns, build_meta(result, notices))


def render_event_objects(outcomes: Iterable[TargetOutcome], annotation: Element) -> Iterator[Element | None]:
    """The events as the objects that SimpleJson reads, each with the request's annotation in it; None in between.

    Raises AnswerTexts before the first when they are too many for its length.
    """
    echo = len(orjson.dumps(annotation))
    for result in select_results(outcomes):
        found: list[Event] = []
        characters = 0
        for series in result.series:
            for event in _build_events(result, series, result.plan.ref_id):
                characters += echo + event.length
                check_sum(characters)
                found.append(event)
            yield None
        for event in sorted(found, key=_order):
            yield {
                "annotation": annotation,
                "time": event.time,
                "title": event.title,
                "text": event.text,
                "tags": list(event.tags),
                **({"timeEnd": event.time_end, "isRegion": True} if event.time_end is not None else {}),
            }


def _order(event: Event) -> tuple[int, str]:
    return event.time, event.title


def _build_events(result: TargetResult, series: ResultSeries, name: str) -> Iterator[Event]:
    payload, labels = result.plan.payload, series.templated
    title = payload.text("title") or ("{{alertname}}" if "alertname" in labels else "")
    text = payload.text("text")
    # Once per series: the events of one share their texts.
    tags = (shorten(fill_legend(tag, labels), LONGEST_TAG) for tag in split_tags(payload.values.get("tags")))
    shown_tags = tuple(tag for tag in tags if tag)
    shown_title = fill_legend(title, labels) or series.metric or name
    shown_text = fill_legend(text, labels) if text else shorten(format_series(series.labels) or series.ask.promql)
    for begin, end in _runs(series.series, result.plan.grid.step_ms):
        yield Event(
            begin,
            end if end > begin else None,
            shown_title,
            shown_text,
            shown_tags,
        )


def _runs(series: Series, step: int) -> Iterator[tuple[int, int]]:
    """Where the values are not zero: first and last moment of each run without a gap."""
    begin: int | None = None
    last = 0
    for time, value in zip(series.times, series.values, strict=True):
        is_on = value != 0 and value == value  # noqa: PLR0124  # NaN is nothing that happened
        if begin is not None and (not is_on or time - last > step):
            yield begin, last
            begin = None
        if is_on:
            begin, last = (time if begin is None else begin), time
    if begin is not None:
        yield begin, last
