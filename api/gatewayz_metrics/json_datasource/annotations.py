"""Annotations from any query: an event wherever a series is not zero, a region where it stays so.

Two formats: a data frame in the answer to `/query`, and a list of objects for `/annotations`, which only
the oldest plugin (SimpleJson) requests.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain

import orjson

from gatewayz_metrics.json_datasource.frames import Element, build_frame, build_meta, fill_legend
from gatewayz_metrics.json_datasource.results import ResultSeries, Series, TargetOutcome, TargetResult, select_results
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


def render_event_frame(result: TargetResult, name: str = "") -> Element:
    """The events of a target as a frame; from a frame of numbers Grafana would silently make no annotation."""
    count = itertools.count()
    # The first by time, without all of them in memory.
    numbered = (event for event, _ in zip(iterate_events(result, name), count, strict=False))
    shown = nsmallest(_MOST_EVENTS, numbered, key=_order)
    found = next(count)
    notices = [f"{found:,} events; the first {_MOST_EVENTS:,} are shown."] if found > _MOST_EVENTS else []
    columns: list[list[object]] = [
        [event.time for event in shown],
        [event.time_end for event in shown],
        [event.title for event in shown],
        [event.text for event in shown],
        [list(event.tags) for event in shown],
    ]
    fields: list[Element] = [{"name": name, "type": kind} for name, kind in _FIELDS]
    return build_frame(result.plan.ref_id, "annotations", fields, columns, build_meta(result, notices))


def render_event_objects(outcomes: Iterable[TargetOutcome], annotation: Element) -> Iterator[Element]:
    """The events as the objects that SimpleJson reads, each with the request's annotation in it.

    Raises AnswerTexts before the first when they are too many for its length.
    """
    echo = len(orjson.dumps(annotation))
    for event in chain.from_iterable(_list_events(result, echo) for result in select_results(outcomes)):
        yield {
            "annotation": annotation,
            "time": event.time,
            "title": event.title,
            "text": event.text,
            "tags": list(event.tags),
            **({"timeEnd": event.time_end, "isRegion": True} if event.time_end is not None else {}),
        }


def find_events(result: TargetResult, name: str = "") -> list[Event]:
    """The events of a result by time; `name` is the annotation's name, the last choice for a title."""
    return sorted(iterate_events(result, name), key=_order)


def iterate_events(result: TargetResult, name: str = "") -> Iterator[Event]:
    """The events of a result, series by series."""
    return chain.from_iterable(_build_events(result, series, name or result.plan.ref_id) for series in result.series)


def _list_events(result: TargetResult, echo: int) -> list[Event]:
    """The events by time. Raises AnswerTexts when each with `echo` characters more is too much in sum."""
    found: list[Event] = []
    characters = 0
    for event in iterate_events(result):
        characters += echo + event.length
        check_sum(characters)
        found.append(event)
    return sorted(found, key=_order)


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
