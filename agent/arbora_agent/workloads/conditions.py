"""What the conditions in an object's status say. Pure. For `status.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arbora.workloads.model import State

Verdict = tuple[State, str]
"""A state, and a sentence that explains it; empty where there is nothing to explain."""

_BAD = ("Failed", "Degraded", "Stalled")
_DONE = ("Complete", "Completed", "Succeeded")
_BUSY = ("Reconciling", "Progressing", "Suspended")
_GOOD = ("Ready", "Available")


def true(body: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """The condition `kind`, if it is True."""
    return _find(body, kind, "True")


def false(body: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """The condition `kind`, if it is False."""
    return _find(body, kind, "False")


def sentence(condition: Mapping[str, Any]) -> str:
    """Reason and message of a condition."""
    parts = (condition.get("reason"), condition.get("message"))
    return ": ".join(str(each) for each in parts if each) or str(condition.get("type", ""))


def by_conditions(body: Mapping[str, Any]) -> Verdict | None:
    """The verdict of the well-known conditions on any kind; None if there are none of them.

    Source: kstatus (sigs.k8s.io/cli-utils), widened by the names that training operators use.
    """
    for names, state in ((_BAD, State.DEGRADED), (_DONE, State.COMPLETE)):
        for name in names:
            if found := true(body, name):
                return state, sentence(found)
    for name in _GOOD:
        if found := false(body, name) or _find(body, name, "Unknown"):
            return State.PROGRESSING, sentence(found)
    good = next((found for name in _GOOD if (found := true(body, name))), None)
    for name in _BUSY:
        # operators leave Progressing=True standing beside Available=True
        if (found := true(body, name)) and (good is None or name == "Reconciling"):
            return State.PROGRESSING, sentence(found)
    return (State.AVAILABLE, "") if good is not None else None


def _find(body: Mapping[str, Any], kind: str, status: str) -> Mapping[str, Any] | None:
    conditions = (body.get("status") or {}).get("conditions")
    for each in conditions if isinstance(conditions, list) else ():
        if isinstance(each, Mapping) and each.get("type") == kind and each.get("status") == status:
            return each
    return None
