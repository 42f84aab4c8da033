"""Values as people and widgets read them."""

from decimal import Context, Decimal

from prometheus_client.utils import floatToGoString

from gatewayz_metrics.catalogue.model import Format

_FOUR_DIGITS = Context(prec=4)


def decimal(text: str, form: Format) -> str | None:
    """An engine's value as a decimal without exponent; None for NaN, `+Inf` and `-Inf` as they are.

    `exact` keeps every digit of a count, `rounded` keeps four significant ones.
    """
    value = Decimal(text)
    if value.is_nan():
        return None
    if value.is_infinite():
        return "+Inf" if value > 0 else "-Inf"
    if form == "rounded":
        value = _FOUR_DIGITS.create_decimal(value)
    if not value:
        return "0"
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def go_float(value: float) -> str:
    """A float as Go and OpenMetrics write it: `1.0`, `0.005`, `1e+06`."""
    return str(floatToGoString(value))
