"""Times, durations and ranges, read and written in one way on every surface, in whole milliseconds.

A time is Unix seconds or RFC 3339, a duration is seconds or units such as `1h30m`, both rounded as Prometheus does,
https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview. The literals inside of a query are another
grammar with the same units: `010` is eight seconds there.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from math import modf

# From the largest to the smallest, which is also the order in which they may follow one another.
_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}

_DECIMAL = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
# Below a millisecond engines round in different ways, so nothing is said about such times.
_WHOLE_MS = re.compile(r"[^.eE]*(?:\.[0-9]{0,3}(?![0-9])[^.eE]*)?")
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,15}}){unit})?" for unit in _UNITS_MS))

# Go's durations end after 292 years, its times far later; beyond that nobody means a time.
_LONGEST_NS = 2**63
_LATEST_MS = 2**53

# Years 1 to 9999: what a calendar can show, here and in RFC 3339.
CALENDAR_BEGIN_MS = -62_135_596_800_000
CALENDAR_END_MS = 253_402_300_799_999

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The times of a range query: start, start + step, and so on up to the end, which need not be one of them."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def length_ms(self) -> int:
        """From start to end."""
        return self.end_ms - self.start_ms

    @property
    def steps(self) -> int:
        """How many steps Prometheus counts: one less than points."""
        return self.length_ms // self.step_ms

    @property
    def last_ms(self) -> int:
        """The last of the times."""
        return self.start_ms + self.steps * self.step_ms


def parse_time(text: str) -> int | None:
    """Unix seconds or RFC 3339 with an offset as milliseconds since 1970; None for anything else.

    Negative is before 1970. What has no date, as it is beyond the year 9999, is a time to Prometheus all the same.
    """
    if not _DECIMAL.fullmatch(text):
        return parse_rfc3339(text)
    seconds = float(text)
    if abs(seconds) * 1000 > _LATEST_MS:
        return None
    fraction, whole = modf(seconds)
    # Go rounds the fraction half away from zero.
    return int(whole) * 1000 + int(fraction * 1000 + (0.5 if fraction >= 0 else -0.5))


def parse_whole_ms(text: str) -> int | None:
    """The same; None also where a millisecond is too coarse for it."""
    return parse_time(text) if _WHOLE_MS.fullmatch(text) else None


def parse_rfc3339(text: str) -> int | None:
    """RFC 3339 as milliseconds since 1970, further digits cut off; None for anything else.

    The offset has to be there: without one a time is another moment in every zone.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    clock, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    try:
        since = datetime.fromisoformat(clock).replace(tzinfo=timezone(offset)) - _EPOCH
    except ValueError:
        return None
    return since // timedelta(milliseconds=1) + int((fraction or "").ljust(3, "0")[:3])


def require_date(ms: int | None, text: str, numbers: str) -> int:
    """The time read from a text, if it has a date. Raises ValueError with a clause that says what helps.

    `numbers` says what numbers count on the surface, with an example.
    """
    if ms is not None and CALENDAR_BEGIN_MS <= ms <= CALENDAR_END_MS:
        return ms
    if ms is not None:
        raise ValueError("it has no date within the years 1 to 9999")
    if _RFC3339.fullmatch(f"{text}Z"):
        raise ValueError("it lacks an offset from UTC; add Z, or one such as +01:00")
    raise ValueError(f"it takes {numbers}, or RFC 3339 such as 2025-12-24T12:00:00Z")


def parse_duration(text: str) -> int | None:
    """Seconds, or units from large to small (`1h30m`), as milliseconds; None for anything else.

    The units are those of https://pkg.go.dev/github.com/prometheus/common/model#ParseDuration.
    """
    if _DECIMAL.fullmatch(text):
        nanoseconds = float(text) * 1e9
        return int(nanoseconds) // 10**6 if 0 <= nanoseconds < _LONGEST_NS else None
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        return None
    ms = sum(int(count) * unit for count, unit in zip(match.groups(), _UNITS_MS.values(), strict=True) if count)
    return ms if ms < _LONGEST_NS // 10**6 else None


def format_seconds(ms: int) -> str:
    """Milliseconds as decimal seconds, with decimals only where there are any, as Prometheus writes its times."""
    sign = "-" if ms < 0 else ""
    whole, rest = divmod(abs(ms), 1000)
    return f"{sign}{whole}.{rest:03}" if rest else f"{sign}{whole}"


def to_datetime(ms: int) -> datetime:
    """A time of the calendar as a datetime; `fromtimestamp` takes none before 1970 on some systems."""
    return _EPOCH + timedelta(milliseconds=ms)


def format_rfc3339(ms: int, timespec: str = "seconds") -> str:
    """A time of the calendar as RFC 3339 in UTC, cut off after `seconds` or `milliseconds`."""
    return to_datetime(ms).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def format_duration(ms: int) -> str:
    """Milliseconds as PromQL writes them, in the largest unit that loses nothing."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % _UNITS_MS[unit] == 0:
            return f"{ms // _UNITS_MS[unit]}{unit}"
    return f"{ms}ms"


# Literals of PromQL.

_PART = re.compile(r"([0-9]+)([a-z]+)")
_OCTAL = re.compile(r"0_?[0-7_]+")


def parse_number(text: str) -> float:
    """A number token as Go reads it: `010` is eight, `0x1F` is 31."""
    if text[:2] in ("0x", "0X"):
        return float(int(text, 16))
    if _OCTAL.fullmatch(text):
        return float(int(text.replace("_", ""), 8))
    return float(text)


def parse_literal_ms(text: str) -> int:
    """A duration token (`1h30m`) or a number of seconds (`90`, `1.5`) in milliseconds."""
    if parts := _PART.findall(text) if text[-1:] in "ymwdhs" else []:
        return sum(int(count) * _UNITS_MS[unit] for count, unit in parts)
    return round(parse_number(text) * 1000)
