"""What a workload asks for, read from real manifests of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arbora.capacity.gpus import GpuClass
from arbora.capacity.shape import PodGroup, ReplicasPath, Shape, shape_of
from arbora.errors import InvalidInput
from arbora.manifests.strict_yaml import read_yaml

DATA = Path(__file__).parents[2] / "data" / "manifests"
GPU = "nvidia.com/gpu"
H200 = "NVIDIA-H200"
SPEC_REPLICAS = (ReplicasPath("/spec/replicas"),)
NUMBERED_JOB = "not divided: the pods of an indexed Job are numbered and each member would begin at 0"


def manifest(name: str) -> dict[str, Any]:
    (document,) = read_yaml((DATA / f"{name}.yaml").read_text(), name)
    value: dict[str, Any] = document.value
    return value


def shape(name: str) -> Shape:
    found = shape_of(manifest(name))
    assert found is not None
    return found


def annotated(name: str, **annotations: str) -> Shape:
    changed = manifest(name)
    changed["metadata"]["annotations"] = {
        f"arbora.dev/{key.replace('_', '-')}": value for key, value in annotations.items()
    }
    found = shape_of(changed)
    assert found is not None
    return found


def of_gpus(name: str, replicas: int, count: int, **more: Any) -> PodGroup:
    return PodGroup(name, replicas, gpus=((GPU, count),), **more)


GOLDEN = {
    "pod": Shape(
        "Pod notebook",
        (PodGroup("pod", 1, 1, 4000, 8256, ((GPU, 1),), (("nvidia.com/gpu.product", ("Tesla-T4",)),)),),
    ),
    "deployment": Shape(
        "Deployment web",
        (PodGroup("pods", 3, 1, 500, 512, (("nvidia.com/mig-1g.10gb", 1),)),),
        3,
        divisible=True,
        replicas_at=SPEC_REPLICAS,
    ),
    "replicaset": Shape(
        "ReplicaSet web",
        (PodGroup("pods", 1, gpus=(("nvidia.com/gpu.shared", 1),)),),
        divisible=True,
        replicas_at=SPEC_REPLICAS,
    ),
    "statefulset": Shape(
        "StatefulSet store",
        (PodGroup("pods", 2, 1, 1000, 2048),),
        2,
        replicas_at=SPEC_REPLICAS,
        reasons=("not divided: the pods of a StatefulSet are numbered and each member would begin at 0",),
    ),
    "daemonset": Shape(
        "DaemonSet exporter",
        (PodGroup("pods", 1, 1, 50, 32),),
        reasons=("runs one pod per node of a member and is counted as one",),
    ),
    "job": Shape(
        "Job render",
        (PodGroup("pods", 4, gpus=(("amd.com/gpu", 2),)),),
        4,
        divisible=True,
        replicas_at=(ReplicasPath("/spec/parallelism"), ReplicasPath("/spec/completions", 3)),
    ),
    "job-indexed": Shape(
        "Job allreduce",
        (of_gpus("pods", 4, 8, products=(("nvidia.com/gpu.product", ("NVIDIA-H100-80GB-HBM3", H200)),)),),
        4,
        gang=True,
        min_available=4,
        replicas_at=(ReplicasPath("/spec/parallelism"), ReplicasPath("/spec/completions")),
        reasons=(NUMBERED_JOB,),
    ),
    "cronjob": Shape(
        "CronJob nightly",
        (PodGroup("pods", 2, gpus=(("gpu.intel.com/i915", 1),)),),
        2,
        reasons=("counted as one run at a time",),
    ),
    "jobset": Shape(
        "JobSet pretrain",
        (PodGroup("driver", 1, 1, 1000), of_gpus("workers", 8, 8, per_unit=8)),
        gang=True,
        min_available=9,
        reasons=("group workers is counted from the beginning, although it waits for another",),
    ),
    "leaderworkerset": Shape(
        "LeaderWorkerSet llm",
        (of_gpus("leader", 3, 8, cpu_millis=4000), of_gpus("worker", 9, 8, per_unit=3)),
        3,
        gang=True,
        min_available=4,
        divisible=True,
        replicas_at=SPEC_REPLICAS,
    ),
    "volcano-job": Shape(
        "Job mpi",
        (PodGroup("master", 1, 1, 1000), of_gpus("worker", 4, 4, per_unit=4)),
        gang=True,
        min_available=3,
    ),
    "pytorchjob": Shape(
        "PyTorchJob train",
        (of_gpus("Master", 1, 8), of_gpus("Worker", 3, 8, per_unit=3)),
        gang=True,
        min_available=4,
    ),
    "tfjob": Shape(
        "TFJob train", (of_gpus("Chief", 1, 8), of_gpus("Worker", 3, 8, per_unit=3)), gang=True, min_available=4
    ),
    "xgboostjob": Shape(
        "XGBoostJob train",
        (of_gpus("Master", 1, 8), of_gpus("Worker", 3, 8, per_unit=3)),
        gang=True,
        min_available=4,
    ),
    "mpijob": Shape(
        "MPIJob hpl",
        (PodGroup("Launcher", 1, 1, 500), of_gpus("Worker", 4, 8, per_unit=4)),
        gang=True,
        min_available=3,
    ),
    "trainjob": Shape(
        "TrainJob finetune",
        (PodGroup("node", 4, 4, 16000, 65536, ((GPU, 8),), (("nvidia.com/gpu.product", (H200,)),)),),
        gang=True,
        min_available=4,
    ),
    "raycluster": Shape(
        "RayCluster tune",
        (PodGroup("head", 1, 1, 2000, 4096), of_gpus("gpus", 6, 4, per_unit=6)),
        gang=True,
        min_available=3,
        reasons=("Ray's autoscaler may ask for more workers later; counted are those of the beginning",),
    ),
    "rayjob": Shape(
        "RayJob batch-infer",
        (
            PodGroup("head", 1, 1, 1000, 2048),
            of_gpus("gpus", 2, 1, per_unit=2),
            PodGroup("submitter", 1, 1, 500, 200),
        ),
        gang=True,
        min_available=4,
    ),
    "declared": Shape(
        "ModelServer chat",
        (of_gpus("pods", 2, 2),),
        2,
        divisible=True,
        replicas_at=(ReplicasPath("/spec/scale/min"),),
    ),
    "unknown": Shape("SparkRun etl", (), reasons=("placed as one unit: kind SparkRun has no known replicas",)),
}


def test_every_example_has_a_golden_shape() -> None:
    assert {path.stem for path in DATA.glob("*.yaml")} == set(GOLDEN)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_shape_of_a_real_manifest(name: str) -> None:
    assert shape(name) == GOLDEN[name]


def test_what_runs_no_pods_has_no_shape() -> None:
    for api_version, kind in (("v1", "ConfigMap"), ("networking.k8s.io/v1", "Ingress"), ("autoscaling/v2", "X")):
        assert shape_of({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}}) is None


def test_a_custom_resource_can_say_that_it_runs_no_pods() -> None:
    rule = manifest("unknown")
    rule["metadata"]["annotations"] = {"arbora.dev/no-pods": "true"}
    assert shape_of(rule) is None


def test_a_job_whose_completions_can_not_be_split_evenly_stays_whole() -> None:
    job = manifest("job")
    job["spec"]["completions"] = 13
    found = shape_of(job)
    assert found is not None and not found.divisible
    assert found.reasons == ("not divided: 13 completions are not a multiple of 4 pods at a time",)


def test_an_indexed_job_that_works_off_its_indexes_is_no_gang() -> None:
    job = manifest("job-indexed")
    job["spec"]["completions"] = 40
    found = shape_of(job)
    assert found is not None and not found.gang and found.units == 4


def test_fewer_completions_than_parallelism_limit_the_pods() -> None:
    job = manifest("job")
    job["spec"].update(parallelism=8, completions=3)
    found = shape_of(job)
    assert found is not None and found.units == 3 and found.pods == 3


def test_an_annotation_makes_a_gang_of_a_job_and_a_gang_is_not_divided() -> None:
    found = annotated("job", gang="true")
    assert (found.gang, found.min_available, found.divisible) == (True, 4, False)
    assert annotated("job", gang="true", divisible="true").divisible


def test_an_annotation_says_that_pods_are_of_use_alone() -> None:
    found = annotated("job-indexed", gang="false", divisible="true")
    assert (found.gang, found.min_available, found.divisible, found.reasons) == (False, 0, True, ())


def test_groups_of_a_leader_worker_set_stay_divisible_as_gangs() -> None:
    found = annotated("leaderworkerset", gang="true")
    assert found.gang and found.divisible and found.min_available == found.pods_per_unit == 4


def test_what_has_no_replicas_can_not_be_declared_divisible() -> None:
    with pytest.raises(InvalidInput, match="no replicas") as caught:
        annotated("pytorchjob", divisible="true")
    assert caught.value.field == "metadata.annotations[arbora.dev/divisible]"


def test_an_elastic_job_needs_only_its_minimum_of_workers() -> None:
    job = manifest("pytorchjob")
    job["spec"]["elasticPolicy"] = {"minReplicas": 1}
    found = shape_of(job)
    assert found is not None and found.pods == 4 and found.min_available == 2


def test_a_train_job_says_what_its_runtime_decides() -> None:
    job = manifest("trainjob")
    del job["spec"]["trainer"]
    found = shape_of(job)
    assert found is not None and found.pods == 1
    assert all("torch-distributed" in reason for reason in found.reasons) and len(found.reasons) == 2


def test_alternatives_of_node_affinity_add_up_if_they_name_the_same_label() -> None:
    job = manifest("job-indexed")
    affinity = job["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    product = {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["Tesla-T4"]}
    terms.append({"matchExpressions": [product]})
    found = shape_of(job)
    assert found is not None
    assert found.groups[0].products[0][1] == ("NVIDIA-H100-80GB-HBM3", H200, "Tesla-T4")
    terms.append({"matchExpressions": [{"key": "zone", "operator": "Exists"}]})
    found = shape_of(job)
    assert found is not None and found.groups[0].products == ()
    assert "alternatives in its node affinity" in found.reasons[0]


def test_contradictory_products_are_refused() -> None:
    job = manifest("job-indexed")
    job["spec"]["template"]["spec"]["nodeSelector"] = {"nvidia.com/gpu.product": "Tesla-T4"}
    with pytest.raises(InvalidInput, match=r"no value of .* satisfies"):
        shape_of(job)


def test_a_product_label_names_the_exact_class() -> None:
    (group,) = shape("pod").groups
    assert group.classes(GPU) == (GpuClass("nvidia", "Tesla-T4"),)
    assert group.classes("amd.com/gpu") == ()
    mig = PodGroup("x", 1, products=(("nvidia.com/gpu.product", ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb",)),))
    assert mig.classes(GPU) == (GpuClass("nvidia", "NVIDIA-A100-SXM4-40GB", "1g.5gb"),)
    mixed = PodGroup("x", 1, products=(("nvidia.com/mig-1g.5gb.product", ("NVIDIA-A100-MIG-1g.5gb",)),))
    assert mixed.classes("nvidia.com/mig-1g.5gb") == (GpuClass("nvidia", "NVIDIA-A100", "1g.5gb"),)
    assert mixed.classes(GPU) == ()
    amd = PodGroup("x", 1, products=(("beta.amd.com/gpu.product-name", ("MI300X",)),))
    assert amd.classes("amd.com/gpu") == (GpuClass("amd", "MI300X"),)


def test_devices_asked_for_by_claims_are_named_as_not_counted() -> None:
    pod = manifest("pod")
    pod["spec"]["resourceClaims"] = [{"name": "gpu"}]
    found = shape_of(pod)
    assert found is not None
    assert found.reasons == ("group pod asks for devices by resource claims, which are not counted",)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("spec", "replicas"), -1, "spec.replicas"),
        (("spec", "replicas"), True, "spec.replicas"),
        (("spec", "replicas"), "3", "spec.replicas"),
        (("spec", "template"), [], "spec.template"),
        (("spec", "template", "spec", "containers"), {}, "spec.template.spec.containers"),
        (("spec", "template", "spec", "containers"), [None], "spec.template.spec.containers[0]"),
        (("spec", "template", "spec", "nodeSelector"), ["x"], "spec.template.spec.nodeSelector"),
        (("metadata", "annotations"), {"arbora.dev/gang": "yes"}, "metadata.annotations[arbora.dev/gang]"),
        (
            ("metadata", "annotations"),
            {"arbora.dev/replicas-path": "spec"},
            "metadata.annotations[arbora.dev/replicas-path]",
        ),
        (
            ("metadata", "annotations"),
            {"arbora.dev/replicas-path": "/spec/a/b"},
            "metadata.annotations[arbora.dev/replicas-path]",
        ),
    ],
)
def test_a_damaged_manifest_is_refused_with_the_path(path: tuple[str, ...], value: Any, field: str) -> None:
    damaged = manifest("deployment")
    parent = damaged
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    with pytest.raises(InvalidInput) as caught:
        shape_of(damaged)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("amount", "problem"),
    [("1.5", "whole number"), ("-1", "can ask for"), ("many", "not a quantity"), ("1e30", "can ask for")],
)
def test_a_wrong_amount_is_refused_with_its_path(amount: str, problem: str) -> None:
    pod = manifest("pod")
    pod["spec"]["containers"][0]["resources"]["limits"][GPU] = amount
    with pytest.raises(InvalidInput, match=problem) as caught:
        shape_of(pod)
    assert caught.value.field == "spec.containers[0].resources.limits[nvidia.com/gpu]"


def test_more_pods_together_than_there_are_is_refused() -> None:
    job = manifest("volcano-job")
    job["spec"]["minAvailable"] = 6
    with pytest.raises(InvalidInput, match="the tasks have 5"):
        shape_of(job)
