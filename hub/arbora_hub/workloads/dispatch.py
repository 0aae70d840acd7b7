"""What a child is told of a workload: manifests to an agent, the workload with its budget to a hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from arbora.errors import InvalidInput
from arbora.manifests.overrides import MemberFacts
from arbora.v1 import workload_pb2 as pb
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.journal import WARNING, Journal
from arbora_hub.sessions.registry import Sessions
from arbora_hub.workloads.below import assignment_below, hubs_named
from arbora_hub.workloads.record import Bound, WorkloadRecord

HUB = "hub"
"""`ChildRow.kind` of a child hub."""


class Dispatch:
    """Puts assignments into children's desired maps."""

    def __init__(self, inventory: Inventory, sessions: Sessions, journal: Journal) -> None:
        self._inventory = inventory
        self._sessions = sessions
        self._journal = journal

    def facts(self, name: str) -> MemberFacts:
        """What overrides may go by, of a child."""
        row = self._inventory.row_of(name)
        labels = {**self._inventory.inherited, **(row.labels if row is not None else {})}
        return MemberFacts(name, self._inventory.own_path.child(name), labels)

    def check_hubs(self, placement: pb.Placement) -> None:
        """Raises InvalidInput where a placement names something below a member, which has nothing below it."""
        for name, text in hubs_named(placement, self._inventory.own_path).items():
            row = self._inventory.row_of(name)
            if row is not None and row.kind != HUB:
                raise InvalidInput(
                    f"{text} is below {name}, which is a member and no hub", field="spec.placement.members"
                )

    def is_hub(self, name: str) -> bool:
        """Whether a child is a hub."""
        row = self._inventory.row_of(name)
        return row is not None and row.kind == HUB

    def send(self, record: WorkloadRecord, child: Child, part: Bound) -> None:
        """Tell a child its part, or that it is withdrawn."""
        try:
            if child.row.kind == HUB:
                message = assignment_below(record, child.name, part, self._inventory.own_path)
            else:
                message = record.assignment(part, self.facts(child.name))
        except InvalidInput as error:  # it fitted once, and the child has other labels now
            what = f"{record.row.name} stays as it is on {child.name}: {error}"
            self._journal.event(WARNING, "OverrideUnfit", f"workload/{record.row.name}", what)
        else:
            self._sessions.put(child, f"assignment/{message.uid}", message.SerializeToString(deterministic=True))

    def send_to(self, record: WorkloadRecord, name: str, part: Bound) -> bool:
        """The same by name; False if there is no such child."""
        child = self._inventory.find(name)
        if child is not None:
            self.send(record, child, part)
        return child is not None

    def retract(self, uid: str, name: str) -> None:
        """A child has deleted its part: nothing is to be said of it any more."""
        child = self._inventory.find(name)
        if child is not None:
            self._sessions.delete(child, f"assignment/{uid}")

    def unfit(self, record: WorkloadRecord, given: Mapping[str, int]) -> dict[str, str]:
        """See the function `unfit`; what suits a hub is for that hub to say."""
        if not record.submission.overrides:
            return {}
        return unfit(record, {name: count for name, count in given.items() if not self.is_hub(name)}, self.facts)


def unfit(
    record: WorkloadRecord, given: Mapping[str, int], facts: Callable[[str], MemberFacts]
) -> dict[str, str]:
    """Members that would get something new or other that an override does not fit, and why.

    given: member -> replicas, by a decision.
    """
    found = {}
    for name, count in given.items():
        part = record.bound.get(name)
        if part is None or part.withdrawn or part.replicas != count:
            try:
                record.submission.for_member(facts(name), count)
            except InvalidInput as error:
                found[name] = f"does not suit an override: {error}"
    return found
