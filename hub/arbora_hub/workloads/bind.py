"""From a choice of children to what has to change: who gets the workload, who gives it up. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def bind(
    chosen: Iterable[str], generation: int, bound: Mapping[str, tuple[int, bool]], *, deleting: bool
) -> Binding:
    """Decide.

    bound: for each child that has a part of the workload, (generation, withdrawn). A part that is being
    withdrawn from a child that is chosen again is assigned again.
    """
    wanted = frozenset() if deleting else frozenset(chosen)
    assign = tuple(
        sorted(name for name in wanted if name not in bound or bound[name][1] or bound[name][0] != generation)
    )
    withdraw = tuple(
        sorted(name for name, (_, withdrawn) in bound.items() if name not in wanted and not withdrawn)
    )
    return Binding(assign, withdraw)
