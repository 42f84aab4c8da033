"""Times, durations and ranges as the Prometheus API reads them, in whole milliseconds.

https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview. What cannot be read is
None: the engine gets it as it came and refuses it in its own words.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from gatewayz_metrics.routes.form import Form

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
class Span:
    """A range that an engine takes: end not before start, and a step."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def steps(self) -> int:
        """How many steps Prometheus counts: one less than points."""
        return (self.end_ms - self.start_ms) // self.step_ms


def span(form: Form) -> Span | None:
    """The range of a range query."""
    start, end, step = moment(form.get("start")), moment(form.get("end")), duration(form.get("step"))
    if start is None or end is None or step is None or end < start or step <= 0:
        return None
    return Span(start, end, step)


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
