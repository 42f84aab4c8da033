"""Grafana's time macros in all three spellings: `$__range`, `${__range}`, `[[__range]]`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gatewayz_metrics.promql.lexer import MACRO, Kind, Token, locate_tokens
from gatewayz_metrics.promql.times import TimeRange, format_duration, format_rfc3339

SCRAPE_MS = 15_000

# Formats that leave a number or a duration as it is.
_NEUTRAL = frozenset(["", "csv", "distributed", "glob", "json", "percentencode", "pipe", "raw", "regex", "text"])


@dataclass(frozen=True, slots=True)
class MacroContext:
    """What the macros stand for: the range asked for with its step, and the scrape interval in milliseconds."""

    range: TimeRange
    scrape_ms: int = SCRAPE_MS

    @property
    def rate_interval_ms(self) -> int:
        """The shortest window in which a rate always finds enough samples."""
        return max(self.range.step_ms + self.scrape_ms, 4 * self.scrape_ms)

    def values(self) -> dict[str, str]:
        """The text of every macro without a date format."""
        range_s = (self.range.length_ms + 500) // 1000
        return {
            "__interval": format_duration(self.range.step_ms),
            "__interval_ms": str(self.range.step_ms),
            "__range": f"{range_s}s",
            "__range_s": str(range_s),
            "__range_ms": str(self.range.length_ms),
            "__rate_interval": format_duration(self.rate_interval_ms),
            "__rate_interval_ms": str(self.rate_interval_ms),
            "__from": str(self.range.start_ms),
            "__to": str(self.range.end_ms),
        }


MACRO_NAMES = frozenset(MacroContext(TimeRange(0, 0, 1)).values())


def expand_macros(promql: str, span: MacroContext) -> str:
    """The text with every known macro replaced, inside strings too; anything else stays as written."""
    values = span.values()
    return MACRO.sub(lambda macro: _value(macro, values) or macro[0], promql)


def is_known(text: str) -> bool:
    """Whether the text is a macro that `expand_macros` replaces."""
    macro = MACRO.fullmatch(text)
    return macro is not None and _value(macro, dict.fromkeys(MACRO_NAMES, "0")) is not None


def may_hold_macro(text: str) -> bool:
    """Whether there is a sign in the text that a macro or variable starts with."""
    return "$" in text or "[[" in text


def find_unresolved(tokens: Iterable[Token]) -> tuple[str, ...]:
    """The macros and variables still in a query as written, but not the group references of label_replace."""
    found: dict[str, None] = {}
    for token, call, _, _ in locate_tokens(tokens):
        if token.kind is Kind.MACRO:
            found[token.text] = None
        elif token.kind is Kind.STRING and call != "label_replace":
            found.update((macro[0], None) for macro in MACRO.finditer(token.text))
    return tuple(found)


def _value(macro: re.Match[str], values: dict[str, str]) -> str | None:
    name = macro["bare"] or macro["braced"] or macro["bracketed"]
    value = values.get(name)
    if value is None:
        return None
    tail = macro["tail"] or ""
    if tail.startswith("."):
        return None
    wanted = macro["format"] or tail[1:]
    if wanted in _NEUTRAL:
        return value
    return _date(int(value), wanted) if name in ("__from", "__to") else None


def _date(ms: int, wanted: str) -> str | None:
    if wanted == "date:seconds":
        return str(ms // 1000)
    return format_rfc3339(ms, "milliseconds") if wanted in ("date", "date:iso") else None
