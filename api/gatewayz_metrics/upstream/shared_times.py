"""Requests at times that callers share: each viewer's clock and screen says another millisecond.

Lists of labels and series are asked about whole minutes, so their answers may hold what began or ended within a
minute beside the caller's own start and end. Instant queries keep their time unless a setting says otherwise.
"""

from collections.abc import Callable
from dataclasses import replace

from gatewayz_metrics.promql.times import format_seconds, parse_whole_ms
from gatewayz_metrics.upstream.request import ApiRequest, Endpoint

_MINUTE_MS = 60_000
# What lists who was there between a start and an end, without saying when.
_LISTS = frozenset([Endpoint.LABELS, Endpoint.LABEL_VALUES, Endpoint.SERIES])


def widen_window(request: ApiRequest) -> ApiRequest:
    """A list's request from the minute in which it starts to the end of that in which it ends; others as they are.

    So is one whose times are none, are finer than a millisecond, or end before they start: the engine has its own
    words for those.
    """
    if request.endpoint not in _LISTS:
        return request
    start, end = (parse_whole_ms(request.get(name) or "") for name in ("start", "end"))
    if start is not None and end is not None and end < start:
        return request
    return _move(_move(request, "start", start, _floor), "end", end, _ceil)


def lower_instant(request: ApiRequest, step_ms: int, horizon_ms: int) -> ApiRequest:
    """An instant query after the horizon at the last multiple of a step, others as they are."""
    at = parse_whole_ms(request.get("time") or "")
    if request.endpoint is not Endpoint.QUERY or at is None or at <= horizon_ms:
        return request
    return _move(request, "time", at, lambda ms: ms // step_ms * step_ms)


def _floor(ms: int) -> int:
    return ms // _MINUTE_MS * _MINUTE_MS


def _ceil(ms: int) -> int:
    return -_floor(-ms)


def _move(request: ApiRequest, name: str, ms: int | None, move: Callable[[int], int]) -> ApiRequest:
    """The request with a parameter at another time; itself where that is the same moment or no time."""
    if ms is None or move(ms) == ms:
        return request
    moved = format_seconds(move(ms))
    return replace(request, parameters=tuple((key, moved if key == name else text) for key, text in request.parameters))
