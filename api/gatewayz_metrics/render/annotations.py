"""Events as Grafana's annotations read them: a frame for `/query`, objects for the first plugin's `/annotations`."""

from collections.abc import Iterable, Iterator
from itertools import chain

from gatewayz_metrics.datasource.answers import Answer, Outcome, answered
from gatewayz_metrics.render.events import MOST, events
from gatewayz_metrics.render.frames import frame
from gatewayz_metrics.render.panels import Element, meta

# Without labels: they would change the names that the fields are found by.
_FIELDS = (("time", "time"), ("timeEnd", "time"), ("title", "string"), ("text", "string"), ("tags", "other"))


def event_frame(answer: Answer, name: str = "") -> Element:
    """The events of a target; a series of numbers would show nothing, and no error."""
    found = events(answer, name)
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
    return frame(answer.plan.ref_id, "annotations", fields, columns, meta(answer, left_out))


def event_objects(outcomes: Iterable[Outcome], annotation: Element) -> Iterator[Element]:
    """The events as the first plugin wants them, the annotation itself in each."""
    for event in chain.from_iterable(events(answer) for answer in answered(outcomes)):
        yield {
            "annotation": annotation,
            "time": event.time,
            "title": event.title,
            "text": event.text,
            "tags": list(event.tags),
            **({"timeEnd": event.time_end, "isRegion": True} if event.time_end is not None else {}),
        }
