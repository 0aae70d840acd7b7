"""A child hub in a decision: its places are weighed one by one, and what they get is the hub's. Pure.

previous: child -> replicas  -> `standing`: at one of its places, one where they may stay
caps: child -> replicas      -> `capped`: together its places get no more
places -> replicas           -> `shares` per child, `additions` per place, `copies` per child hub
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from arbora_hub.placement.arrays import Bools, Ints
from arbora_hub.placement.policy import Request
from arbora_hub.placement.rows import PART_MARK, child_of
from arbora_hub.placement.world import World


def standing(world: World, stays: Bools) -> tuple[Ints, Bools]:
    """(replicas, presence) per slot of what may stay. stays: slots that nothing drives work out of."""
    here = stays & world.present
    held = np.where(here, world.held, 0)
    for child, replicas in world.previous.items():
        slots = world.snapshot.slots_of(child)
        if len(slots) > 1 and not here[list(slots)].any():
            # driven out of the place where it is counted; the hub may keep it in another
            for slot in [slot for slot in slots if stays[slot]][:1]:
                here[slot], held[slot] = True, replicas
    return held, here


def capped(world: World, room: Ints, held: Ints, here: Bools) -> tuple[Ints, Ints, Bools]:
    """The same with no child above its cap."""
    for child, cap in world.request.caps.items():
        slots = list(world.snapshot.slots_of(child))
        have = min(int(held[slots].sum()), cap)
        left = cap - have
        for slot in slots:
            if held[slot]:
                held[slot] = have
            room[slot] = min(int(room[slot]), left)
            if world.request.policy.mode != "duplicate":
                left -= int(room[slot])
            here[slot] &= cap > 0
    return room, held, here


def shares(request: Request, given: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """(child, replicas), by name. given: place -> replicas. Copies of all of it count once."""
    counts: dict[str, int] = {}
    for place, count in given.items():
        before = counts.get(child_of(place), 0)
        counts[child_of(place)] = max(before, count) if request.policy.mode == "duplicate" else before + count
    return tuple(sorted(counts.items()))


def additions(world: World, given: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """(place, replicas) beyond what the child had, by name."""
    before = dict(world.previous)
    added = []
    for place, count in sorted(given.items()):
        had = min(count, before.get(child_of(place), 0))
        if PART_MARK in place:
            before[child_of(place)] = before.get(child_of(place), 0) - had
        if count > had:
            added.append((place, count - had))
    return tuple(added)


def copies(world: World, given: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """(child hub, members) where their number is limited: one per chosen child, the rest where most is to run.

    A hub takes no more than it has members, or replicas where these are divided.
    """
    policy = world.request.policy
    if policy.clusters is None:
        return ()
    most: dict[str, int] = {}
    weight: dict[str, int] = {}
    for place, replicas in given.items():
        child, slot = child_of(place), world.snapshot.slot(place)
        if PART_MARK in place and slot is not None:
            members = world.snapshot.members(slot)
            most[child] = most.get(child, 0) + (members if policy.mode == "duplicate" else min(members, replicas))
            weight[child] = weight.get(child, 0) + replicas
    left = policy.clusters - len({child_of(place) for place in given})
    counts = dict.fromkeys(most, 1)
    while left > 0 and (open_ := [child for child in sorted(most) if counts[child] < most[child]]):
        counts[max(open_, key=lambda child: weight[child] / counts[child])] += 1
        left -= 1
    return tuple(sorted(counts.items()))


def judged_below(name: str, request: Request) -> bool:
    """Whether a filter goes by labels of members, which below a child hub only that hub knows for good.

    A hub that has just started may not have heard of all its members: that must not take work from it. If none of
    them may keep it, the hub says so itself, and it is given no more.
    """
    policy = request.policy
    match name:
        case "choice":
            return policy.selector is not None
        case "groups":
            return any(group.selector is not None for group in policy.groups)
        case _:
            return name == "expression"
