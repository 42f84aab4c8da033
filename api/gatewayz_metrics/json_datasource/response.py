"""The response to `/query`: one JSON array with the elements of all targets."""

from collections.abc import Iterable, Iterator, Sequence

import orjson

from gatewayz_metrics.cooperative import yield_periodically
from gatewayz_metrics.json_datasource.annotations import render_event_frame
from gatewayz_metrics.json_datasource.frames import (
    Element,
    is_plain,
    render_empty,
    render_failure,
    render_frames,
    render_heatmaps,
    render_series,
)
from gatewayz_metrics.json_datasource.results import TargetFailure, TargetOutcome, TargetResult
from gatewayz_metrics.json_datasource.tables import render_table
from gatewayz_metrics.json_datasource.targets import OutputFormat
from gatewayz_metrics.memory import AnswerBuffer


async def encode_array(elements: Iterable[object]) -> bytes:
    """The elements as a JSON array; other tasks run in between. None is no element, but time for others."""
    pause = yield_periodically()
    body = AnswerBuffer()
    separator = b"["
    for element in elements:
        if element is not None:
            body.write(separator)
            body.write(orjson.dumps(element))
            separator = b","
        await pause()
    body.write(b"]" if body.size else b"[]")
    return body.finish()


def render_annotations(outcomes: Iterable[TargetOutcome], name: str) -> Iterator[Element | None]:
    """A frame of events per target; `name` is the annotation's name."""
    for outcome in outcomes:
        if isinstance(outcome, TargetFailure):
            yield render_failure(outcome)
        else:
            yield from render_event_frame(outcome, name)


def render_elements(outcomes: Sequence[TargetOutcome]) -> Iterator[Element | None]:
    """The elements of each target in the format it asks for, in order, and None after work that gives no element yet.

    Tables that are joined become one, in the place of the first.
    """
    joined = [each for each in outcomes if isinstance(each, TargetResult) and _is_joined(each)]
    for outcome in outcomes:
        if isinstance(outcome, TargetFailure):
            yield render_failure(outcome)
        elif not _is_joined(outcome):
            yield from _render_result(outcome)
        elif outcome is joined[0]:
            yield from render_table(joined)


def _is_joined(result: TargetResult) -> bool:
    return result.plan.is_joined and result.plan.form is OutputFormat.TABLE


def _render_result(result: TargetResult) -> Iterator[Element | None]:
    form = result.plan.form
    if form is OutputFormat.TABLE:
        yield from render_table([result])
    elif not result.series:
        yield render_empty(result)
    elif form is OutputFormat.HEATMAP:
        yield from render_heatmaps(result)
    elif form is OutputFormat.FRAME:
        yield from render_frames(result)
    else:
        for series in result.series:
            # Datapoints cannot hold NaN and infinities, frames can.
            if not is_plain(series):
                yield from render_frames(result)
                return
            yield None
        yield from render_series(result)
