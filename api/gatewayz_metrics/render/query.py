"""The answer to `/query`: one JSON array, written in pieces."""

from collections.abc import Iterable, Iterator, Sequence

import orjson

from gatewayz_metrics.breath import Breath
from gatewayz_metrics.datasource.answers import Answer, Failure, Outcome
from gatewayz_metrics.datasource.targets import Form
from gatewayz_metrics.render.annotations import event_frame
from gatewayz_metrics.render.frames import frames
from gatewayz_metrics.render.heatmaps import heatmaps
from gatewayz_metrics.render.panels import Element, empty, failed
from gatewayz_metrics.render.series import is_plain, series
from gatewayz_metrics.render.tables import table


async def array(elements: Iterable[object]) -> bytes:
    """The elements as a JSON array; others on the loop get their turn in between."""
    breath = Breath()
    pieces: list[bytes] = []
    for element in elements:
        pieces.append(orjson.dumps(element))
        await breath()
    return b"[" + b",".join(pieces) + b"]"


def annotations(outcomes: Iterable[Outcome], name: str) -> Iterator[Element]:
    """A frame of events per target; `name` is the annotation's own."""
    for outcome in outcomes:
        yield failed(outcome) if isinstance(outcome, Failure) else event_frame(outcome, name)


def elements(outcomes: Sequence[Outcome]) -> Iterator[Element]:
    """Whatever each target asked for, in order; tables that are to be joined stand where the first one stood."""
    joined = [each for each in outcomes if isinstance(each, Answer) and _is_joined(each)]
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            yield failed(outcome)
        elif not _is_joined(outcome):
            yield from _of(outcome)
        elif outcome is joined[0]:
            yield table(joined)


def _is_joined(answer: Answer) -> bool:
    return answer.plan.is_joined and answer.plan.form is Form.TABLE


def _of(answer: Answer) -> Iterator[Element]:
    form = answer.plan.form
    if form is Form.TABLE:
        yield table([answer])
    elif not answer.curves:
        yield empty(answer)
    elif form is Form.HEATMAP:
        yield from heatmaps(answer)
    elif form is Form.FRAME or not all(is_plain(curve.series) for curve in answer.curves):
        yield from frames(answer)
    else:
        yield from series(answer)
