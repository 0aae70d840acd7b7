"""When is a workload where somebody waits for it to be? Pure; `workloads.py` feeds it what the watch says."""

from __future__ import annotations

from arbora.errors import ArboraError
from arbora.v1 import workload_pb2 as pb
from arbora.workloads.model import State
from arbora.workloads.wire import state_from_wire

_REACHED: dict[State, frozenset[State]] = {
    State.APPLIED: frozenset({State.APPLIED, State.PROGRESSING, State.AVAILABLE, State.COMPLETE}),
    State.PROGRESSING: frozenset({State.PROGRESSING, State.AVAILABLE, State.COMPLETE}),
    State.AVAILABLE: frozenset({State.AVAILABLE, State.COMPLETE}),
}
"""A later state counts, too. Any other state is reached only by itself."""


class WorkloadDegraded(ArboraError):
    """A workload that was waited for failed or was rejected somewhere."""

    reason = "WORKLOAD_DEGRADED"
    exit_code = 3


def state_of(workload: pb.Workload) -> State:
    """The state by what members say of the *present* generation: an older report does not count."""
    if workload.deleting:
        return State.DELETING
    parts = [part for part in workload.assignments if not part.withdrawn]
    if any(part.status.generation < workload.generation for part in parts):
        return State.PENDING
    return state_from_wire(workload.state)


def reached(workload: pb.Workload, wanted: State) -> bool:
    """Whether the workload is where it is waited for, or further."""
    return state_of(workload) in _REACHED.get(wanted, frozenset({wanted}))


def faults(workload: pb.Workload) -> list[str]:
    """What is wrong with it, one sentence for each object or member: `/a: Job x: ...`."""
    found = []
    for part in workload.assignments:
        bad = [each for each in part.status.objects if state_from_wire(each.state) is State.DEGRADED]
        found += [f"{part.path}: {each.kind} {each.name}: {each.message}" for each in bad]
        if not bad and state_from_wire(part.status.state) is State.DEGRADED:
            found.append(f"{part.path}: {part.status.message}")
    return found
