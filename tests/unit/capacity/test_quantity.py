"""Kubernetes quantities are read exactly."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.capacity.quantity import MEBI, MILLI, ceiling, floor, parse
from arbora.errors import InvalidInput

SUFFIXES = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("500m", Fraction(1, 2)),
        ("1.5Gi", 3 * 2**29),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("+3", 3),
        ("-3", -3),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("12E-1", Fraction(12, 10)),
        ("100n", Fraction(1, 10**7)),
        (8, 8),
        (0.5, Fraction(1, 2)),
    ],
)
def test_every_form_has_its_exact_value(text: str | int | float, value: Fraction | int) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1KI", "1K", "1mi", "ten", "1e", "1e+", "--1", "1.2.3", "0x10", "1_000", "١", "1" * 65],
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a quantity"):
        parse(text)


@given(st.integers(-(10**15), 10**15), st.integers(0, 999), st.sampled_from(sorted(SUFFIXES)))
def test_a_decimal_with_a_suffix_is_number_times_suffix(whole: int, thousandths: int, suffix: str) -> None:
    sign = -1 if whole < 0 else 1
    number = whole + sign * Fraction(thousandths, 1000)
    assert parse(f"{whole}.{thousandths:03d}{suffix}") == number * SUFFIXES[suffix]


@given(st.fractions(min_value=0, max_value=10**12))
def test_what_is_asked_rounds_up_and_what_is_free_rounds_down(value: Fraction) -> None:
    for unit in (1, MILLI, MEBI):
        assert floor(value, unit) * unit <= value <= ceiling(value, unit) * unit
        assert ceiling(value, unit) - floor(value, unit) in (0, 1)


@pytest.mark.parametrize("value", [[], {}, None, True, b"1"])
def test_what_is_neither_text_nor_number_is_refused_and_never_crashes(value: object) -> None:
    with pytest.raises(InvalidInput, match="not a "):
        parse(value)
