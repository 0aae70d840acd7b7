"""Kubernetes quantities (`500m`, `1.5Gi`, `2e3`), exactly.

For: reading what nodes offer and what pods ask for. No I/O, no floats. A quantity is a number with either a
decimal suffix, a binary suffix or a decimal exponent; `1E` is exa and `1E3` an exponent.
Source: k8s.io/apimachinery/pkg/api/resource, Quantity.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from arbora.errors import InvalidInput

_FORM = re.compile(
    r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE])|[eE]([+-]?[0-9]{1,3}))?"
)
_SUFFIXES: dict[str | None, Fraction] = {
    None: Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", start=1)},
    **{
        suffix: Fraction(1024**power)
        for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)
    },
}
MAX_CHARACTERS = 64
"""Longer texts are refused; the API server's own numbers have at most a third of that."""


def parse(text: object) -> Fraction:
    """The exact value of a quantity, in its base unit (cores, bytes, devices). Raises InvalidInput."""
    # YAML gives plain numbers as int or float; a float's shortest text is what was written.
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise InvalidInput(
            f"a quantity is a text or a number, not a {type(text).__name__}",
            hint="Use a number such as 500m, 2, 1.5Gi or 1e3.",
        )
    return _parse(str(text))


@lru_cache(maxsize=2048)
def _parse(written: str) -> Fraction:
    match = _FORM.fullmatch(written) if len(written) <= MAX_CHARACTERS else None
    if match is None:
        raise InvalidInput(
            f"{written[:MAX_CHARACTERS]!r} is not a quantity", hint="Use a number such as 500m, 2, 1.5Gi or 1e3."
        )
    number, suffix, exponent = match.groups()
    scale = Fraction(10) ** int(exponent) if exponent else _SUFFIXES[suffix]
    return Fraction(number) * scale


def ceiling(value: Fraction, unit: Fraction | int = 1) -> int:
    """`value` in whole `unit`s, rounded up, as Kubernetes rounds what is asked for."""
    return -(-value // unit)


def floor(value: Fraction, unit: Fraction | int = 1) -> int:
    """`value` in whole `unit`s, rounded down, for what is free."""
    return value // unit


MILLI = Fraction(1, 1000)
"""Unit of CPU figures."""
MEBI = 1024**2
"""Unit of memory figures."""
