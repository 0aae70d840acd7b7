"""What child hubs could not place: they are given no more of it until their capacity changes."""

from __future__ import annotations

from collections.abc import Iterator

from arbora_hub.workloads.record import WorkloadRecord


class Caps:
    """Which workloads are capped at which child hubs. The numbers stand in the records."""

    def __init__(self) -> None:
        self._at: dict[str, dict[str, WorkloadRecord]] = {}

    def note(self, record: WorkloadRecord, child: str, most: int) -> bool:
        """A child hub could place `most` replicas of what it was given. Whether that is news."""
        if record.caps.get(child) == most:
            return False
        record.caps[child] = most
        self._at.setdefault(child, {})[record.row.uid] = record
        return True

    def lift(self, child: str) -> Iterator[str]:
        """The capacity of a child changed: names of workloads that it may take more of now."""
        for record in self._at.pop(child, {}).values():
            if record.caps.pop(child, None) is not None:
                yield record.row.name
