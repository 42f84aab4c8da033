"""The answer to `/query`: one JSON array, written in pieces."""

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


async def encode_array(elements: Iterable[object]) -> bytes:
    """The elements as a JSON array; others on the loop get their turn in between."""
    pause = yield_periodically()
    pieces: list[bytes] = []
    for element in elements:
        pieces.append(orjson.dumps(element))
        await pause()
    return b"[" + b",".join(pieces) + b"]"


def render_annotations(outcomes: Iterable[TargetOutcome], name: str) -> Iterator[Element]:
    """A frame of events per target; `name` is the annotation's own."""
    for outcome in outcomes:
        yield render_failure(outcome) if isinstance(outcome, TargetFailure) else render_event_frame(outcome, name)


def render_elements(outcomes: Sequence[TargetOutcome]) -> Iterator[Element]:
    """Whatever each target asked for, in order; tables that are to be joined stand where the first one stood."""
    joined = [each for each in outcomes if isinstance(each, TargetResult) and _is_joined(each)]
    for outcome in outcomes:
        if isinstance(outcome, TargetFailure):
            yield render_failure(outcome)
        elif not _is_joined(outcome):
            yield from _of(outcome)
        elif outcome is joined[0]:
            yield render_table(joined)


def _is_joined(answer: TargetResult) -> bool:
    return answer.plan.is_joined and answer.plan.form is OutputFormat.TABLE


def _of(answer: TargetResult) -> Iterator[Element]:
    form = answer.plan.form
    if form is OutputFormat.TABLE:
        yield render_table([answer])
    elif not answer.curves:
        yield render_empty(answer)
    elif form is OutputFormat.HEATMAP:
        yield from render_heatmaps(answer)
    elif form is OutputFormat.FRAME or not all(is_plain(curve.series) for curve in answer.curves):
        yield from render_frames(answer)
    else:
        yield from render_series(answer)
