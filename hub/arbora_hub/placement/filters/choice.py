"""Is the child meant at all? Names, labels, expressions, affinity groups, labels that a spread needs."""

from __future__ import annotations

import numpy as np

from arbora_hub.placement import expressions
from arbora_hub.placement.arrays import Ints
from arbora_hub.placement.matching import chosen, failed_requirement, group_column
from arbora_hub.placement.policy import DO_NOT_SCHEDULE, Request
from arbora_hub.placement.world import World


class Choice:
    """Listed by name or matched by the selector."""

    name = "choice"
    codes = ("NOT_LISTED", "LABELS")
    lasting = True

    def applies(self, request: Request) -> bool:
        """Where members or labels are named."""
        return bool(request.policy.members) or request.policy.selector is not None

    def verdicts(self, world: World) -> Ints:
        """See Filter."""
        policy = world.request.policy
        wrong = 1 if policy.selector is None else 2
        return np.where(chosen(world.snapshot, policy.members, policy.selector), 0, wrong)

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        selector = world.request.policy.selector
        if selector is None:
            return "is not listed"
        return f"does not match {failed_requirement(selector, world.snapshot.place(slot))}"


class Expression:
    """The CEL expression holds."""

    name = "expression"
    codes = ("EXPRESSION", "EXPRESSION_BROKEN")
    lasting = True

    def applies(self, request: Request) -> bool:
        """Where there is one."""
        return bool(request.policy.expression)

    def verdicts(self, world: World) -> Ints:
        """See Filter. Evaluated once per child and change of the child."""
        source = world.request.policy.expression
        found = world.snapshot.column(
            ("expression", source), lambda place, rows: expressions.judge(source, place, rows), np.int64, 0
        )
        if not world.present.any():
            return found
        emptied = world.snapshot.column(
            ("expression, emptied", source),
            lambda place, rows: expressions.judge(source, place, rows, emptied=True),
            np.int64,
            0,
        )
        return np.where(world.present, emptied, found)

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        if code == "EXPRESSION":
            return "does not satisfy the expression"
        return "lacks something that the expression needs, or the expression gives no truth value there"


class Groups:
    """In one of the affinity groups."""

    name = "groups"
    codes = ("NO_GROUP",)
    lasting = True

    def applies(self, request: Request) -> bool:
        """Where there are groups."""
        return bool(request.policy.groups)

    def verdicts(self, world: World) -> Ints:
        """See Filter."""
        inside = np.zeros(world.snapshot.slots, dtype=np.bool_)
        for group in world.request.policy.groups:
            inside |= chosen(world.snapshot, group.members, group.selector)
        return np.where(inside, 0, 1)

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        return f"is in none of the groups {', '.join(group.name for group in world.request.policy.groups)}"


class SpreadLabels:
    """Has every label that a binding spread constraint counts by."""

    name = "spread-labels"
    codes = ("NO_SPREAD_LABEL",)
    lasting = False

    def applies(self, request: Request) -> bool:
        """Where a spread is binding."""
        return any(one.when_unsatisfiable == DO_NOT_SCHEDULE for one in request.policy.spread)

    def verdicts(self, world: World) -> Ints:
        """See Filter."""
        lacking = np.zeros(world.snapshot.slots, dtype=np.bool_)
        for one in world.request.policy.spread:
            if one.when_unsatisfiable == DO_NOT_SCHEDULE:
                lacking |= ~group_column(world.snapshot, one.label)[1]
        return lacking.astype(np.int64)

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        return f"lacks a label to spread over: {', '.join(one.label for one in world.request.policy.spread)}"
