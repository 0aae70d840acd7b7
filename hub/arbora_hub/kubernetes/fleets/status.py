"""What a Fleet says of itself: counts, and one condition that names each thing that is wrong. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arbora_hub.kubernetes.conditions import Condition, written
from arbora_hub.kubernetes.fleets.spec import Fleet

SHOWN = 5
"""Things of one kind that a message names."""

CONDITIONS = ("Ready", "NamesUnique")
"""Types of those that are written here."""

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with a Fleet, as the hub sees it."""

    members: int = 0
    published: int = 0
    wanted: int = 0
    """Profiles that there should be."""
    missing: tuple[str, ...] = ()
    """Namespaces that do not exist."""
    conflicts: tuple[str, ...] = ()
    """Sentences about namespaces that it does not get."""
    renamed: tuple[str, ...] = ()
    """Sentences about members that have another name than their path."""
    failures: tuple[str, ...] = ()
    """Sentences about profiles that could not be written."""


def conditions_of(fleet: Fleet, standing: Standing) -> tuple[Condition, ...]:
    """Its conditions; the reason of Ready is that of the worst thing, and its message names all."""
    wrong: list[tuple[str, Sequence[str]]] = [
        ("InvalidSpec", [str(one) for one in fleet.faults]),
        ("NamespaceMissing", [f"there is no namespace {one}" for one in standing.missing]),
        ("ClusterSetConflict", standing.conflicts),
        ("WriteFailed", standing.failures),
    ]
    found = [(reason, sentences) for reason, sentences in wrong if sentences]
    if found:
        said = "; ".join(_some(sentences) for _, sentences in found)
        if fleet.faults:
            said += "; until it is corrected nothing new is published, and nothing is taken back"
        ready = Condition("Ready", "False", found[0][0], said)
    elif standing.published < standing.wanted:
        left = standing.wanted - standing.published
        ready = Condition(
            "Ready", "False", "Publishing", f"{left} of {standing.wanted} profiles are not there yet"
        )
    else:
        where = (
            f"in {len(fleet.namespaces)} namespaces" if fleet.namespaces else "in no namespace, as none is named"
        )
        ready = Condition("Ready", "True", "Published", f"{standing.members} members are published {where}")
    if standing.renamed:
        names = Condition("NamesUnique", "False", "NameTaken", _some(standing.renamed))
    else:
        names = Condition("NamesUnique", "True", "AsPath", "every profile has the name of its member's path")
    return ready, names


def status_of(fleet: Fleet, standing: Standing, live: Raw, now: str) -> Raw:
    """The status to apply. live: the one that is there. now: RFC 3339."""
    return {
        "observedGeneration": fleet.generation,
        "members": standing.members,
        "published": standing.published,
        "conditions": written(conditions_of(fleet, standing), live.get("conditions"), fleet.generation, now),
    }


def _some(sentences: Sequence[str]) -> str:
    more = f" and {len(sentences) - SHOWN} more" if len(sentences) > SHOWN else ""
    return "; ".join(sentences[:SHOWN]) + more
