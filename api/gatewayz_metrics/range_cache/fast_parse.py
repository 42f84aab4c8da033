"""A matrix taken apart without decoding it, when it is written exactly as Prometheus writes one.

Twice as fast as decoding, and the text of every point stays as it was. Whatever looks different in
any way is left to the decoder: Unlike stands for that, never for a verdict. Splitting at `,"values":[[` is
safe, as inside a string the quotes would be escaped.
"""

from array import array
from collections.abc import Iterator
from itertools import accumulate
from operator import lt
from typing import Any

import orjson

from gatewayz_metrics.promql.times import format_seconds
from gatewayz_metrics.range_cache.points import PointColumn

_HEAD = b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":'
_EMPTY = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
_TAIL = b"]}}"
_NEXT = b',{"metric":'
_VALUES = b',"values":[['
_OF_FLOATS = b'0123456789.,"[]+-eINanf'

Scanned = tuple[bytes, dict[str, Any], PointColumn]


class UnexpectedLayout(Exception):  # a sign to the caller, never seen by anybody else
    """The text is not written as Prometheus writes it."""


def format_timestamp(time_ms: int) -> bytes:
    """The beginning of a point as Prometheus writes it: seconds, with three decimals when there are any."""
    if time_ms < 0:
        return format_seconds(time_ms).encode() + b',"'
    # Twice as fast as the line above, and needed for every point that is asked for.
    whole, ms = divmod(time_ms, 1000)
    return b'%d.%03d,"' % (whole, ms) if ms else b'%d,"' % whole


def scan_matrix(body: bytes, places: dict[bytes, int]) -> Iterator[Scanned]:
    """Each series as the text and the content of its labels and a column; `places` tells where a stamp stands.

    Raises Unlike, possibly after some series: then none of them counts.
    """
    body = body.rstrip()
    if body == _EMPTY:
        return
    if not body.startswith(_HEAD):
        raise UnexpectedLayout
    metric, *rest = body[len(_HEAD) :].split(_VALUES)
    if not rest:
        raise UnexpectedLayout
    for number, chunk in enumerate(rest, 1):
        values, end, follows = chunk.partition(b"]]}")
        is_last = number == len(rest)
        labels, column = _scan_labels(metric), _scan_points(values, places)
        if labels is None or column is None or not end or (follows == _TAIL) is not is_last:
            raise UnexpectedLayout
        yield metric, labels, column
        if not is_last and not follows.startswith(_NEXT):
            raise UnexpectedLayout
        metric = follows[len(_NEXT) :]


def _scan_labels(metric: bytes) -> dict[str, Any] | None:
    try:
        labels = orjson.loads(metric)
    except orjson.JSONDecodeError:
        return None
    return labels if isinstance(labels, dict) else None


def _scan_points(values: bytes, places: dict[bytes, int]) -> PointColumn | None:
    points = values.split(b"],[")
    # Where the times are of one length, slices do; tuples of halves would keep the garbage collector busy.
    length = points[0].find(b'"') + 1
    at = [places.get(point[:length], -1) for point in points]
    if (
        values.translate(None, _OF_FLOATS)
        or values.count(b'"') != 2 * len(points)
        or values.count(b'"],[') != len(points) - 1
        or not values.endswith(b'"')
        or -1 in at
        or not all(map(lt, at, at[1:]))
    ):
        return None
    ends = list(accumulate([len(point) + 3 for point in points]))
    return PointColumn(array("q", at), array("I", ends), b"[%b]," % values)
