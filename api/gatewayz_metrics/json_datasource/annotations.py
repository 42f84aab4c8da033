"""Annotations from any query: an event wherever a series is not zero, a region where it stays so.

Two formats: a data frame in the answer to `/query`, and a list of objects for `/annotations`, which only
the oldest plugin (SimpleJson) requests.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from gatewayz_metrics.json_datasource.frames import Element, build_frame, build_meta, fill_legend
from gatewayz_metrics.json_datasource.results import ResultSeries, Series, TargetOutcome, TargetResult, select_results
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


def render_event_frame(result: TargetResult, name: str = "") -> Element:
    """The events of a target as a frame; from a frame of numbers Grafana would silently make no annotation."""
    found = find_events(result, name)
    notices = [f"{len(found):,} events; the first {_MOST_EVENTS:,} are shown."] if len(found) > _MOST_EVENTS else []
    shown = found[:_MOST_EVENTS]
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
    """The events as the objects that SimpleJson reads, each with the request's annotation in it."""
    for event in chain.from_iterable(find_events(result) for result in select_results(outcomes)):
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
    found = chain.from_iterable(_build_events(result, series, name or result.plan.ref_id) for series in result.series)
    return sorted(found, key=lambda event: (event.time, event.title))


def _build_events(result: TargetResult, series: ResultSeries, name: str) -> Iterator[Event]:
    payload, labels = result.plan.payload, series.templated
    title = payload.text("title") or ("{{alertname}}" if "alertname" in labels else "")
    text = payload.text("text")
    tags = tuple(fill_legend(tag.strip(), labels) for tag in _split_tags(payload.values.get("tags")))
    for begin, end in _runs(series.series, result.plan.grid.step_ms):
        yield Event(
            begin,
            end if end > begin else None,
            fill_legend(title, labels) or series.metric or name,
            fill_legend(text, labels) if text else format_series(series.labels) or series.ask.promql,
            tuple(tag for tag in tags if tag),
        )


def _split_tags(tags: object) -> list[str]:
    """The templates of the tags, which come as an array or as text with commas."""
    if isinstance(tags, list):
        return [str(tag) for tag in tags]
    return tags.split(",") if isinstance(tags, str) else []


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
