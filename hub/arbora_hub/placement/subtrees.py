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
    """(child hub, members) for a limited number of copies: one per chosen place, more where there are too few.

    Places are in the order of their names; each takes as many as it has members.
    """
    policy = world.request.policy
    if policy.mode != "duplicate" or policy.clusters is None:
        return ()
    left = policy.clusters - len(given)
    counts: dict[str, int] = {}
    for place in sorted(given):
        if PART_MARK not in place:
            continue
        slot = world.snapshot.slot(place)
        more = min(left, world.snapshot.members(slot) - 1) if slot is not None else 0
        left -= more
        counts[child_of(place)] = counts.get(child_of(place), 0) + 1 + more
    return tuple(sorted(counts.items()))
