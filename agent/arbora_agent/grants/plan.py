"""What a grant means for what is there: what to make, what to let go of, or why it is refused. Pure.

Everything is decided before anything is made, so that a refusal leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from arbora.errors import Conflict, NotFound
from arbora.manifests.objects import ObjectRef
from arbora_agent.allow_grants import option_for
from arbora_agent.cluster.rights import NAMESPACE, Standing
from arbora_agent.grants import model
from arbora_agent.grants.ledger import Ledger
from arbora_agent.grants.model import AskedRole, Grant, Step
from arbora_agent.grants.objects import STEP_OF, Part, difference, parts_of

_MAX_WORDS = 500
"""Characters of a step's message."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to come from what is there to what was asked for."""

    before: Ledger
    """Written first: it says what is about to be made, and still what is about to go."""
    make: tuple[Part, ...]
    """In this order."""
    parts: tuple[Part, ...]
    """All that the grant uses afterwards."""


def decide(
    grant: Grant,
    found: Mapping[ObjectRef, Standing | None],
    ledger: Ledger,
    named: Callable[[AskedRole], bool],
) -> Plan:
    """found: every object of `parts_of(grant)` as it is. named: whether the allow-list names a role.

    Raises Conflict, NotFound; `field` is the step.
    """
    known = ledger.entries.get(grant.id)
    if known is not None and _account(known.grant) != _account(grant):
        raise Conflict(
            f"the grant {grant.id} is one for {known.grant.namespace}/{known.grant.service_account}",
            hint="Choose another id, or revoke that one first.",
            field=model.ACCOUNT,
        )
    parts = parts_of(grant)
    before = ledger.with_grant(grant, (part.ref for part in parts))
    make = []
    for part in parts:
        standing = found[part.ref]
        if standing is None:
            if part.manifest is None:
                raise NotFound(
                    f"{part.ref} does not exist in this member",
                    hint="Name one that does, or ask for it with its rules.",
                    field=part.step,
                )
            make.append(part)
            before = before.marked(part.ref, "")
            continue
        wrong = difference(part, standing, grant.id)
        if wrong:
            raise Conflict(wrong, hint=_way_out(part), field=part.step)
        # A binding with our label is ours, even if the ledger was lost.
        ours = part.is_binding or ledger.is_ours(part.ref, standing)
        if part.rules and not ours:
            _check_named(AskedRole(part.ref.namespace, part.ref.name), named, part.step)
        before = before.marked(part.ref, standing.uid if ours else None)
    return Plan(before, tuple(make), parts)


def steps(plan: Plan) -> tuple[Step, ...]:
    """One of each type, once the plan was carried out."""
    made = {part.ref for part in plan.make}
    told = []
    for type in model.STEPS:
        refs = [part.ref for part in plan.parts if STEP_OF[part.ref.gvk] == type]
        # A namespace that was there is nobody's news.
        shown = [ref for ref in refs if ref.gvk != NAMESPACE or ref in made]
        told.append(_step(type, shown, made))
    return tuple(told)


def _step(type: str, refs: Iterable[ObjectRef], made: set[ObjectRef]) -> Step:
    said = [f"{ref} {'created' if ref in made else 'found'}" for ref in refs]
    if not said:
        return Step(type, model.NOTHING_ASKED, "nothing of this kind was asked for")
    reason = model.CREATED if any(ref in made for ref in refs) else model.FOUND
    return Step(type, reason, "; ".join(said)[:_MAX_WORDS])


def _account(grant: Grant) -> tuple[str, str]:
    return grant.namespace, grant.service_account


def _check_named(role: AskedRole, named: Callable[[AskedRole], bool], step: str) -> None:
    """A role of somebody else has the rules now, but its owner may widen it once it is bound. Raises Conflict."""
    if not named(role):
        raise Conflict(
            f"{role} exists and was not made for a grant, so its rules may change at any time",
            hint="Choose another name, or name the role without rules and have the member allow it: "
            f"{option_for(role)}.",
            field=step,
        )


def _way_out(part: Part) -> str:
    if part.is_binding:
        return "Delete it in the member, or choose another id for the grant."
    return "Ask for the role without rules, under another name, or with the rules that it has."
