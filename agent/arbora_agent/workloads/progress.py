"""How far one assignment has come in this cluster, what is due next, and how to say it. Pure: time comes in.

For `reconciler.py`, which does what `due` says, tells here what came of it (`applied`, `rejected`), and reports
`status`. The life of one object here:

    unknown --applied--> held --drift or loss--> due again (at once, then slower and slower)
       \\------rejected--> refused --5 minutes, or a definition became ready--> due again
    held --seen Complete--> finished: if it vanishes now (a Job's time to live), that is no loss

When to prune. What left the workload is deleted only when **every** object of this generation is in the cluster.
While one could not be applied, what is there may still be needed; and where the API server refused one, deleting
its predecessor would turn a bad manifest into an outage. Keeping both costs room, shows in the status, and ends
when the refusal does. (kubectl's ApplySets, Flux and Argo CD don't prune after a failed apply, either.) Manifests
that are refused before they reach the API server (a repeated name) don't hold pruning up: nothing is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from arbora.manifests.objects import ObjectRef
from arbora.workloads.model import Assignment, AssignmentStatus, ObjectStatus, State, roll_up
from arbora_agent.cluster.port import OwnedObject
from arbora_agent.workloads.drift import Expectation, Repairs, differences, remember
from arbora_agent.workloads.plan import Identity, Item, apply_order, items_of, leaving
from arbora_agent.workloads.status import state_of

RETRY_REJECTED = 300.0
"""Seconds after which a refused object is tried again."""
REPEAT_DELETE = 30.0
"""Seconds after which the API server is asked again to delete what is still there."""
MAX_MESSAGE = 1024
"""Characters of a message at most."""

Live = Mapping[Identity, OwnedObject]


@dataclass(frozen=True, slots=True)
class Held:
    """An object that the API server took."""

    ref: ObjectRef
    resource_version: str
    expectation: Expectation
    repairs: Repairs = field(default_factory=Repairs)


@dataclass(frozen=True, slots=True)
class Rejected:
    """An object that the API server refused."""

    message: str
    retry_at: float


@dataclass(frozen=True, slots=True)
class Repair:
    """Why an object that we held is applied again."""

    ref: ObjectRef
    sentence: str


@dataclass(frozen=True, slots=True)
class Due:
    """What to do now, and when to look again if nothing happens before."""

    apply: tuple[tuple[Item, ...], ...] = ()
    """Classes in order."""
    repairs: Mapping[Identity, Repair] = field(default_factory=dict)
    """Those of the items that drifted."""
    look_at: float | None = None


def by_identity(owned: Sequence[OwnedObject]) -> Live:
    """The live objects of a workload by identity."""
    return {Identity.of(each.ref): each for each in owned}


class Progress:
    """One generation of one assignment."""

    def __init__(self, assignment: Assignment, last: AssignmentStatus | None = None) -> None:
        """last: what was reported before a restart; it tells which objects had already completed."""
        self.assignment = assignment
        self.items = items_of(assignment)
        self._held: dict[Identity, Held] = {}
        self._rejected: dict[Identity, Rejected] = {}
        self._asked_to_go: dict[str, Rejected] = {}
        self._missed: set[Identity] = set()
        self._ready_definitions: frozenset[Identity] = frozenset()
        self._finished: set[Identity] = set()
        if last is not None and last.generation == assignment.generation:
            self._finished = {Identity.of(each.ref) for each in last.objects if each.state is State.COMPLETE}

    def due(self, live: Live, now: float) -> Due:
        """What to apply now. `now`: a moment of the clock that `rejected` and `applied` were told, too."""
        self._notice(live, now)
        wanted, repairs, moments = [], {}, []
        for item in self.items:
            if item.refusal:
                continue
            held, refused = self._held.get(item.identity), self._rejected.get(item.identity)
            if refused is not None:
                if refused.retry_at <= now:
                    wanted.append(item)
                else:
                    moments.append(refused.retry_at)
            elif held is None:
                if item.identity not in self._finished or item.identity in live:
                    wanted.append(item)
            elif sentence := self._drift(item, held, live):
                if held.repairs.due() <= now:
                    wanted.append(item)
                    repairs[item.identity] = Repair(held.ref, sentence)
                else:
                    moments.append(held.repairs.due())
        # what could not be reached last time comes last, so that it doesn't keep the others waiting
        wanted.sort(key=lambda item: item.identity in self._missed)
        return Due(apply_order(wanted), repairs, min(moments, default=None))

    def applied(self, item: Item, answer: OwnedObject, now: float, *, repaired: bool = False) -> None:
        """The API server took the object, and stored `answer`."""
        before = self._held.get(item.identity)
        repairs = before.repairs if before else Repairs()
        self._held[item.identity] = Held(
            ref=answer.ref,
            resource_version=answer.resource_version,
            expectation=remember(item.manifest, answer.body),
            repairs=repairs.made(now) if repaired else repairs,
        )
        self._rejected.pop(item.identity, None)
        self._missed.discard(item.identity)

    def rejected(self, item: Item, message: str, now: float) -> bool:
        """The API server refused the object. Returns whether these words are new."""
        before = self._rejected.get(item.identity)
        self._rejected[item.identity] = Rejected(message, now + RETRY_REJECTED)
        self._held.pop(item.identity, None)
        self._missed.discard(item.identity)
        return before is None or before.message != message

    def missed(self, item: Item) -> None:
        """The API server could not be asked."""
        self._missed.add(item.identity)

    def to_delete(self, owned: Sequence[OwnedObject], now: float) -> tuple[tuple[OwnedObject, ...], ...]:
        """What to delete now, in order; nothing while the rule above forbids it."""
        if not (self.assignment.withdrawn or self.complete):
            return ()
        classes = leaving(self.assignment, self.items, owned)
        return tuple(
            group for each in classes if (group := tuple(one for one in each if self._deletable(one, now)))
        )

    def deleting(self, target: OwnedObject, now: float, refusal: str = "") -> None:
        """The API server was asked to delete the object, and accepted or refused."""
        wait = RETRY_REJECTED if refusal else REPEAT_DELETE
        self._asked_to_go[target.uid] = Rejected(refusal, now + wait)

    def delete_again_at(self, owned: Sequence[OwnedObject]) -> float | None:
        """When the API server is asked again to delete what is still there."""
        moments = (self._asked_to_go[each.uid].retry_at for each in owned if each.uid in self._asked_to_go)
        return min(moments, default=None)

    @property
    def complete(self) -> bool:
        """Whether every object of this generation is in the cluster, or has finished there."""
        return (
            all(
                item.refusal or item.identity in self._held or item.identity in self._finished
                for item in self.items
            )
            and not self._rejected
        )

    def status(self, owned: Sequence[OwnedObject], problem: str = "") -> AssignmentStatus:
        """How it is doing. `problem`: what hinders the whole just now."""
        if self.assignment.withdrawn:
            return self._withdrawal(owned, problem)
        live = by_identity(owned)
        objects = tuple(self._object(item, live) for item in self.items)
        state = roll_up(each.state for each in objects)
        message = problem
        if not message:
            found = (each for each in objects if each.state is state and each.message)
            message = next((f"{each.ref}: {each.message}" for each in found), "")
        if not objects:
            message = message or "the workload has no manifests for this member"
        going = sum(len(each) for each in leaving(self.assignment, self.items, owned))
        if going:
            tail = "are being deleted" if self.complete else "stay until every object is applied"
            message = f"{message}; {going} objects that left the workload {tail}".removeprefix("; ")
        return self._status(state, objects, message)

    def _status(self, state: State, objects: tuple[ObjectStatus, ...], message: str) -> AssignmentStatus:
        assignment = self.assignment
        return AssignmentStatus(
            assignment.uid,
            assignment.generation,
            state,
            objects,
            message[:MAX_MESSAGE],
            share=assignment.share,
        )

    def _withdrawal(self, owned: Sequence[OwnedObject], problem: str) -> AssignmentStatus:
        remaining = [each for group in leaving(self.assignment, self.items, owned) for each in group]
        if not remaining:
            return self._status(State.DELETED, (), "")
        objects = tuple(ObjectStatus(each.ref, State.DELETING, self._why_there(each)) for each in remaining)
        message = problem or next((f"{each.ref}: {each.message}" for each in objects if each.message), "")
        return self._status(State.DELETING, objects, message)

    def _why_there(self, target: OwnedObject) -> str:
        asked = self._asked_to_go.get(target.uid)
        if asked is not None and asked.message:
            return asked.message[:MAX_MESSAGE]
        finalizers = target.body.get("metadata", {}).get("finalizers") or ()
        return f"waits for its finalizers: {', '.join(finalizers)}" if finalizers else ""

    def _object(self, item: Item, live: Live) -> ObjectStatus:
        held, found = self._held.get(item.identity), live.get(item.identity)
        ref = found.ref if found else held.ref if held else item.ref
        state, message = self._verdict(item, held, found)
        return ObjectStatus(ref, state, message[:MAX_MESSAGE])

    def _verdict(self, item: Item, held: Held | None, found: OwnedObject | None) -> tuple[State, str]:
        if item.refusal:
            return State.DEGRADED, item.refusal
        if refused := self._rejected.get(item.identity):
            return State.DEGRADED, refused.message
        if found is None:
            if item.identity in self._finished:
                return State.COMPLETE, "completed, and gone since"
            if held is None:
                return State.PENDING, "not applied yet"
            return State.PROGRESSING, "is gone, and will be applied again"
        if held is None and found.generation != self.assignment.generation:
            return State.PENDING, "this generation is not applied yet"
        if held is not None and held.repairs.count > 1 and (changed := self._changed(held, found)):
            return State.DEGRADED, f"is changed from outside again and again: {', '.join(changed[:3])}"
        state, message = state_of(found.body)
        if state is State.DELETING:
            return State.PROGRESSING, "is being deleted by somebody, and will be applied again once it is gone"
        return state, message

    def _notice(self, live: Live, now: float) -> None:
        """Remember what completed, and look again at refusals when a definition of kinds has become ready."""
        definitions = set()
        for identity, found in live.items():
            state, _ = state_of(found.body)
            if state is State.COMPLETE and found.generation == self.assignment.generation:
                self._finished.add(identity)
            if identity.kind == "CustomResourceDefinition" and state is State.AVAILABLE:
                definitions.add(identity)
        if definitions - self._ready_definitions:
            self._rejected = {key: replace(each, retry_at=now) for key, each in self._rejected.items()}
        self._ready_definitions = frozenset(definitions)

    def _drift(self, item: Item, held: Held, live: Live) -> str:
        """What is wrong with an object that we hold; empty if nothing is, or if it isn't ours to put right."""
        found = live.get(item.identity)
        if found is None:
            return "" if item.identity in self._finished else "was deleted from outside; created again"
        if "deletionTimestamp" in found.body.get("metadata", {}) or found.generation > self.assignment.generation:
            return ""
        changed = self._changed(held, found)
        return f"was changed from outside ({', '.join(changed[:3])}); put back" if changed else ""

    def _changed(self, held: Held, found: OwnedObject) -> tuple[str, ...]:
        if found.resource_version == held.resource_version:
            return ()
        return differences(held.expectation, found.body)

    def _deletable(self, target: OwnedObject, now: float) -> bool:
        asked = self._asked_to_go.get(target.uid)
        if asked is not None and asked.retry_at > now:
            return False
        return "deletionTimestamp" not in target.body.get("metadata", {})
