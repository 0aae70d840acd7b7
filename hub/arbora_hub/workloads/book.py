"""All workloads of a hub as they are known now, by name and by uid. Who may change them: the controller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from arbora.errors import NotFound
from arbora_hub.changes import Changes
from arbora_hub.workloads.record import WorkloadRecord


class Book:
    """What others may read of workloads."""

    def __init__(self) -> None:
        self._by_name: dict[str, WorkloadRecord] = {}
        self._by_uid: dict[str, WorkloadRecord] = {}
        self._parts: Counter[str] = Counter()
        self.changes = Changes()
        """Names of workloads that changed in a way that clients can see."""

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[WorkloadRecord]:
        return iter(self._by_name.values())

    def get(self, name: str) -> WorkloadRecord:
        """Raises NotFound."""
        record = self._by_name.get(name)
        if record is None:
            raise NotFound(f"there is no workload {name}", hint="See `arbora workloads list` for those that are.")
        return record

    def find(self, name: str) -> WorkloadRecord | None:
        """The workload `name`, if there is one."""
        return self._by_name.get(name)

    def of_uid(self, uid: str) -> WorkloadRecord | None:
        """The workload with that uid, if there is one."""
        return self._by_uid.get(uid)

    def count_on(self, child: str) -> int:
        """Workloads that have a part on a child."""
        return self._parts[child]
