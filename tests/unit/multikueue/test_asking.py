"""When a Workload waits for us, and what its pods ask for."""

from __future__ import annotations

from typing import Any

import pytest

from arbora.errors import InvalidInput
from arbora_hub.kubernetes.multikueue.asking import has_it, read_asking, read_wish
from arbora_hub.placement.demand import GpuWish

CHECKS = {"training"}


def pods(count: int = 1, gpus: int = 1, resource: str = "nvidia.com/gpu", **spec: Any) -> dict[str, Any]:
    requests = {"cpu": "2", "memory": "1Gi", **({resource: gpus} if gpus else {})}
    containers = [{"name": "main", "resources": {"requests": requests}}]
    return {"name": f"p{count}", "count": count, "template": {"spec": {"containers": containers, **spec}}}


def workload(*sets: dict[str, Any], annotations: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    given = {
        "conditions": [{"type": "QuotaReserved", "status": "True"}],
        "admissionChecks": [{"name": "training", "state": "Pending"}],
        **status,
    }
    return {
        "metadata": {
            "name": "train",
            "namespace": "team",
            "uid": "u1",
            "resourceVersion": "7",
            "annotations": annotations or {},
        },
        "spec": {"podSets": list(sets or (pods(),))},
        "status": given,
    }


def test_with_quota_and_a_pending_check_it_waits() -> None:
    asking = read_asking(workload(), CHECKS)
    assert (asking.key, asking.waits, asking.check) == ("team/train", True, "training")


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"admissionChecks": []}, "no admission check of ours"),
        ({"admissionChecks": [{"name": "others", "state": "Pending"}]}, "no admission check of ours"),
        ({"conditions": []}, "reserved no quota"),
        ({"clusterName": "training.a"}, "training.a has it"),
        ({"admissionChecks": [{"name": "training", "state": "Retry"}]}, "is Retry"),
        (
            {
                "admissionChecks": [
                    {"name": "training", "state": "Pending"},
                    {"name": "budget", "state": "Pending"},
                ]
            },
            "waits for budget",
        ),
        (
            {"conditions": [{"type": "QuotaReserved", "status": "True"}, {"type": "Evicted", "status": "True"}]},
            "being evicted",
        ),
        ({"conditions": [{"type": "Finished", "status": "True"}]}, "is finished"),
    ],
)
def test_else_it_is_said_why_not(status: dict[str, Any], why: str) -> None:
    asking = read_asking(workload(**status), CHECKS)
    assert not asking.waits
    assert why in asking.why_not


def test_who_has_it_counts_while_it_is_not_finished() -> None:
    item = workload(clusterName="a")
    assert has_it(item, nominated=True) == {"a"}
    asked = workload(nominatedClusterNames=["a", "b"])
    assert has_it(asked, nominated=True) == {"a", "b"}
    assert has_it(asked, nominated=False) == frozenset()
    assert not has_it(
        workload(clusterName="a", conditions=[{"type": "Finished", "status": "True"}]), nominated=True
    )


def test_all_pods_go_together_with_what_each_asks_for() -> None:
    wish = read_wish(workload(pods(1, 0), pods(3, 8)))
    assert wish.demand.gang
    assert wish.demand.whole
    assert [(group.replicas, group.gpus_per_pod, group.cpu_millis) for group in wish.demand.groups] == [
        (1, 0, 2000),
        (3, 8, 2000),
    ]


def affinity(*values: str) -> dict[str, Any]:
    expression = {"key": "nvidia.com/gpu.product", "operator": "In", "values": list(values)}
    term = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}


@pytest.mark.parametrize(
    "item",
    [
        workload(pods(nodeSelector={"nvidia.com/gpu.product": "Tesla-T4"})),
        workload(pods(affinity=affinity("Tesla-T4"))),
        workload(annotations={"arbora.dev/gpu-product": "Tesla-T4"}),
    ],
    ids=["node selector", "affinity", "annotation"],
)
def test_a_gpu_type_is_read_from_node_selector_affinity_or_annotation(item: dict[str, Any]) -> None:
    (group,) = read_wish(item).demand.groups
    assert group.gpu == GpuWish("nvidia.com/gpu", "Tesla-T4")


def test_the_pods_own_words_win_over_the_annotation() -> None:
    item = workload(
        pods(nodeSelector={"nvidia.com/gpu.product": "Tesla-T4"}), annotations={"arbora.dev/gpu-product": "L4"}
    )
    assert read_wish(item).demand.groups[0].gpu == GpuWish("nvidia.com/gpu", "Tesla-T4")


def test_one_of_several_types_is_kept_as_alternatives() -> None:
    (classes,) = read_wish(workload(pods(affinity=affinity("Tesla-T4", "NVIDIA-L4")))).alternatives
    assert {one.product for one in classes} == {"Tesla-T4", "NVIDIA-L4"}


def test_what_can_not_be_read_names_its_field() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_wish(workload(pods(gpus=-1)))
    assert caught.value.field.startswith("spec.podSets[0].template.spec.containers[0].resources")
