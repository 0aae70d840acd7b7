"""From a choice of children to what has to change: who gets the workload, who gives it up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Binding:
    """What has to change."""

    assign: tuple[str, ...]
    """Children that are to run the present generation and don't know it yet."""
    withdraw: tuple[str, ...]
    """Children that are to delete it and don't know it yet."""

    def __bool__(self) -> bool:
        return bool(self.assign or self.withdraw)


@dataclass(frozen=True, slots=True)
class Part:
    """What a child was last told."""

    generation: int
    replicas: int = 1
    withdrawn: bool = False
    copies: int = 0


def bind(
    chosen: Mapping[str, int],
    generation: int,
    bound: Mapping[str, Part],
    *,
    deleting: bool,
    copies: Mapping[str, int] | None = None,
) -> Binding:
    """Decide.

    chosen: child -> units that it is to run. copies: child hub -> members that are to run all of it. A part that
    is being withdrawn from a child that is chosen again is assigned again.
    """
    wanted = {} if deleting else chosen
    parts = {name: Part(generation, count, copies=(copies or {}).get(name, 0)) for name, count in wanted.items()}
    assign = tuple(sorted(name for name, part in parts.items() if bound.get(name) != part))
    withdraw = tuple(sorted(name for name, part in bound.items() if name not in wanted and not part.withdrawn))
    return Binding(assign, withdraw)
