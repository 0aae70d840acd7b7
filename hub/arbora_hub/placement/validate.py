"""Is a placement one that can be decided? Bad input is refused at apply, with the field's path. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection
from difflib import SequenceMatcher

from arbora.capacity.gpus import GpuClass
from arbora.errors import InvalidInput
from arbora.manifests.selectors import Selector
from arbora_hub.placement.demand import Demand, GpuWish, PodGroup
from arbora_hub.placement.expressions import check_expression
from arbora_hub.placement.policy import (
    DO_NOT_SCHEDULE,
    LEVEL_PREFIX,
    MODES,
    SCHEDULE_ANYWAY,
    Division,
    Policy,
    Spread,
    Toleration,
)
from arbora_hub.placement.registry import SCORERS

EFFECTS = ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
MAX_ENTRIES = 64
"""Groups, tolerations, spreads, weights and the like, each."""
MAX_WEIGHT = 1_000_000
MAX_NEAREST = 5
"""Classes that are named in place of an unknown one."""


def validate(policy: Policy, field: str = "spec.placement") -> None:
    """Raises InvalidInput naming the first field that is wrong. field: the path of the placement."""
    _check_selector(policy.selector, f"{field}.selector")
    if policy.expression:
        check_expression(policy.expression, f"{field}.expression")
    for name, entries in (
        ("groups", policy.groups),
        ("tolerations", policy.tolerations),
        ("spread", policy.spread),
        ("claims", policy.claims),
        ("kinds", policy.kinds),
    ):
        if len(entries) > MAX_ENTRIES:
            raise InvalidInput(f"has {len(entries)} entries, {MAX_ENTRIES} at most", field=f"{field}.{name}")
    names: set[str] = set()
    for index, group in enumerate(policy.groups):
        where = f"{field}.groups[{index}]"
        if not group.members and group.selector is None:
            raise InvalidInput("names nobody", field=where, hint="Give it members or a selector.")
        if group.name in names:
            raise InvalidInput(f"{group.name!r} is the name of an earlier group", field=f"{where}.name")
        names.add(group.name)
        _check_selector(group.selector, f"{where}.selector")
    for index, toleration in enumerate(policy.tolerations):
        _check_toleration(toleration, f"{field}.tolerations[{index}]")
    _check_counts(policy, field)
    for index, spread in enumerate(policy.spread):
        _check_spread(spread, policy, f"{field}.spread[{index}]")
    if policy.division is not None:
        _check_division(policy.division, f"{field}.division")
    _check_weights(policy, field)
    for index, claim in enumerate(policy.claims):
        if not claim.name:
            raise InvalidInput("has no name", field=f"{field}.claims[{index}].name")
        _check_number(claim.weight, f"{field}.claims[{index}].weight")
    for index, kind in enumerate(policy.kinds):
        if not kind.strip():
            raise InvalidInput("is empty", field=f"{field}.kinds[{index}]")


def check_demand(demand: Demand, field: str = "spec.demand") -> None:
    """Raises InvalidInput naming the first field that is wrong."""
    for index, group in enumerate(demand.groups):
        where = f"{field}.groups[{index}]"
        for name in ("replicas", "gpus_per_pod", "cpu_millis", "memory_mib"):
            if getattr(group, name) < 0:
                raise InvalidInput(f"{getattr(group, name)} is below 0", field=f"{where}.{name}")
        if group.gpus_per_pod and group.gpu is None:
            raise InvalidInput("asks for GPUs and not for which", field=f"{where}.gpu")
        if group.gpu is not None and not all(group.gpu.resource.partition("/")):
            raise InvalidInput(
                f"{group.gpu.resource!r} is no resource name",
                field=f"{where}.gpu.resource",
                hint="Such as nvidia.com/gpu.",
            )


def check_class(group: PodGroup, known: Collection[GpuClass], field: str) -> None:
    """Raises InvalidInput if the pods ask for GPUs of a class that is not known, naming the nearest that are.

    known: the classes that members have ever shown, at least one. field: where the pods were read from.
    """
    wish = group.gpu
    if wish is None or not group.gpus_per_pod or any(wish.takes(each) for each in known):
        return
    nearest = sorted(sorted(known), key=lambda each: _likeness(wish, each), reverse=True)[:MAX_NEAREST]
    told = ", ".join(f"{each.vendor} {each}" for each in nearest)
    raise InvalidInput(
        f"asks for {wish}, which no member has ever shown; the nearest known are {told}",
        field=field,
        hint="Correct the resource, or the node label that names the product; `arbora gpus` lists what members "
        "have. What a new member has is known once it has reported it.",
    )


def _likeness(wish: GpuWish, known: GpuClass) -> tuple[bool, float]:
    """Larger is nearer: the vendor first, then how much the names have in common (Ratcliff, Obershelp 1988)."""
    vendor, mig_profile, _ = wish.family
    wanted = f"{wish.product} {mig_profile}".strip().lower()
    # without a product in the wish only what it does say can be alike
    found = f"{known.product if wish.product else ''} {known.mig_profile}".strip().lower()
    return known.vendor == vendor, SequenceMatcher(None, wanted, found).ratio()


def _check_counts(policy: Policy, field: str) -> None:
    if policy.clusters is not None and policy.clusters < 1:
        raise InvalidInput(
            f"{policy.clusters} is below 1", field=f"{field}.clusters", hint="Or leave it out: all."
        )
    if policy.minimum < 0:
        raise InvalidInput(f"{policy.minimum} is below 0", field=f"{field}.minimum")
    if policy.clusters is not None and policy.minimum > policy.clusters:
        raise InvalidInput(
            f"at least {policy.minimum} children are more than {policy.clusters} at most",
            field=f"{field}.minimum",
        )
    if policy.overflow and not policy.groups:
        raise InvalidInput("needs groups to flow between", field=f"{field}.overflow")


def _check_spread(spread: Spread, policy: Policy, field: str) -> None:
    if not spread.label:
        raise InvalidInput("names no label", field=f"{field}.label")
    level = spread.label.removeprefix(LEVEL_PREFIX)
    if spread.label.startswith(LEVEL_PREFIX) and not (level.isdigit() and int(level) > 0):
        raise InvalidInput(f"{level!r} is no level of the tree", field=f"{field}.label", hint="Such as level/1.")
    if spread.max_skew < 1:
        raise InvalidInput(f"{spread.max_skew} is below 1", field=f"{field}.maxSkew")
    if spread.min_groups < 0:
        raise InvalidInput(f"{spread.min_groups} is below 0", field=f"{field}.minGroups")
    if spread.max_groups is not None and spread.max_groups < 1:
        raise InvalidInput(f"{spread.max_groups} is below 1", field=f"{field}.maxGroups")
    if spread.max_groups is not None and spread.min_groups > spread.max_groups:
        raise InvalidInput(
            f"at least {spread.min_groups} groups are more than {spread.max_groups} at most",
            field=f"{field}.minGroups",
        )
    if policy.clusters is not None and policy.clusters < spread.min_groups:
        raise InvalidInput(
            f"{policy.clusters} children can't be in {spread.min_groups} groups", field=f"{field}.minGroups"
        )
    if spread.when_unsatisfiable not in (DO_NOT_SCHEDULE, SCHEDULE_ANYWAY):
        raise InvalidInput(
            f"{spread.when_unsatisfiable!r} is neither {DO_NOT_SCHEDULE} nor {SCHEDULE_ANYWAY}",
            field=f"{field}.whenUnsatisfiable",
        )


def _check_division(division: Division, field: str) -> None:
    if division.mode not in MODES:
        raise InvalidInput(f"{division.mode!r} is not one of {', '.join(MODES)}", field=f"{field}.mode")
    if division.weights and division.mode != "weighted":
        raise InvalidInput(f"mean nothing to the mode {division.mode}", field=f"{field}.weights")
    if division.mode == "weighted" and not division.weights:
        raise InvalidInput("are missing", field=f"{field}.weights", hint="Or use the mode spread.")
    for index, rule in enumerate(division.weights):
        where = f"{field}.weights[{index}]"
        if not 0 <= rule.weight <= MAX_WEIGHT:
            raise InvalidInput(f"{rule.weight} is not in 0 to {MAX_WEIGHT}", field=f"{where}.weight")
        if rule.member and rule.selector is not None:
            raise InvalidInput("names a member and a selector", field=where, hint="Make two entries of it.")
        _check_selector(rule.selector, f"{where}.selector")


def _check_weights(policy: Policy, field: str) -> None:
    known = [one.name for one in SCORERS]
    for name, weight in policy.weights.items():
        if name not in known:
            raise InvalidInput(f"{name!r} is not one of {', '.join(known)}", field=f"{field}.weights.{name}")
        _check_number(weight, f"{field}.weights.{name}")
        if weight > 1:
            raise InvalidInput(f"{weight} is above 1", field=f"{field}.weights.{name}")


def _check_toleration(toleration: Toleration, field: str) -> None:
    if toleration.operator not in ("Equal", "Exists"):
        raise InvalidInput(f"{toleration.operator!r} is neither Equal nor Exists", field=f"{field}.operator")
    if toleration.effect not in EFFECTS:
        raise InvalidInput(
            f"{toleration.effect!r} is not one of {', '.join(EFFECTS[1:])}", field=f"{field}.effect"
        )
    if not toleration.key and toleration.operator == "Equal":
        raise InvalidInput("is missing", field=f"{field}.key", hint="Or use the operator Exists.")
    if toleration.operator == "Exists" and toleration.value:
        raise InvalidInput("means nothing to the operator Exists", field=f"{field}.value")
    if toleration.seconds is not None:
        _check_number(toleration.seconds, f"{field}.tolerationSeconds")
        if toleration.effect != "NoExecute":
            raise InvalidInput("need the effect NoExecute", field=f"{field}.tolerationSeconds")


def _check_selector(selector: Selector | None, field: str) -> None:
    if selector is None:
        return
    for key in selector.match_labels:
        if not key:
            raise InvalidInput("has an empty key", field=f"{field}.matchLabels")
    for index, one in enumerate(selector.match_expressions):
        fault = one.fault() or ("" if one.key else "has no key")
        if fault:
            raise InvalidInput(fault, field=f"{field}.matchExpressions[{index}]")


def _check_number(value: float, field: str) -> None:
    if not math.isfinite(value) or value < 0:
        raise InvalidInput(f"{value} is not a number of 0 or more", field=field)
