"""The scheduler: one request in, one decision out. Pure; the same inputs give the same bytes.

    request, snapshot, what is placed, what is reserved, now
      -> filters (reviewed) -> scores (rated) -> order -> affinity groups, selection, division (planned)
      -> Decision: who runs how much, what waits and why, what would change that

A decision reserves nothing by itself: whoever stores it then calls `Reservations.hold` with `added`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from arbora_hub.placement.arrays import Bools, Ints
from arbora_hub.placement.candidates import NOWHERE, Candidates, Plan
from arbora_hub.placement.explain import Explanation, Review, explained, reviewed
from arbora_hub.placement.filters.hardware import unit
from arbora_hub.placement.matching import chosen, group_column, listed, matching
from arbora_hub.placement.policy import Request, StaticWeight
from arbora_hub.placement.ranking import ordered, rated
from arbora_hub.placement.registry import FILTERS
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.rows import PART_MARK
from arbora_hub.placement.snapshot import Snapshot
from arbora_hub.placement.steady import planned
from arbora_hub.placement.subtrees import additions, capped, copies, shares, standing
from arbora_hub.placement.words import HELPS, WORDS
from arbora_hub.placement.world import World

TOP = 3
"""Children of each sort that a usual decision explains."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a workload runs."""

    uid: str
    assignments: tuple[tuple[str, int], ...]
    """(child, replicas), by name: all that it is to run there, not only what is new."""
    added: tuple[tuple[str, int], ...]
    """(place, replicas) beyond what it had: what has to be reserved."""
    pending: int
    """Replicas without a place."""
    reasons: tuple[str, ...]
    """Why some are pending or a named child is left out; empty if all is well."""
    explanation: Explanation
    wake: str
    """What change would help, as a sentence; empty if nothing is pending."""
    copies: tuple[tuple[str, int], ...] = ()
    """(child hub, members) where every chosen member runs all of it and their number is limited."""

    @property
    def sentence(self) -> str:
        """The decision in one sentence."""
        count = len(self.assignments)
        placed = f"placed on {count} member{'s' * (count != 1)}" if count else "placed nowhere"
        waiting = f", {self.pending} replica{'s' * (self.pending != 1)} pending" if self.pending else ""
        return f"{placed}{waiting}" + (f": {'; '.join(self.reasons)}" if self.reasons else "")


def decide(
    request: Request,
    snapshot: Snapshot,
    previous: Mapping[str, int],
    reservations: Reservations,
    now: float,
    *,
    top: int | None = TOP,
) -> Decision:
    """Decide one request, which must have been validated.

    previous: child -> replicas, as stored. now: seconds on the clock of taints. top: how many children of each
    sort are explained; None: all.
    """
    world = World(request, snapshot, previous, reservations, now)
    review = reviewed(world, FILTERS)
    ranking = rated(world)
    held, stays = standing(world, review.stays)
    room, held, stays = capped(world, np.where(review.new, world.room.pods, 0), held, stays)
    order = ordered(world, ranking, np.flatnonzero(review.new | stays))
    if request.rebalance:
        held = np.zeros_like(held)
    among = Candidates(
        slots=order,
        room=room[order],
        held=held[order],
        present=stays[order],
        ties=world.ties[order],
    )
    if request.rebalance:
        # a child that may keep what it has but takes nothing new keeps no claim on it either
        usable = review.new[order]
        among = among.only(usable)
        among = Candidates(among.slots, among.room, among.held, np.zeros_like(among.present), among.ties)
    plan = _over_groups(world, among)
    replicas = np.zeros(snapshot.slots, dtype=np.int64)
    replicas[plan.slots] = plan.replicas
    given = {
        snapshot.place(slot).name: count
        for slot, count in sorted(zip(plan.slots.tolist(), plan.replicas.tolist(), strict=True))
    }
    several = copies(world, given)
    if several:
        more = sum(count for _, count in several) - sum(PART_MARK in place for place in given)
        more = max(0, more) if request.policy.mode == "duplicate" else 0
        plan = replace(plan, pending=max(0, plan.pending - more * request.demand.replicas))
    explanation = explained(world, review, ranking, order, replicas, top)
    return Decision(
        request.uid,
        shares(request, given),
        additions(world, given),
        plan.pending,
        _why(world, review, plan, explanation),
        explanation,
        _wake(request, plan, explanation) if plan.pending else "",
        several,
    )


def admits(request: Request, snapshot: Snapshot, reservations: Reservations, now: float) -> Bools:
    """Per slot, whether a child could take some of the request now."""
    return reviewed(World(request, snapshot, {}, reservations, now), FILTERS).new


# affinity groups


def _over_groups(world: World, among: Candidates) -> Plan:
    """One plan over all candidates, or over the affinity groups in order."""
    policy = world.request.policy
    if not policy.groups:
        return _plan(world, world.request, among)
    left = np.ones(len(among), dtype=np.bool_)
    tiers: list[Candidates] = []
    for group in policy.groups:
        inside = chosen(world.snapshot, group.members, group.selector)[among.slots] & left
        left &= ~inside
        tiers.append(among.only(inside))
    if policy.overflow:
        return _overflowing(world, tiers)
    # what is placed stays in the group where most of it is
    occupied = [int(tier.held.sum()) + int(tier.present.sum()) for tier in tiers]
    if max(occupied) > 0:
        return _plan(world, world.request, tiers[occupied.index(max(occupied))])
    best: Plan | None = None
    for tier in tiers:
        plan = _plan(world, world.request, tier)
        if plan.pending == 0 and len(plan.slots):
            return plan
        if best is None or plan.placed > best.placed:
            best = plan
    return best if best is not None else _plan(world, world.request, among)


