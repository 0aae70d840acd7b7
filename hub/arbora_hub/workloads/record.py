"""One workload as this process knows it: what was submitted, what it asks for, where it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from arbora.capacity.gpus import GpuClass
from arbora.capacity.shape import WorkloadShape, shape_of_all, with_share
from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.manifests.objects import Manifest, from_json, to_json
from arbora.manifests.override_reading import read_overrides
from arbora.manifests.overrides import MemberFacts, Override, apply_overrides
from arbora.v1 import workload_pb2 as pb
from arbora.workloads.model import AssignmentStatus, State, roll_up
from arbora_hub.placement.decide import Decision
from arbora_hub.placement.demand import Demand
from arbora_hub.placement.policy import Policy, Request
from arbora_hub.store.rows import AssignmentRow, WorkloadRow
from arbora_hub.workloads.bind import Binding, Part, bind
from arbora_hub.workloads.demand import can_divide, demand_of
from arbora_hub.workloads.known_gpus import check_gpus
from arbora_hub.workloads.policy import read_policy
from arbora_hub.workloads.spec import read_objects

_NOT_MEANT = frozenset({"choice", "groups", "expression"})
"""Filters that say a member was not meant at all."""


@dataclass(slots=True)
class Bound:
    """The workload's part in one child."""

    generation: int
    withdrawn: bool = False
    status: AssignmentStatus | None = None
    fresh: bool = False
    """The status is from a session of this process; else it was loaded from the store."""
    replicas: int = 1
    """Pods that it is to run: its share where they are divided, else all of them; 0 without pods."""
    copies: int = 0
    """Of a child hub, where the number of members is limited: in how many at most; 0: no limit."""


def bound_to(row: AssignmentRow, before: Bound | None) -> Bound:
    """A child's part as it was just stored.

    What the child last said stays: it says the same only once. But what it said of a deletion is over when it is
    to run the workload again.
    """
    status, fresh = (before.status, before.fresh) if before is not None else (None, False)
    if not row.withdrawn and status is not None and status.state in (State.DELETING, State.DELETED):
        status, fresh = None, False
    return Bound(row.generation, row.withdrawn, status, fresh, row.replicas, row.copies)


@dataclass(frozen=True)
class Submission:
    """What a client wants, read and checked."""

    placement: pb.Placement
    manifests: tuple[bytes, ...]
    """Canonical JSON."""
    overrides: bytes
    """Canonical JSON of the list, empty if there is none."""
    policy: Policy
    shape: WorkloadShape
    demand: Demand

    @cached_property
    def objects(self) -> tuple[Manifest, ...]:
        """The manifests as data."""
        return tuple(from_json(data) for data in self.manifests)

    @cached_property
    def edits(self) -> tuple[Override, ...]:
        """The overrides as data."""
        return read_overrides(json.loads(self.overrides)) if self.overrides else ()

    @property
    def divided(self) -> bool:
        """Whether members get shares rather than all of it."""
        return self.policy.mode != "duplicate" and can_divide(self.shape)

    def check_gpus(self, known: Iterable[GpuClass | None], before: Submission | None = None) -> None:
        """Raise InvalidInput naming the manifest that asks for GPUs of a class that is not known.

        known: classes that members have ever shown, those of lost ones too; none: nothing is refused.
        before: what this takes the place of. What was accepted once is not refused later, so that a repeated
        apply changes nothing, whatever the members have lost meanwhile.
        """
        accepted = {group.gpu for group in before.demand.groups} if before is not None else ()
        check_gpus(self.shape, self.demand, known, accepted)

    def for_member(self, member: MemberFacts, replicas: int) -> tuple[Manifest, ...]:
        """What one member is to run. Raises InvalidInput if an override does not fit an object."""
        objects = with_share(self.objects, self.shape, replicas) if self.divided else self.objects
        return apply_overrides(objects, self.edits, member).manifests if self.edits else objects


@lru_cache(maxsize=256)
def _policy(placement: bytes, own_path: Path) -> Policy:
    """Many workloads come with the same few placements."""
    return read_policy(pb.Placement.FromString(placement), own_path)


def read_submission(spec: pb.WorkloadSpec, own_path: Path) -> Submission:
    """Read a client's wish. Raises InvalidInput with the path of the field that is wrong."""
    policy = _policy(spec.placement.SerializeToString(deterministic=True), own_path)
    objects = read_objects(list(spec.manifests))
    overrides = b""
    if spec.overrides:
        try:
            written = json.loads(spec.overrides)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"is not JSON: {error}", field="spec.overrides") from error
        read_overrides(written)
        overrides = to_json(written) if written else b""
    try:
        shape = shape_of_all(objects)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=f"spec.{error.field}", hint=error.hint) from error
    manifests = tuple(map(to_json, objects))
    return Submission(spec.placement, manifests, overrides, policy, shape, demand_of(shape, policy))


def within(budget: pb.Budget, submission: Submission) -> tuple[Policy, Demand]:
    """What a workload asks that came with a budget: its share of the pods, or of the members that run all."""
    policy, demand = submission.policy, submission.demand
    if submission.divided:
        (group,) = demand.groups
        demand = replace(demand, groups=(replace(group, replicas=budget.replicas),))
    if budget.copies:
        clusters = budget.copies if policy.clusters is None else min(budget.copies, policy.clusters)
        policy = replace(policy, clusters=clusters)
    return policy, demand


