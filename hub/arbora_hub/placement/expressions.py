"""CEL expressions over one child, compiled once. Pure.

    name, path        text
    labels            map of text
    properties        map, what the child reported beside labels
    kinds             list of API kinds
    gpus              list of {vendor, product, mig, sharing, total, free}

    labels.tier == "gold" && gpus.exists(g, g.product == "H100" && g.free >= 8)

A child for which an expression can't be evaluated (a label that it lacks) does not match. The language has no
loops but macros over lists; their number and the length are limited, so that an expression can't stall a hub.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cel

from arbora.errors import InvalidInput
from arbora_hub.placement.rows import Place, Row

MAX_LENGTH = 1024
MAX_MACROS = 3
VARIABLES = ("name", "path", "labels", "properties", "kinds", "gpus")

HOLDS, FAILS, BROKEN = 0, 1, 2
"""What an expression says of a child; BROKEN: it can't be evaluated there, or gives no truth value."""

_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter)\s*\(\s*(\w*)")


@lru_cache(maxsize=256)
def program_of(source: str) -> cel.Program:
    """Compile. Raises ValueError where the text is no CEL."""
    return cel.compile(source)


def check_expression(source: str, field: str) -> None:
    """Raises InvalidInput naming the field if the expression can't be used."""
    if len(source) > MAX_LENGTH:
        raise InvalidInput(f"has {len(source)} characters, {MAX_LENGTH} at most", field=field)
    bound = _MACRO.findall(source)
    if len(bound) > MAX_MACROS:
        raise InvalidInput(
            f"walks over lists more than {MAX_MACROS} times", field=field, hint="Use labels to select by."
        )
    try:
        program = program_of(source)
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise InvalidInput(f"is not a CEL expression: {first}", field=field) from error
    unknown = sorted(set(program.variables()) - {*VARIABLES, *bound})
    if unknown:
        raise InvalidInput(
            f"uses {unknown[0]!r}, which is not known", field=field, hint=f"Use {', '.join(VARIABLES)}."
        )
    if isinstance(outcome := _outcome(program, _facts(Place("sample"), ())), Exception):
        return  # a sample without labels may well fail; a child with them need not
    if not isinstance(outcome, bool):
        raise InvalidInput("gives no truth value", field=field, hint='Such as labels.tier == "gold".')


def judge(source: str, place: Place, rows: Sequence[Row], *, emptied: bool = False) -> int:
    """HOLDS, FAILS or BROKEN for one child. Raises ValueError where the text is no CEL.

    emptied: as if all of its GPUs were free, for work that is there and must not leave over GPUs that it took.
    """
    outcome = _outcome(program_of(source), _facts(place, rows, emptied=emptied))
    if not isinstance(outcome, bool):
        return BROKEN
    return HOLDS if outcome else FAILS


def _outcome(program: cel.Program, facts: dict[str, Any]) -> object:
    try:
        return program.execute(facts)
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        return error  # what the library raises when an expression meets data that it does not suit


def _facts(place: Place, rows: Sequence[Row], *, emptied: bool = False) -> dict[str, Any]:
    return {
        "name": place.name,
        "path": place.path,
        "labels": dict(place.labels),
        "properties": dict(place.properties),
        "kinds": sorted(place.kinds or ()),
        "gpus": [
            {
                "vendor": row.gpu_class.vendor,
                "product": row.gpu_class.product,
                "mig": row.gpu_class.mig_profile,
                "sharing": row.gpu_class.sharing,
                "total": row.sketch.total,
                "free": row.sketch.total if emptied else row.sketch.free,
            }
            for row in rows
            if row.gpu_class is not None
        ],
    }
