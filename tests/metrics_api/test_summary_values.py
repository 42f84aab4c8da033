"""Values as the summary writes them."""

from decimal import Decimal, localcontext
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


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("137512.34", "137512.34"),
        ("137512.3", "137512.30"),
        ("137512.345", "137512.35"),
        ("0.004999", "0.00"),
        ("-0.001", "0.00"),
        ("-0.005", "-0.01"),
        ("0", "0.00"),
        ("1e+21", "1000000000000000000000.00"),
        ("NaN", None),
        ("+Inf", "+Inf"),
    ],
)
def test_money_is_written_to_the_cent(text: str, cents: str | None) -> None:
    assert format_decimal(text, "money") == cents


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_money_is_never_off_by_more_than_half_a_cent(value: float) -> None:
    text = format_decimal(repr(value), "money")

    assert text is not None
    with localcontext(prec=400):
        assert abs(Decimal(text) - Decimal(repr(value))) <= Decimal("0.005")


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
