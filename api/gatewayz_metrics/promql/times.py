"""What the numbers, durations and times of a query and of its request amount to."""

import re
from datetime import UTC, datetime, timedelta, timezone
from math import modf

_UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART = re.compile(r"([0-9]+)([a-z]+)")
_OCTAL = re.compile(r"0_?[0-7_]+")

_DECIMAL = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_LATEST_MS = 2**53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
        return sum(int(count) * _UNITS[unit] for count, unit in parts)
    return round(parse_number(text) * 1000)


def format_duration(ms: int) -> str:
    """Milliseconds as PromQL writes them, in the largest unit that loses nothing."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % _UNITS[unit] == 0:
            return f"{ms // _UNITS[unit]}{unit}"
    return f"{ms}ms"
