"""One workload as this process knows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from arbora.identity.names import Path
from arbora.v1 import workload_pb2 as pb
from arbora.workloads.model import AssignmentStatus, State, roll_up
from arbora_hub.placement.choose import Choice, Wish
from arbora_hub.store.rows import WorkloadRow
from arbora_hub.workloads.spec import read_placement


@dataclass(slots=True)
class Bound:
    """The workload's part in one child."""

    generation: int
    withdrawn: bool = False
    status: AssignmentStatus | None = None
    fresh: bool = False
    """The status is from a session of this process; else it was loaded from the store."""


@dataclass(slots=True, eq=False)
class WorkloadRecord:
    """Changed only by the controller, on the loop."""

    row: WorkloadRow
    placement: pb.Placement
    wish: Wish
    manifests: tuple[bytes, ...]
    bound: dict[str, Bound] = field(default_factory=dict)
    """By child's name."""
    choice: Choice = field(default_factory=lambda: Choice((), ()))

    def state(self) -> State:
        """Rolled up over the children."""
        if self.row.deleting:
            return State.DELETING
        return roll_up(self._states())

    def _states(self) -> Iterable[State]:
        for part in self.bound.values():
            if part.withdrawn:
                continue
            if part.status is None or part.status.generation < part.generation:
                yield State.PENDING
            else:
                yield part.status.state

    def sentence(self) -> str:
        """Why it is in that state."""
        if self.row.deleting:
            left = sorted(self.bound)
            return (
                f"waiting for {', '.join(left[:5])}{' ...' * (len(left) > 5)} to delete it" if left else "deleted"
            )
        troubled = [
            f"{name}: {part.status.message}"
            for name, part in sorted(self.bound.items())
            if part.status is not None and part.status.state is State.DEGRADED and part.status.message
        ]
        return "; ".join(troubled[:3]) if troubled else self.choice.sentence


def restored(row: WorkloadRow, own_path: Path) -> WorkloadRecord:
    """A workload as the store knows it, with no parts yet."""
    placement = pb.Placement.FromString(row.placement)
    return WorkloadRecord(
        row=row,
        placement=placement,
        wish=read_placement(placement, own_path),
        manifests=tuple(pb.WorkloadSpec.FromString(row.manifests).manifests),
    )
