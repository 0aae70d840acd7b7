"""How a placement looks in `describe`: one fact for each thing that it asks. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from arbora.v1 import workload_pb2 as pb


def placement_facts(wanted: pb.Placement) -> list[tuple[str, str]]:
    """Name and value of what the placement sets; the rest is left out."""
    limits = [
        f"at most {wanted.clusters}" if wanted.clusters else "",
        f"at least {wanted.minimum}" if wanted.minimum else "",
    ]
    return [
        ("Placement", _where(wanted.members, wanted.selector if wanted.HasField("selector") else None)),
        ("Expression", wanted.expression),
        ("Groups", _groups(wanted)),
        ("Members", ", ".join(filter(None, limits))),
        ("Spread", "; ".join(map(_spread, wanted.spread))),
        ("Division", _division(wanted.division) if wanted.HasField("division") else ""),
        ("Tolerates", ", ".join(map(_toleration, wanted.tolerations))),
        ("Needs kinds", ", ".join(wanted.kinds)),
        ("Claims", ", ".join(f"{each.name}{' (hard)' if each.hard else ''}" for each in wanted.claims)),
        ("Weights", ", ".join(f"{name} {wanted.weights[name]:g}" for name in sorted(wanted.weights))),
        ("Priority", str(wanted.priority) if wanted.priority else ""),
    ]


def _where(members: Iterable[str], selector: pb.LabelSelector | None) -> str:
    return "; ".join(filter(None, (", ".join(members), "" if selector is None else _selected(selector))))


def _selected(selector: pb.LabelSelector) -> str:
    terms = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    for each in selector.match_expressions:
        values = f" ({', '.join(each.values)})" if each.values else ""
        terms.append(f"{each.key} {each.operator}{values}")
    return f"members with {' and '.join(terms)}" if terms else "all members"


def _groups(wanted: pb.Placement) -> str:
    groups = [
        f"{group.name} ({_where(group.members, group.selector if group.HasField('selector') else None)})"
        for group in wanted.groups
    ]
    return (" and then " if wanted.overflow else " or else ").join(groups)


def _spread(spread: pb.SpreadConstraint) -> str:
    limits = [
        f"skew {spread.max_skew or 1}",
        f"at least {spread.min_groups}" if spread.min_groups else "",
        f"at most {spread.max_groups}" if spread.max_groups else "",
        "if possible" if spread.when_unsatisfiable == "ScheduleAnyway" else "",
    ]
    return f"over {spread.label} ({', '.join(filter(None, limits))})"


def _division(division: pb.Division) -> str:
    weights = [f"{each.weight} for {each.member or _selected(each.selector)}" for each in division.weights]
    return "; ".join(filter(None, (division.mode, ", ".join(weights), "all or none" * division.all_or_nothing)))


def _toleration(toleration: pb.Toleration) -> str:
    value = f"={toleration.value}" if toleration.value else ""
    effect = f":{toleration.effect}" if toleration.effect else ""
    limit = f" for {toleration.toleration_seconds}s" if toleration.HasField("toleration_seconds") else ""
    return f"{toleration.key or 'everything'}{value}{effect}{limit}"
