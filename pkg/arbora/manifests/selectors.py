"""Label selectors as data, and their one-line form as kubectl writes it.

`gpu=h100,zone!=b,tier in (gold,silver),!spot`. Pure. Matching labels against a selector is the hub's work;
this module only reads and checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from arbora.errors import InvalidInput

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")

_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_SET = re.compile(rf"(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(rf"(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>{_VALUE})")
_COMPARE = re.compile(rf"(?P<key>{_KEY})\s*(?P<op>[<>])\s*(?P<value>-?[0-9]+)")
_EXISTS = re.compile(rf"(?P<op>!?)\s*(?P<key>{_KEY})")
_VALUE_ALONE = re.compile(_VALUE)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One expression over labels. `operator` is one of OPERATORS."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def fault(self) -> str:
        """What is wrong with it, as the end of a sentence; empty if nothing is."""
        if self.operator not in OPERATORS:
            return f"the operator {self.operator!r} is not one of {', '.join(OPERATORS)}"
        if self.operator in ("In", "NotIn"):
            return "" if self.values else f"{self.operator} needs at least one value"
        if self.operator in ("Exists", "DoesNotExist"):
            return f"{self.operator} takes no values" if self.values else ""
        if len(self.values) != 1 or not re.fullmatch(r"-?[0-9]+", self.values[0]):
            return f"{self.operator} needs exactly one integer"
        return ""


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold. Without any it selects everything."""

    match_labels: Mapping[str, str] = field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()


def parse_selector(text: str, field: str = "selector") -> Selector:
    """Read the one-line form. Raises InvalidInput naming the part that is wrong."""
    labels: dict[str, str] = {}
    expressions: list[Requirement] = []
    for part in _split(text):
        if match := _SET.fullmatch(part):
            values = tuple(value.strip() for value in match["values"].split(","))
            operator = "In" if match["op"] == "in" else "NotIn"
            if not all(_VALUE_ALONE.fullmatch(value) for value in values):
                raise _wrong(part, field)
            expressions.append(Requirement(match["key"], operator, values))
        elif match := _EQUAL.fullmatch(part):
            key, value = match["key"], match["value"]
            if match["op"] == "!=":
                expressions.append(Requirement(key, "NotIn", (value,)))
            elif labels.setdefault(key, value) != value:
                raise InvalidInput(f"asks {key} to be {labels[key]!r} and {value!r} at once", field=field)
        elif match := _COMPARE.fullmatch(part):
            expressions.append(Requirement(match["key"], "Gt" if match["op"] == ">" else "Lt", (match["value"],)))
        elif match := _EXISTS.fullmatch(part):
            expressions.append(Requirement(match["key"], "DoesNotExist" if match["op"] else "Exists"))
        else:
            raise _wrong(part, field)
    return Selector(labels, tuple(expressions))


def _wrong(part: str, field: str) -> InvalidInput:
    return InvalidInput(
        f"{part!r} is not a label requirement",
        field=field,
        hint="Write it as kubectl does: gpu=h100,zone!=b,tier in (gold,silver),!spot",
    )


def _split(text: str) -> list[str]:
    """The parts between commas that are not inside parentheses."""
    if not text.strip():
        return []
    return [part.strip() for part in re.split(r",(?![^(]*\))", text)]
