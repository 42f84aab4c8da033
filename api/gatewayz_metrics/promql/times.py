"""What the numbers and durations of a query amount to."""

import re

_UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
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
        return sum(int(count) * _UNITS[unit] for count, unit in parts)
    return round(parse_number(text) * 1000)


def format_duration(ms: int) -> str:
    """Milliseconds as PromQL writes them, in the largest unit that loses nothing."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % _UNITS[unit] == 0:
            return f"{ms // _UNITS[unit]}{unit}"
    return f"{ms}ms"
