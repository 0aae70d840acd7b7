"""The Event by which a Workload tells who was nominated, and why not the others. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from arbora_hub.kubernetes.kinds import MANAGER
from arbora_hub.kubernetes.multikueue.choosing import Choice
from arbora_hub.kubernetes.multikueue.kinds import API
from arbora_hub.kubernetes.multikueue.names import digest

MAX_MESSAGE = 1024
"""Characters that the API server takes."""
MAX_REASONS = 20


def sentence(choice: Choice) -> str:
    """A choice and all its reasons in one line."""
    why_not = [f"{path} {why}" for path, why in choice.why_not[:MAX_REASONS]]
    more = [f"and {len(choice.why_not) - MAX_REASONS} more"] if len(choice.why_not) > MAX_REASONS else []
    return "; ".join([choice.sentence, *why_not, *more])


def event_for(item: Mapping[str, Any], reason: str, message: str, *, good: bool, now: float) -> dict[str, Any]:
    """A core Event on a Workload. now: seconds since the epoch."""
    metadata = item["metadata"]
    moment = datetime.fromtimestamp(now, UTC)
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    cut = message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 4]} ..."
    return {
        "metadata": {
            "name": f"{metadata['name'][:200]}.{digest(metadata['uid'], reason, cut, f'{now:.3f}')}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": API,
            "kind": "Workload",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "reason": reason,
        "message": cut,
        "type": "Normal" if good else "Warning",
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
        "source": {"component": MANAGER},
        "reportingComponent": "arbora.dev/hub",
        "reportingInstance": MANAGER,
    }
