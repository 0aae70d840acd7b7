"""What a plain YAML word means: the table of Kubernetes (go-yaml v2), not the one of PyYAML.

The two differ where it hurts: `22:22` is a number for PyYAML and a text for Kubernetes, `1e3` the other way
round, and `y` is a bool for Kubernetes only. A manifest must mean the same here as to kubectl, so this table
is ours. Pure. Used by `strict_yaml.py` for reading, and for writing to know which texts need quotes.
"""

from __future__ import annotations

import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

MIN_INTEGER = -(2**63)
MAX_INTEGER = 2**64 - 1
"""What a Kubernetes API server can hold: int64 and uint64."""


def resolve(word: str) -> Scalar:
    """The value of the plain, untagged scalar `word`. Raises ValueError for what JSON has no place for."""
    if word in _WORDS:
        return _WORDS[word]
    if word[0] not in "+-.0123456789":
        return word
    if _NOT_FINITE.fullmatch(word):
        raise ValueError("is not a finite number")
    digits = word.replace("_", "")
    if _INTEGER.fullmatch(digits):
        return _integer(digits)
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        if number in (float("inf"), float("-inf")):
            raise ValueError("is not a finite number")
        return number
    return word


def needs_quotes(text: str) -> bool:
    """Whether `text`, written plain, would be read as something else than this text."""
    try:
        return not isinstance(resolve(text), str)
    except ValueError:
        return True


def _integer(digits: str) -> int:
    """An integer as Go's strconv.ParseInt with base 0 reads it: a leading 0 means octal."""
    if len(digits) > 80:  # 64 binary digits, a sign and a prefix; keeps the conversion cheap
        raise ValueError("is a number outside of 64 bits")
    sign = -1 if digits[0] == "-" else 1
    body = digits.lstrip("+-").lower()
    prefixed = body.startswith(("0x", "0b", "0o"))
    number = sign * int(body, 0 if prefixed else 8 if body.startswith("0") else 10)
    if not MIN_INTEGER <= number <= MAX_INTEGER:
        raise ValueError("is a number outside of 64 bits")
    return number
