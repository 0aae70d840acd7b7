"""Conditions of Kubernetes objects, whose transition time stays while their status does. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MAX_MESSAGE = 32_768
"""Characters, as the API conventions have it."""

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as it is wanted."""

    type: str
    status: str
    """True, False or Unknown."""
    reason: str
    """In CamelCase."""
    message: str = ""


def stamp(seconds: float) -> str:
    """RFC 3339, from seconds since the epoch."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def written(wanted: Iterable[Condition], live: object, generation: int, now: str) -> list[dict[str, Any]]:
    """As they are written. live: the conditions that are there. now: RFC 3339, for those that changed."""
    there = by_key(live, "type")
    made = []
    for one in wanted:
        before = there.get(one.type, {})
        same = before.get("status") == one.status and before.get("lastTransitionTime")
        made.append(
            {
                "type": one.type,
                "status": one.status,
                "reason": one.reason,
                "message": one.message[:MAX_MESSAGE],
                "observedGeneration": generation,
                "lastTransitionTime": before["lastTransitionTime"] if same else now,
            }
        )
    return made


def by_key(items: object, key: str) -> dict[str, Raw]:
    """The entries of a list-map by their key; what is none counts as empty."""
    if not isinstance(items, list):
        return {}
    return {str(one[key]): one for one in items if isinstance(one, Mapping) and key in one}
