"""What is placed stays: only the difference is divided. Pure.

    fewer replicas wanted    what is there shrinks in proportion
    more replicas wanted     only those that are missing are divided, over the room that is left
    the same                 nothing moves
    rebalance                what is there counts as room, and all is divided anew

A gang is placed whole or not at all; where it may not be split, in one child.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from arbora_hub.placement.arrays import Ints
from arbora_hub.placement.candidates import NOWHERE, Candidates, Plan
from arbora_hub.placement.divide import divide, shrunk
from arbora_hub.placement.policy import DO_NOT_SCHEDULE, Request
from arbora_hub.placement.select import select
from arbora_hub.placement.spreading import children_evenly

ValuesOf = Callable[[str, Ints], Ints]


def planned(request: Request, among: Candidates, weights: Ints, values_of: ValuesOf) -> Plan:
    """Divide one request over candidates in rank order.

    weights: per candidate, for the mode `weighted`. values_of: (label, slots) -> equal numbers for equal values.
    """
    if request.policy.mode == "duplicate":
        return _duplicated(request, among, values_of)
    if request.demand.replicas == 0:
        return _empty(among)
    if request.demand.whole:
        return _whole(request, among)
    return _divided(request, among, weights, values_of)


def _duplicated(request: Request, among: Candidates, values_of: ValuesOf) -> Plan:
    policy, total = request.policy, request.demand.replicas
    ready = among.only(among.present | (among.room >= total))
    chosen_from = select(policy, ready, total, values_of, children=True)
    if chosen_from.faults:
        kept = among.only(among.present)
        return Plan(kept.slots, kept.held, 0 if kept.held.any() else total, chosen_from.faults)
    ready = chosen_from.among
    limit = policy.clusters if policy.clusters is not None else len(ready)
    if chosen_from.groupings:
        positions = children_evenly(limit, ready.present.tolist(), chosen_from.groupings)
    else:
        positions = np.argsort(~ready.present, kind="stable")[:limit].tolist()
    ready = ready.only(np.array(sorted(positions), dtype=np.int64))
    if len(ready) < policy.minimum:
        kept = among.only(among.present)
        fault = f"{len(ready)} children can take it, and at least {policy.minimum} are asked for"
        return Plan(kept.slots, kept.held, total, (fault,))
    grows = ready.held + ready.room >= total
    replicas = np.where(grows | (ready.held > total), total, ready.held)
    missing = policy.clusters - len(ready) if policy.clusters is not None else int(len(ready) == 0)
    short = int((total - replicas).sum()) + missing * total
    return Plan(ready.slots, replicas, short)


def _empty(among: Candidates) -> Plan:
    """Without replicas, those that have the workload keep its objects; else the best child takes them."""
    kept = among.only(among.present) if among.present.any() else among.only(np.arange(min(1, len(among))))
    return Plan(kept.slots, np.zeros(len(kept), dtype=np.int64), 0)


def _whole(request: Request, among: Candidates) -> Plan:
    total = request.demand.replicas
    held = np.flatnonzero(among.held > 0)
    if len(held):
        position = int(held[np.argmax(among.held[held])])
        have = int(among.held[position])
        target = total if have >= total or int(among.room[position]) >= total else have
        fault = () if target == total else ("it grew, and the child that has it has no room for all of it",)
        return Plan(among.slots[[position]], np.array([target], dtype=np.int64), total - target, fault)
    fitting = np.flatnonzero(among.room >= total)[:1]
    policy = request.policy
    several = policy.minimum > 1 or any(
        one.min_groups > 1 and one.when_unsatisfiable == DO_NOT_SCHEDULE for one in policy.spread
    )
    if len(fitting) == 0 or several:
        faults = ("it goes to one child as a whole, and several are asked for",) if several else ()
        return Plan(NOWHERE, NOWHERE, total, faults)
    return Plan(among.slots[fitting], np.array([total], dtype=np.int64), 0)


def _divided(request: Request, among: Candidates, weights: Ints, values_of: ValuesOf) -> Plan:
    policy, total = request.policy, request.demand.replicas
    if policy.mode == "weighted":
        room = np.where(weights > 0, among.room, 0)
        among = replace(among, room=room)
    usable = (among.room > 0) | (among.held > 0)
    among, weights = among.only(usable), weights[usable]
    weight_of = dict(zip(among.slots.tolist(), weights.tolist(), strict=True))
    if policy.clusters is not None and int((among.held > 0).sum()) > policy.clusters:
        among = _dropped(among, policy.clusters)
    have = int(among.held.sum())
    if have >= total:
        groupings = select(policy, among.only(among.held > 0), 0, values_of, children=False).groupings
        among = among.only(among.held > 0)
        kept = among.held if have == total else shrunk(policy.mode, among, total, groupings)
        return _kept(among, kept)
    missing = total - have
    selected = select(policy, among, missing, values_of, children=False)
    if selected.faults:
        return replace(_kept(among, among.held), pending=missing, faults=selected.faults)
    among = selected.among
    added = divide(
        policy.mode,
        among,
        missing,
        np.array([weight_of[slot] for slot in among.slots.tolist()], dtype=np.int64),
        seeds=selected.seeds,
        groupings=selected.groupings,
    )
    left = missing - int(added.sum())
    partial = policy.division is not None and policy.division.partial and not request.demand.gang
    faults = _unserved(request, among.held + added, selected.seeds)
    if (left and not partial) or faults:
        return replace(_kept(among, among.held), pending=missing, faults=faults)
    room_left = int((among.limited(missing) - added).sum()) > 0
    why = ("the spread allows no more on the children that have room",) if left and room_left else ()
    return replace(_kept(among, among.held + added), pending=left, faults=why)


def _dropped(among: Candidates, limit: int) -> Candidates:
    """Only the best ranked of those that have some keep it; the others are left."""
    keepers = np.flatnonzero(among.held > 0)[:limit]
    return among.only(keepers)


def _unserved(request: Request, replicas: Ints, seeds: tuple[int, ...]) -> tuple[str, ...]:
    """Whether the least number of children or groups was not reached after all."""
    used = int((replicas > 0).sum())
    if used < request.policy.minimum:
        return (f"{used} children would get some, and at least {request.policy.minimum} are asked for",)
    if any(replicas[position] == 0 for position in seeds):
        return ("too few replicas fit to serve as many groups as are asked for",)
    return ()


def _kept(among: Candidates, replicas: Ints) -> Plan:
    some = replicas > 0
    return Plan(among.slots[some], replicas[some], 0)
