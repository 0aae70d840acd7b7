"""A workload as the hub holds it: what was submitted, who gets which share, and how it is doing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from google.protobuf import json_format

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.manifests.objects import to_json
from arbora.manifests.overrides import MemberFacts
from arbora.v1 import workload_pb2 as pb
from arbora.workloads.model import AssignmentStatus, State
from arbora_hub.placement.decide import Decision
from arbora_hub.placement.explain import Explanation
from arbora_hub.store.rows import WorkloadRow
from arbora_hub.workloads.dispatch import unfit
from arbora_hub.workloads.record import Bound, WorkloadRecord, read_submission, restored, succeeding
from tests.support.hub import config_map
from tests.support.placing import deployment

SPREAD = {"selector": {}, "division": {"mode": "spread"}}
TO_CN = {
    "selector": {"matchLabels": {"region": "cn"}},
    "targets": [{"kind": "Deployment"}],
    "edits": [{"image": {"part": "registry", "operator": "replace", "value": "registry.cn.example.org"}}],
}
UNFIT = {"members": ["b"], "edits": [{"jsonPatch": [{"op": "replace", "path": "/data/absent", "value": 1}]}]}


def spec(
    *manifests: dict[str, Any], placement: dict[str, Any] = SPREAD, overrides: Any = None
) -> pb.WorkloadSpec:
    return pb.WorkloadSpec(
        placement=json_format.ParseDict(placement, pb.Placement()),
        manifests=[to_json(one) for one in manifests],
        overrides=json.dumps(overrides).encode() if overrides is not None else b"",
    )


def row_of(wanted: pb.WorkloadSpec, **more: Any) -> WorkloadRow:
    packed = pb.WorkloadSpec(manifests=wanted.manifests, overrides=wanted.overrides).SerializeToString()
    facts = {"generation": 1, "labels": {}, **more}
    return WorkloadRow(
        "uid", "app", placement=wanted.placement.SerializeToString(), manifests=packed, created=0.0, **facts
    )


def record(wanted: pb.WorkloadSpec, **bound: Bound) -> WorkloadRecord:
    made = restored(row_of(wanted), Path())
    made.bound.update(bound)
    return made


def decided(*assignments: tuple[str, int], pending: int = 0, reasons: Iterable[str] = ()) -> Decision:
    return Decision("uid", assignments, (), pending, tuple(reasons), Explanation(0, (), (), ()), "")


def facts(name: str, **labels: str) -> MemberFacts:
    return MemberFacts(name, Path().child(name), labels)


def status(state: State, generation: int = 1, message: str = "") -> AssignmentStatus:
    return AssignmentStatus("uid", generation, state, (), message)


def test_a_member_gets_its_share_with_what_is_different_there() -> None:
    submission = read_submission(spec(deployment("web", 6), config_map("x"), overrides=[TO_CN]), Path())
    assert submission.divided
    plain, settings = submission.for_member(facts("a"), 2)
    assert (plain["spec"]["replicas"], settings) == (2, config_map("x"))
    there, _ = submission.for_member(facts("b", region="cn"), 4)
    assert there["spec"]["replicas"] == 4
    image = there["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "registry.cn.example.org/team/web:1"


def test_without_a_division_every_member_runs_all_of_it() -> None:
    submission = read_submission(spec(deployment("web", 6), placement={"selector": {}}), Path())
    assert not submission.divided
    (whole,) = submission.for_member(facts("a"), 1)
    assert whole["spec"]["replicas"] == 6


WRONG = {
    "overrides that are no JSON": (
        pb.WorkloadSpec(overrides=b"{", manifests=[to_json(config_map("x"))]),
        "spec.overrides",
    ),
    "an edit that is none": (
        spec(config_map("x"), overrides=[{"edits": [{"color": "red"}]}]),
        "spec.overrides[0]",
    ),
    "replicas that are no number": (spec(deployment("web", "six")), "spec.manifests[0].spec.replicas"),  # type: ignore[arg-type]
    "GPUs that are no number": (spec(deployment("web", 1, "all")), "spec.manifests[0].spec.template"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wish_that_is_wrong_is_refused_with_the_field(what: str) -> None:
    wanted, field = WRONG[what]
    if not wanted.HasField("placement"):
        wanted.placement.CopyFrom(pb.Placement(members=["a"]))
    with pytest.raises(InvalidInput) as refused:
        read_submission(wanted, Path())
    assert refused.value.field.startswith(field)


def test_what_was_stored_is_read_back_as_it_was_submitted() -> None:
    wanted = spec(deployment("web", 6), overrides=[TO_CN])
    before, after = read_submission(wanted, Path()), restored(row_of(wanted), Path()).submission
    assert (before.policy, before.demand, before.manifests, before.edits) == (
        after.policy,
        after.demand,
        after.manifests,
        after.edits,
    )


def test_only_changed_objects_make_a_new_generation() -> None:
    first = row_of(spec(deployment("web", 6)))
    assert succeeding(None, first) == (first, pb.APPLY_OUTCOME_CREATED)
    assert succeeding(first, row_of(spec(deployment("web", 6)))) == (first, pb.APPLY_OUTCOME_UNCHANGED)
    moved, outcome = succeeding(first, row_of(spec(deployment("web", 6), placement={"members": ["a"]})))
    assert (moved.generation, outcome) == (1, pb.APPLY_OUTCOME_CHANGED)
    grown, outcome = succeeding(first, row_of(spec(deployment("web", 7))))
    assert (grown.generation, outcome) == (2, pb.APPLY_OUTCOME_CHANGED)
    edited, _ = succeeding(first, row_of(spec(deployment("web", 6), overrides=[TO_CN])))
    assert edited.generation == 2


def test_a_part_that_is_being_withdrawn_is_not_held_and_has_no_say() -> None:
    made = record(
        spec(deployment("web", 6)),
        a=Bound(1, replicas=4, status=status(State.AVAILABLE)),
        b=Bound(1, withdrawn=True, replicas=2, status=status(State.DEGRADED)),
    )
    assert made.previous() == {"a": 4}
    made.decision = decided(("a", 4))
    assert made.state() is State.AVAILABLE
    assert not made.binding()
    assert made.assignment(made.bound["b"], facts("b")).withdrawn
    assert list(made.assignment(made.bound["b"], facts("b")).manifests) == []


def test_replicas_without_a_place_or_a_report_keep_it_pending() -> None:
    made = record(spec(deployment("web", 6)), a=Bound(2, replicas=6, status=status(State.AVAILABLE)))
    made.decision = decided(("a", 6))
    assert made.state() is State.PENDING, "the report is of the generation before"
    made.bound["a"].status = status(State.AVAILABLE, 2)
    assert made.state() is State.AVAILABLE
    made.decision = decided(("a", 6), pending=1, reasons=["of 1 children 1 are cordoned"])
    assert made.state() is State.PENDING
    assert made.sentence() == "placed on 1 member, 1 replica pending: of 1 children 1 are cordoned"


def test_its_sentence_names_what_is_wrong_first() -> None:
    made = record(
        spec(deployment("web", 6)), a=Bound(1, status=status(State.DEGRADED, message="the image is not there"))
    )
    assert made.sentence() == "a: the image is not there"


def test_children_that_would_get_something_an_override_does_not_fit_are_named() -> None:
    made = record(spec(config_map("x"), placement={"selector": {}}, overrides=[UNFIT]), c=Bound(1, replicas=0))
    assert unfit(made, {"a": 0, "c": 0}, facts) == {}
    found = unfit(made, {"a": 0, "b": 0}, facts)
    assert list(found) == ["b"]
    assert found["b"].startswith("does not suit an override: spec.overrides[0].edits[0]")
    made.bound["b"] = Bound(1, replicas=0)
    assert unfit(made, {"b": 0}, facts) == {}, "what runs there stays"
    made.excluded = found
    assert made.request().excluded == found


def test_what_a_child_says_while_a_change_is_stored_is_not_lost() -> None:
    known = record(spec(config_map("x")), a=Bound(1), b=Bound(1))
    changed = record(spec(config_map("x")), a=Bound(1, withdrawn=True), c=Bound(1))
    known.bound["a"].status, known.bound["a"].fresh = status(State.DELETED), True
    changed.heard_since(known)
    changed.heard_since(changed)
    changed.heard_since(None)
    assert (changed.bound["a"].status, changed.bound["a"].fresh) == (status(State.DELETED), True)
    assert set(changed.bound) == {"a", "c"}
