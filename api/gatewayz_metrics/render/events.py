"""Annotations from any expression: an event per series where it is not zero, a region where it stays so."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from gatewayz_metrics.datasource.answers import Answer, Curve
from gatewayz_metrics.datasource.series import Series
from gatewayz_metrics.render.legends import from_template, metric_text

MOST = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in Unix milliseconds; without an end it is a moment."""

    time: int
    time_end: int | None
    title: str
    text: str
    tags: tuple[str, ...]


def events(answer: Answer, name: str = "") -> list[Event]:
    """The events of an answer, ascending; `name` is the annotation's own."""
    found = chain.from_iterable(_of(answer, curve, name or answer.plan.ref_id) for curve in answer.curves)
    return sorted(found, key=lambda event: (event.time, event.title))


def _of(answer: Answer, curve: Curve, name: str) -> Iterator[Event]:
    payload, labels = answer.plan.payload, curve.templated
    title = payload.text("title") or ("{{alertname}}" if "alertname" in labels else "")
    text = payload.text("text")
    tags = tuple(from_template(tag.strip(), labels) for tag in _templates(payload.values.get("tags")))
    for begin, end in _runs(curve.series, answer.plan.grid.step):
        yield Event(
            begin,
            end if end > begin else None,
            from_template(title, labels) or curve.metric or name,
            from_template(text, labels) if text else metric_text(curve.labels) or curve.ask.promql,
            tuple(tag for tag in tags if tag),
        )


def _templates(tags: object) -> list[str]:
    """Tags as an array or with commas between them."""
    if isinstance(tags, list):
        return [str(tag) for tag in tags]
    return tags.split(",") if isinstance(tags, str) else []


def _runs(series: Series, step: int) -> Iterator[tuple[int, int]]:
    """Where the values are not zero: first and last moment of each run without a gap."""
    begin = last = -1
    for time, value in zip(series.times, series.values, strict=True):
        is_on = value != 0 and value == value  # noqa: PLR0124  # NaN is nothing that happened
        if begin >= 0 and (not is_on or time - last > step):
            yield begin, last
            begin = -1
        if is_on:
            begin, last = (time if begin < 0 else begin), time
    if begin >= 0:
        yield begin, last
