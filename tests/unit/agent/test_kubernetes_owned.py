"""Objects of ours, seen by watches and by applies in any order."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arbora.manifests.objects import Gvk
from arbora_agent.cluster.kubernetes.kinds import kind_key, read_kinds
from arbora_agent.cluster.kubernetes.owned import OwnedObjects, is_older, read_owned
from arbora_agent.cluster.port import ANNOTATION_GENERATION, LABEL_WORKLOAD, OwnedObject

GVK = Gvk("v1", "ConfigMap")


def body(
    version: int, *, name: str = "a", workload: str = "w", uid: str = "u", **metadata: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": uid,
            "resourceVersion": str(version),
            "labels": {LABEL_WORKLOAD: workload},
            "annotations": {ANNOTATION_GENERATION: "4"},
            **metadata,
        },
        "data": {"version": str(version)},
    }


def seen(version: int, **more: Any) -> OwnedObject:
    owned = read_owned(body(version, **more), GVK)
    assert owned is not None
    return owned


def test_a_listed_object_gets_its_kind_and_loses_managed_fields() -> None:
    owned = seen(7, managedFields=[{"manager": "x"}])
    assert owned.body["kind"] == "ConfigMap"
    assert "managedFields" not in owned.body["metadata"]
    assert (owned.workload_uid, owned.generation, owned.resource_version) == ("w", 4, "7")


def test_the_reference_has_the_version_in_which_we_applied() -> None:
    fields = [
        {"manager": "kubectl", "operation": "Apply", "apiVersion": "autoscaling/v1"},
        {"manager": "arbora-agent", "operation": "Apply", "apiVersion": "autoscaling/v2"},
    ]
    owned = read_owned(body(1, managedFields=fields), Gvk("autoscaling/v1", "HorizontalPodAutoscaler"))
    assert owned is not None
    assert owned.ref.gvk == Gvk("autoscaling/v2", "HorizontalPodAutoscaler")


def test_an_object_without_our_label_is_not_ours() -> None:
    assert read_owned(body(1, labels={"app": "x"}), GVK) is None
    assert read_owned(body(1, labels=None), GVK) is None


def test_a_generation_that_somebody_spoiled_counts_as_none() -> None:
    for spoiled in ("", "x", "-1", "4.0", "²"):
        assert seen(1, annotations={ANNOTATION_GENERATION: spoiled}).generation == 0
    assert seen(1, annotations=None).generation == 0


def test_a_stale_event_does_not_overwrite_what_an_apply_returned() -> None:
    objects = OwnedObjects()
    assert objects.put(seen(10))
    assert not objects.put(seen(9))
    assert not objects.put(seen(10))
    assert not objects.remove(seen(9).ref, "9")
    assert objects.of("w")[0].resource_version == "10"
    assert objects.remove(seen(11).ref, "11") == [(seen(11).ref, "w")]
    assert objects.workloads() == frozenset()


def test_a_list_keeps_what_was_applied_after_it() -> None:
    objects = OwnedObjects()
    objects.put(seen(5, name="gone"))
    objects.put(seen(20, name="new"))
    told = objects.replace(("", "ConfigMap"), [seen(6, name="listed")], "10")
    assert [each.ref.name for each in objects.of("w")] == ["listed", "new"]
    assert [ref.name for ref, _ in told] == ["listed", "gone"]


def test_a_list_of_one_kind_leaves_others_alone() -> None:
    objects = OwnedObjects()
    objects.put(seen(5))
    objects.replace(("batch", "Job"), [], "10")
    assert objects.of("w")


def test_a_change_of_owner_tells_both() -> None:
    objects = OwnedObjects()
    objects.put(seen(1, workload="old"))
    assert {workload for _, workload in objects.put(seen(2, workload="new"))} == {"old", "new"}
    assert objects.workloads() == {"new"}


@given(st.permutations([(1, False), (2, False), (3, True), (4, False), (5, True)]))
def test_an_object_that_was_deleted_last_is_gone_whatever_arrives_when(order: list[tuple[int, bool]]) -> None:
    assert play(order) is None


@given(st.permutations([(1, False), (2, True), (3, False), (4, True), (5, False)]))
def test_events_in_any_order_leave_the_newest(order: list[tuple[int, bool]]) -> None:
    assert play(order) == "5"


def play(order: list[tuple[int, bool]]) -> str | None:
    """Put (or, where the flag is set, remove) these versions; return the one that is left."""
    objects = OwnedObjects()
    for version, deleted in order:
        if deleted:
            objects.remove(seen(version).ref, str(version))
        else:
            objects.put(seen(version))
    left = objects.of("w")
    return left[0].resource_version if left else None


def test_versions_that_are_no_numbers_are_never_older() -> None:
    assert is_older("9", "10")
    assert not is_older("10", "9")
    assert not is_older("abc", "10")
    assert not is_older("", "10")


def test_recorded_kinds_come_back() -> None:
    kinds = [GVK, Gvk("apps/v1", "Deployment"), Gvk("kueue.x-k8s.io/v1beta1", "LocalQueue")]
    record = {kind_key(gvk): gvk.version for gvk in kinds}
    assert sorted(read_kinds(record)) == sorted(kinds)
    assert read_kinds({"": "v1", ".apps": "v1", "Pod": "", "Job.batch": "a/b"}) == []
