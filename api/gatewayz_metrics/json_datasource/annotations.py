"""Events as Grafana's annotations read them: a frame for `/query`, objects for the first plugin's `/annotations`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from gatewayz_metrics.json_datasource.frames import Element, build_frame, build_meta, fill_legend
from gatewayz_metrics.json_datasource.results import ResultSeries, Series, TargetOutcome, TargetResult, select_results
from gatewayz_metrics.promql.matchers import format_series

# Without labels: they would change the names that the fields are found by.
_FIELDS = (("time", "time"), ("timeEnd", "time"), ("title", "string"), ("text", "string"), ("tags", "other"))


def render_event_frame(answer: TargetResult, name: str = "") -> Element:
    """The events of a target; a series of numbers would show nothing, and no error."""
    found = find_events(answer, name)
    left_out = [f"{len(found):,} events; the first {MOST:,} are shown."] if len(found) > MOST else []
    shown = found[:MOST]
    columns: list[list[object]] = [
        [event.time for event in shown],
        [event.time_end for event in shown],
        [event.title for event in shown],
        [event.text for event in shown],
        [list(event.tags) for event in shown],
    ]
    fields: list[Element] = [{"name": name, "type": kind} for name, kind in _FIELDS]
    return build_frame(answer.plan.ref_id, "annotations", fields, columns, build_meta(answer, left_out))


def render_event_objects(outcomes: Iterable[TargetOutcome], annotation: Element) -> Iterator[Element]:
    """The events as the first plugin wants them, the annotation itself in each."""
    for event in chain.from_iterable(find_events(answer) for answer in select_results(outcomes)):
        yield {
            "annotation": annotation,
            "time": event.time,
            "title": event.title,
            "text": event.text,
            "tags": list(event.tags),
            **({"timeEnd": event.time_end, "isRegion": True} if event.time_end is not None else {}),
        }


# DOC Annotations from any expression: an event per series where it is not zero, a region where it stays so.


MOST = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in Unix milliseconds; without an end it is a moment."""

    time: int
    time_end: int | None
    title: str
    text: str
    tags: tuple[str, ...]


def find_events(answer: TargetResult, name: str = "") -> list[Event]:
    """The events of an answer, ascending; `name` is the annotation's own."""
    found = chain.from_iterable(_of(answer, curve, name or answer.plan.ref_id) for curve in answer.curves)
    return sorted(found, key=lambda event: (event.time, event.title))


def _of(answer: TargetResult, curve: ResultSeries, name: str) -> Iterator[Event]:
    payload, labels = answer.plan.payload, curve.templated
    title = payload.text("title") or ("{{alertname}}" if "alertname" in labels else "")
    text = payload.text("text")
    tags = tuple(fill_legend(tag.strip(), labels) for tag in _templates(payload.values.get("tags")))
    for begin, end in _runs(curve.series, answer.plan.grid.step_ms):
        yield Event(
            begin,
            end if end > begin else None,
            fill_legend(title, labels) or curve.metric or name,
            fill_legend(text, labels) if text else format_series(curve.labels) or curve.ask.promql,
            tuple(tag for tag in tags if tag),
        )


def _templates(tags: object) -> list[str]:
    """Tags as an array or with commas between them."""
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
