"""What is applied and deleted, in which order, and what counts as the same object."""

from __future__ import annotations

from arbora.manifests.objects import Gvk, ObjectRef
from arbora_agent.cluster.port import OwnedObject
from arbora_agent.workloads.plan import Identity, apply_order, items_of, leaving
from tests.unit.agent.stage import assignment, config_map, deployment, ref, thing


def owned(kind: str, name: str, generation: int = 1) -> OwnedObject:
    return OwnedObject(ref(kind, name), "w", generation, f"uid-{name}", "1", {})


def names(classes: tuple[tuple[object, ...], ...]) -> list[list[str]]:
    return [[each.ref.name for each in group] for group in classes]  # type: ignore[attr-defined]


def test_the_classes_follow_each_other_and_custom_kinds_come_last() -> None:
    custom = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": "custom"}}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crd"},
    }
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "priority"}}
    made = assignment(
        custom,
        deployment("run"),
        thing("Service", "front"),
        config_map("one"),
        thing("Secret", "two"),
        thing("ServiceAccount", "account"),
        priority,
        crd,
        thing("Namespace", "team"),
    )
    assert names(apply_order(items_of(made))) == [
        ["team"],
        ["crd"],
        ["priority"],
        ["account"],
        ["one", "two"],
        ["front"],
        ["run"],
        ["custom"],
    ]


def test_a_kind_of_another_group_with_a_known_name_is_a_custom_kind() -> None:
    knative = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "knative"}}
    assert names(apply_order(items_of(assignment(knative, deployment("run"))))) == [["run"], ["knative"]]


def test_leaving_the_namespace_out_and_another_version_name_the_same_object() -> None:
    plain = Identity.of(ObjectRef(Gvk("autoscaling/v1", "HorizontalPodAutoscaler"), "", "x"))
    assert plain == Identity.of(ObjectRef(Gvk("autoscaling/v2", "HorizontalPodAutoscaler"), "default", "x"))
    assert plain != Identity.of(ObjectRef(Gvk("autoscaling/v2", "HorizontalPodAutoscaler"), "team", "x"))


def test_what_is_no_longer_named_leaves_backwards() -> None:
    made = assignment(config_map("stays"), generation=2)
    present = [
        owned("ConfigMap", "stays"),
        owned("ConfigMap", "a"),
        owned("ConfigMap", "b"),
        owned("Deployment", "c"),
    ]
    assert names(leaving(made, items_of(made), present)) == [["c"], ["b", "a"]]


def test_everything_of_a_withdrawn_workload_leaves() -> None:
    made = assignment(config_map("stays"), generation=2, withdrawn=True)
    present = [owned("Namespace", "team"), owned("ConfigMap", "stays"), owned("Deployment", "c")]
    assert names(leaving(made, items_of(made), present)) == [["c"], ["stays"], ["team"]]


def test_an_object_of_a_newer_generation_never_leaves() -> None:
    made = assignment(generation=2, withdrawn=True)
    present = [owned("ConfigMap", "newer", 3), owned("ConfigMap", "same", 2), owned("ConfigMap", "unmarked", 0)]
    assert names(leaving(made, items_of(made), present)) == [["unmarked", "same"]]


def test_an_object_whose_second_mention_is_refused_does_not_leave() -> None:
    made = assignment(config_map("x"), config_map("x"), generation=2)
    items = items_of(made)
    assert [bool(item.refusal) for item in items] == [False, True]
    assert leaving(made, items, [owned("ConfigMap", "x")]) == ()
