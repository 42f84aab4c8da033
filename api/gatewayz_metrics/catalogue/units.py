"""The catalogue's units as Grafana's unit ids.

https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts
"""

import re

_NOUN = re.compile("[A-Za-z ]+")
_UNITS = {
    "seconds": "s",
    "ms": "ms",
    "ratio": "percentunit",
    "percent": "percent",
    "bytes": "bytes",
    "USD credits": "currencyUSD",
    "USD": "currencyUSD",
    "requests/s": "reqps",
    "requests/min": "reqpm",
}
_PER_SECOND = {"requests": "reqps", "bytes": "Bps"}


def grafana_unit(unit: str, function: str = "raw", family_type: str = "") -> str:
    """The unit of what a function makes of a metric; plain numbers where Grafana knows none."""
    if family_type in ("histogram", "summary") and function in ("rate", "increase"):
        # What grows is the number of observations, whatever is observed.
        return "ops" if function == "rate" else "short"
    if function == "rate":
        # A name that is no word would be read as part of the unit, such as a colon.
        return _PER_SECOND.get(unit, f"suffix: {unit if _NOUN.fullmatch(unit) else ''}/s")
    return _UNITS.get(unit, "short")
