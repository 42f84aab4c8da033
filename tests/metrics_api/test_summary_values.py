"""Values as the summary writes them."""

from decimal import Decimal
from math import isfinite

import pytest
from gatewayz_metrics.metrics_api.summary import format_decimal
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "exact", "rounded"),
    [
        ("0", "0", "0"),
        ("-0", "0", "0"),
        ("12345", "12345", "12340"),
        ("12355", "12355", "12360"),
        ("9007199254740993", "9007199254740993", "9007000000000000"),
        ("1e+21", "1000000000000000000000", "1000000000000000000000"),
        ("2.5000", "2.5", "2.5"),
        ("99.996", "99.996", "100"),
        ("1.23456e-07", "0.000000123456", "0.0000001235"),
        ("-3.14159", "-3.14159", "-3.142"),
        ("NaN", None, None),
        ("+Inf", "+Inf", "+Inf"),
        ("-Inf", "-Inf", "-Inf"),
    ],
)
def test_known_values(text: str, exact: str | None, rounded: str | None) -> None:
    assert format_decimal(text, "exact") == exact
    assert format_decimal(text, "rounded") == rounded


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_exact_loses_nothing_and_has_no_exponent(value: float) -> None:
    text = format_decimal(repr(value), "exact")

    assert text is not None
    assert Decimal(text) == Decimal(repr(value))
    assert "e" not in text.lower()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rounded_keeps_four_digits(value: float) -> None:
    text = format_decimal(repr(value), "rounded")

    assert text is not None
    assert "e" not in text.lower()
    assert len(Decimal(text).normalize().as_tuple().digits) <= 4
    if isfinite(float(text)):
        assert float(text) == pytest.approx(value, rel=5.0001e-4)
