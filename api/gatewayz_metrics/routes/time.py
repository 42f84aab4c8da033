"""Times as callers write them."""

from datetime import datetime
from math import isfinite

_LATEST = 253402300799.0  # the end of year 9999, the last that RFC 3339 can write


def unix_time(text: str) -> float:
    """Unix seconds from a number or an RFC 3339 time. Raises ValueError with a sentence."""
    try:
        seconds = float(text) if text.isascii() and "_" not in text else float("nan")
    except ValueError:
        seconds = _rfc3339(text)
    if not isfinite(seconds) or not 0 <= seconds <= _LATEST:
        raise ValueError("it takes Unix seconds such as 1735041600 or RFC 3339 such as 2025-12-24T12:00:00Z")
    return round(seconds, 3)


def _rfc3339(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return float("nan")
    # Without an offset a time means another moment in every zone.
    return moment.timestamp() if moment.tzinfo else float("nan")
