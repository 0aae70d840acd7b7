"""From the message Placement to the policy that placement decides by. Validates names and forms; what makes no
sense together is `placement.validate`'s to say. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.manifests.selectors import Requirement, Selector
from arbora.v1 import workload_pb2 as pb
from arbora_hub.placement.policy import (
    AffinityGroup,
    Claim,
    Division,
    Policy,
    Spread,
    StaticWeight,
    Toleration,
)
from arbora_hub.placement.validate import validate
from arbora_hub.workloads.labels import check_labels

FIELD = "spec.placement"


def read_policy(placement: pb.Placement, own_path: Path) -> Policy:
    """The policy behind a placement. Raises InvalidInput with the field's path."""
    members = _members(placement.members, f"{FIELD}.members", own_path)
    selector = _selector(placement.selector, f"{FIELD}.selector") if placement.HasField("selector") else None
    if not members and selector is None and not placement.groups:
        raise InvalidInput(
            "names neither members nor a selector nor groups",
            field=FIELD,
            hint="Give members: [name], selector: {matchLabels: {gpu: h100}}, or selector: {} for all of them.",
        )
    policy = Policy(
        members=members,
        selector=selector,
        expression=placement.expression,
        groups=tuple(
            AffinityGroup(
                group.name,
                _members(group.members, f"{FIELD}.groups[{index}].members", own_path),
                _selector(group.selector, f"{FIELD}.groups[{index}].selector")
                if group.HasField("selector")
                else None,
            )
            for index, group in enumerate(placement.groups)
        ),
        overflow=placement.overflow,
        tolerations=tuple(
            Toleration(
                key=one.key,
                operator=one.operator or "Equal",
                value=one.value,
                effect=one.effect,
                seconds=float(one.toleration_seconds) if one.HasField("toleration_seconds") else None,
            )
            for one in placement.tolerations
        ),
        clusters=placement.clusters or None,
        minimum=placement.minimum,
        spread=tuple(
            Spread(
                label=one.label,
                max_skew=one.max_skew or 1,
                min_groups=one.min_groups,
                max_groups=one.max_groups or None,
                when_unsatisfiable=one.when_unsatisfiable or "DoNotSchedule",
            )
            for one in placement.spread
        ),
        division=_division(placement.division, own_path) if placement.HasField("division") else None,
        weights=dict(placement.weights),
        priority=placement.priority,
        kinds=tuple(placement.kinds),
        claims=tuple(Claim(one.name, one.weight or 1.0, one.hard) for one in placement.claims),
    )
    validate(policy, FIELD)
    return policy


def _members(texts: Iterable[str], field: str, own_path: Path) -> tuple[str, ...]:
    names = []
    for index, text in enumerate(texts):
        where = f"{field}[{index}]"
        path = Path.parse(text, where)
        below = path.relative_to(own_path) if text.startswith("/") else path
        if below is None or not below.labels:
            raise InvalidInput(f"{text!r} is not below this hub, {own_path}", field=where)
        names.append(below.labels[0])
    return tuple(dict.fromkeys(names))


def _selector(selector: pb.LabelSelector, field: str) -> Selector:
    expressions = []
    for index, entry in enumerate(selector.match_expressions):
        requirement = Requirement(entry.key, entry.operator, tuple(entry.values))
        fault = requirement.fault()
        if fault or not entry.key:
            raise InvalidInput(fault or "has no key", field=f"{field}.matchExpressions[{index}]")
        expressions.append(requirement)
    return Selector(check_labels(dict(selector.match_labels), f"{field}.matchLabels"), tuple(expressions))


def _division(division: pb.Division, own_path: Path) -> Division:
    weights = []
    for index, one in enumerate(division.weights):
        field = f"{FIELD}.division.weights[{index}]"
        member = _members([one.member], f"{field}.member", own_path)[0] if one.member else ""
        selector = _selector(one.selector, f"{field}.selector") if one.HasField("selector") else None
        weights.append(StaticWeight(one.weight, member, selector))
    return Division(division.mode, tuple(weights), partial=not division.all_or_nothing)