@dataclass(slots=True, eq=False)
class WorkloadRecord:
    """Changed only by the controller, on the loop."""

    row: WorkloadRow
    submission: Submission
    bound: dict[str, Bound] = field(default_factory=dict)
    """By child's name."""
    decision: Decision | None = None
    """The last one; None: not decided since this process started."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Children that can't get it as they are now, and why."""
    caps: dict[str, int] = field(default_factory=dict)
    """Child hub -> what it could place when it was given more; until its capacity changes."""

    def request(self, *, rebalance: bool = False) -> Request:
        """What placement is asked; of what comes from the parent, its budget."""
        policy, demand = self.submission.policy, self.submission.demand
        if self.row.from_parent:
            policy, demand = within(self.budget, self.submission)
        return Request(
            self.row.uid, policy, demand, rebalance=rebalance, excluded=self.excluded, caps=dict(self.caps)
        )

    @property
    def budget(self) -> pb.Budget:
        """How much of it the parent gave; empty if it was submitted here."""
        return pb.Budget.FromString(self.row.budget)

    def binding(self) -> Binding:
        """What the last decision changes."""
        chosen = dict(self.decision.assignments) if self.decision is not None else {}
        copies = self.copies()
        bound = {
            name: Part(one.generation, one.replicas, one.withdrawn, one.copies)
            for name, one in self.bound.items()
        }
        return bind(chosen, self.row.generation, bound, deleting=self.row.deleting, copies=copies)

    def heard_since(self, known: WorkloadRecord | None) -> None:
        """Take over what children said while this record was being stored. known: what it replaces."""
        for name, part in known.bound.items() if known is not None and known is not self else ():
            mine = self.bound.get(name)
            if mine is not None:
                mine.status, mine.fresh = part.status, part.fresh

    def copies(self) -> dict[str, int]:
        """Child hub -> members that may run some of it, by the last decision, where their number is limited."""
        return dict(self.decision.copies) if self.decision is not None else {}

    def previous(self) -> dict[str, int]:
        """Child -> units that it has now."""
        return {name: part.replicas for name, part in self.bound.items() if not part.withdrawn}

    def assignment(self, part: Bound, member: MemberFacts) -> pb.Assignment:
        """What a member is told to run, or to delete."""
        manifests = self.submission.manifests
        if part.withdrawn:
            manifests = ()
        elif self.submission.divided or self.submission.overrides:
            manifests = tuple(to_json(one) for one in self.submission.for_member(member, part.replicas))
        return pb.Assignment(
            uid=self.row.uid,
            name=self.row.name,
            generation=part.generation,
            manifests=manifests,
            withdrawn=part.withdrawn,
            share=part.replicas,
        )

    def warnings(self) -> tuple[str, ...]:
        """What a client should look at: named or selected members that don't take it, a few of them."""
        if self.decision is None:
            return ()
        told = self.decision.explanation.rejected
        others = (f"{one.child} {one.sentence}" for one in told if one.filter not in _NOT_MEANT)
        return tuple(dict.fromkeys((*self.decision.reasons, *others)))

    @property
    def pending(self) -> int:
        """Replicas without a place."""
        return self.decision.pending if self.decision is not None else 0

    def state(self) -> State:
        """Rolled up over the children."""
        if self.row.deleting:
            return State.DELETING
        return roll_up(self._states())

    def _states(self) -> Iterable[State]:
        if self.pending:
            yield State.PENDING
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
            more = " ..." if len(left) > 5 else ""
            return f"waiting for {', '.join(left[:5])}{more} to delete it" if left else "deleted"
        troubled = [
            f"{name}: {part.status.message}"
            for name, part in sorted(self.bound.items())
            if part.status is not None and part.status.state is State.DEGRADED and part.status.message
        ]
        if troubled:
            return "; ".join(troubled[:3])
        return self.decision.sentence if self.decision is not None else "not decided yet"


@dataclass(frozen=True)
class Applied:
    """What an apply did, or would do."""

    record: WorkloadRecord
    outcome: pb.ApplyOutcome.ValueType
    warnings: tuple[str, ...]
    differences: Mapping[str, str]
    """Child -> what overrides and division change there; only filled by a dry run."""


def succeeding(before: WorkloadRow | None, new: WorkloadRow) -> tuple[WorkloadRow, pb.ApplyOutcome.ValueType]:
    """What follows when `new` is submitted under the same name. The generation counts changes of objects."""
    if before is None:
        return new, pb.APPLY_OUTCOME_CREATED
    generation = before.generation + int(before.manifests != new.manifests)
    row = replace(
        before,
        labels=new.labels,
        generation=generation,
        placement=new.placement,
        manifests=new.manifests,
    )
    return row, pb.APPLY_OUTCOME_UNCHANGED if row == before else pb.APPLY_OUTCOME_CHANGED


def following(existing: WorkloadRecord | None, row: WorkloadRow, submission: Submission) -> WorkloadRecord:
    """A new record for what follows on another, with copies of its parts: it may yet fail to be stored."""
    bound = {name: replace(part) for name, part in existing.bound.items()} if existing else {}
    return WorkloadRecord(row, submission, bound)


def restored(row: WorkloadRow, own_path: Path) -> WorkloadRecord:
    """A workload as the store knows it, with no parts yet."""
    spec = pb.WorkloadSpec.FromString(row.manifests)
    spec.placement.CopyFrom(pb.Placement.FromString(row.placement))
    return WorkloadRecord(row, read_submission(spec, own_path))