def _overflowing(world: World, tiers: list[Candidates]) -> Plan:
    """Plan over the first group, then over the first two, and so on; what one plan gave stays in the next.

    What later groups have already stays there; they take no more before it is their turn.
    """
    request = world.request
    relaxed = _without_least(request)
    together, plan = tiers[0], _plan(world, relaxed, _with_standing(tiers[0], tiers[1:]))
    for index, tier in enumerate(tiers[1:], 2):
        if plan.pending == 0 and len(plan.slots):
            break
        given = np.zeros(world.snapshot.slots, dtype=np.int64)
        given[plan.slots] = plan.replicas
        got = given[together.slots]
        # filled as far as it goes, an earlier group gives nothing more: only the new group has room
        room = together.room if request.policy.mode == "duplicate" else np.zeros_like(together.room)
        filled = Candidates(together.slots, room, got, together.present | (got > 0), together.ties)
        together = filled.and_then(tier)
        plan = _plan(world, relaxed, _with_standing(together, tiers[index:]))
    partial = relaxed.demand.gang == request.demand.gang and (
        request.policy.division is None or request.policy.division.partial
    )
    if (plan.pending and not partial) or len(plan.slots) < request.policy.minimum:
        everything = tiers[0]
        for tier in tiers[1:]:
            everything = everything.and_then(tier)
        kept = everything.only(everything.held > 0)  # what nothing drives out
        missing = request.demand.replicas - int(kept.held.sum())
        return Plan(kept.slots, kept.held, missing, ("all groups together can't take all of it",))
    return plan


def _with_standing(among: Candidates, later: Sequence[Candidates]) -> Candidates:
    """The candidates, and behind them those of later groups that have the workload, without room for more."""
    for tier in later:
        there = tier.only(tier.present)
        among = among.and_then(replace(there, room=np.zeros_like(there.room)))
    return among


def _without_least(request: Request) -> Request:
    """The same request, content with any part: what is the least is only known after the last group."""
    policy, demand = request.policy, request.demand
    division = None if policy.division is None else replace(policy.division, partial=True)
    return replace(
        request,
        policy=replace(policy, division=division, minimum=0),
        demand=demand if demand.whole else replace(demand, gang=False),
    )


def _plan(world: World, request: Request, among: Candidates) -> Plan:
    if len(among) == 0:
        return Plan(NOWHERE, NOWHERE, request.demand.replicas)
    weights = _weights(world, among.slots) if request.policy.mode == "weighted" else np.ones_like(among.slots)

    def values_of(label: str, slots: Ints) -> Ints:
        return group_column(world.snapshot, label)[0][slots]

    return planned(request, among, weights, values_of)


def _weights(world: World, slots: Ints) -> Ints:
    """The largest weight of the rules that name a child; if none weighs anything, all weigh the same."""
    weight = np.zeros(world.snapshot.slots, dtype=np.int64)
    division = world.request.policy.division
    for rule in division.weights if division is not None else ():
        weight = np.maximum(weight, np.where(_named(world.snapshot, rule), rule.weight, 0))
    found = weight[slots]
    return found if found.any() else np.ones(len(slots), dtype=np.int64)


def _named(snapshot: Snapshot, rule: StaticWeight) -> Bools:
    if rule.selector is not None:
        return matching(snapshot, rule.selector)
    return listed(snapshot, (rule.member,)) if rule.member else snapshot.alive()


# reasons


def _why(world: World, review: Review, plan: Plan, explanation: Explanation) -> tuple[str, ...]:
    """Sentences on what is pending, and on listed children that are left out."""
    reasons = list(plan.faults)
    given = set(plan.slots.tolist())
    for child in world.request.policy.members:
        slots = world.snapshot.slots_of(child)
        if not slots:
            reasons.append(f"{child} is not a member of this hub")
        elif not given.intersection(slots) and not review.new[list(slots)].any():
            slot = slots[0]
            one, verdicts = next(each for each in review.verdicts if each[1][slot] > 0)
            reasons.append(f"{child} {one.sentence(world, slot, one.codes[int(verdicts[slot]) - 1])}")
    if plan.pending and not plan.faults:
        if explanation.children == 0:
            reasons.append("this hub has no children")
        elif explanation.counts:
            counted = ", ".join(f"{count} {WORDS.get(code, code)}" for code, count in explanation.counts[:4])
            reasons.append(f"of {explanation.children} children {counted}")
        if review.new.any():
            left = world.room.pods.copy()
            left[plan.slots] -= np.maximum(0, plan.replicas - world.held[plan.slots])
            able = np.minimum(left[review.new], world.request.demand.replicas)
            if (able > 0).any():
                reasons.append(f"{int((able > 0).sum())} could take {int(able.sum())} replicas more")
            elif not reasons:
                reasons.append("what is placed takes all the room there is")
    return tuple(reasons)


def _wake(request: Request, plan: Plan, explanation: Explanation) -> str:
    """What would help, most likely first, in one sentence."""
    group = next(iter(request.demand.merged), None)
    helps = [HELPS[code].format(n=count) for code, count in explanation.counts if code in HELPS]
    if not helps and plan.slots.size and group is not None:
        helps.append("room becoming free where it runs")
    helps.append("a new child that fits")
    if group is None or group.gpu is None:
        return f"would be placed by {' or '.join(helps)}"
    pods = unit(request)
    wanted = f"{pods} pods of {group.gpus_per_pod}" if pods > 1 else f"a pod of {group.gpus_per_pod}"
    return f"waits for room for {wanted} {group.gpu}: {' or '.join(helps)}"
