"""The parameters of a Prometheus API request, merged from the URL and the body as Go's FormValue does.

https://pkg.go.dev/net/http#Request.ParseForm: a form body counts for POST alone, its values stand
before the URL's, and a parameter that is read once is the first of them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl

from fastapi import Request

from gatewayz_metrics.errors import LimitExceeded, RequestError
from gatewayz_metrics.http.bodies import read_body
from gatewayz_metrics.upstream.request import Pairs

# Read once by every engine. Of anything else all values go on, as some are lists: match[], file[], extra_filters[].
_READ_ONCE = """
    query start end step time timeout limit lookback_delta stats metric limit_per_metric type exclude_alerts
    group_limit group_next_token nocache dedup partial_response max_source_resolution
"""
_SINGLE = frozenset(_READ_ONCE.split())
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 1000
_FRAME = 2**16


@dataclass(frozen=True, slots=True)
class RequestParams:
    """Parameters in one order, however they came."""

    pairs: Pairs

    def get(self, name: str) -> str | None:
        """The value that counts, or None."""
        return next((value for key, value in self.pairs if key == name), None)

    def without(self, *names: str) -> Pairs:
        """All but some parameters."""
        return tuple(pair for pair in self.pairs if pair[0] not in names)


async def read_params(request: Request, max_query_length: int) -> RequestParams:
    """The merged parameters. Raises LimitExceeded for a body that no allowed query could need."""
    url = request.scope["query_string"].decode("latin-1")
    if request.method != "POST" or not request.headers.get("content-type", "").lower().startswith(_FORM):
        return merge_params(url)
    # Percent-encoding triples a query.
    limit = 3 * max_query_length + _FRAME
    error = LimitExceeded(f"The body has more than {limit:,} bytes", "MAX_QUERY_LENGTH", f"{max_query_length:,}")
    return merge_params(url, (await read_body(request, limit, error)).decode("latin-1"))


def merge_params(url: str, body: str = "") -> RequestParams:
    """The parameters of a query string and a form body, body first."""
    found: dict[str, list[str]] = {}
    for name, value in [*_pairs(body), *_pairs(url)]:
        found.setdefault(name, []).append(value)
    return RequestParams(tuple((name, value) for name in sorted(found) for value in _counting(name, found[name])))


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    try:
        # Bytes that are no UTF-8 reach the engine as they came: it has words for them.
        return parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise RequestError(f"The request has more than {_MOST_FIELDS} parameters.") from None


def _counting(name: str, values: list[str]) -> Iterable[str]:
    if name in _SINGLE:
        return values[:1]
    return sorted(set(values)) if name.endswith("[]") else values


# DOC Times, durations and ranges as the Prometheus API reads them, in whole milliseconds.
#
# https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview. What cannot be read is
# None: the engine gets it as it came and refuses it in its own words.
#


_FLOAT = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?", re.ASCII)
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_UNITS = {"y": 365 * 86_400_000, "w": 7 * 86_400_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,15}}){unit})?" for unit in _UNITS))
# Go's durations end after 292 years, its times far later; beyond that nobody means a time.
_LONGEST_MS = 2**63 // 10**6
_LATEST_MS = 2**53


@dataclass(frozen=True, slots=True)
class StepRange:
    """A range that an engine takes: end not before start, and a step."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def steps(self) -> int:
        """How many steps Prometheus counts: one less than points."""
        return (self.end_ms - self.start_ms) // self.step_ms


def span(form: RequestParams) -> StepRange | None:
    """The range of a range query."""
    start, end, step = moment(form.get("start")), moment(form.get("end")), duration(form.get("step"))
    if start is None or end is None or step is None or end < start or step <= 0:
        return None
    return StepRange(start, end, step)


def moment(text: str | None) -> int | None:
    """A time: Unix seconds or RFC 3339."""
    if text is None:
        return None
    if _FLOAT.fullmatch(text):
        seconds = float(text)
        if abs(seconds) * 1000 > _LATEST_MS:
            return None
        whole = int(seconds)
        # Go rounds the fraction half away from zero.
        fraction = (seconds - whole) * 1000
        return whole * 1000 + int(fraction + (0.5 if fraction >= 0 else -0.5))
    return _rfc3339(text)


def duration(text: str | None) -> int | None:
    """A duration: seconds, or units such as 1h30m."""
    if not text:
        return None
    if _FLOAT.fullmatch(text):
        nanoseconds = float(text) * 1e9
        return int(nanoseconds) // 10**6 if abs(nanoseconds) < 2**63 else None
    match = _DURATION.fullmatch(text)
    if match is None:
        return 0 if text == "0" else None
    ms = sum(int(number) * unit for number, unit in zip(match.groups(), _UNITS.values(), strict=True) if number)
    return ms if ms < _LONGEST_MS else None


def _rfc3339(text: str) -> int | None:
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    clock, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    try:
        seconds = datetime.fromisoformat(clock).replace(tzinfo=timezone(offset)).timestamp()
    except (ValueError, OverflowError):
        return None
    return int(seconds) * 1000 + int((fraction or "").ljust(3, "0")[:3])
