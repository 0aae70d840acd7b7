"""A workload of several objects: what it asks for together, and how a share of it is written."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from arbora.capacity.shape import Shape, shape_of, shape_of_all, with_replicas, with_share
from arbora.errors import InvalidInput
from arbora.manifests.strict_yaml import read_yaml

DATA = Path(__file__).parents[2] / "data" / "manifests"


def manifest(name: str) -> dict[str, Any]:
    value: dict[str, Any] = read_yaml((DATA / f"{name}.yaml").read_text(), name)[0].value
    return value


def shape(name: str) -> Shape:
    found = shape_of(manifest(name))
    assert found is not None
    return found


def test_a_workload_with_one_divisible_object_is_divided_there() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    workload = [service, manifest("deployment")]
    found = shape_of_all(workload)
    assert (found.units, found.divisible, found.indexes, found.reasons) == (3, True, (1,), ())
    shared = with_share(workload, found, 2)
    assert shared[0] is service and shared[1]["spec"]["replicas"] == 2
    assert workload[1]["spec"]["replicas"] == 3


def test_a_workload_of_two_objects_with_pods_stays_whole_and_says_why() -> None:
    workload = [manifest("deployment"), manifest("unknown")]
    found = shape_of_all(workload)
    assert not found.divisible and found.units == 1
    assert found.reasons == (
        "SparkRun etl: placed as one unit: kind SparkRun has no known replicas",
        "not divided: more than one object counts (Deployment web, SparkRun etl)",
    )
    assert with_share(workload, found, 1) == tuple(workload)
    with pytest.raises(InvalidInput, match="can't be divided"):
        with_share(workload, found, 2)


def test_gangs_of_a_workload_add_up_and_errors_name_the_manifest() -> None:
    found = shape_of_all([manifest("pytorchjob"), manifest("volcano-job")])
    assert found.gang and found.min_available == 7 and len(found.groups) == 4
    broken = copy.deepcopy(manifest("deployment"))
    broken["spec"]["replicas"] = None
    assert shape_of_all([broken]).units == 1
    broken["spec"]["replicas"] = "x"
    with pytest.raises(InvalidInput) as caught:
        shape_of_all([manifest("pod"), broken])
    assert caught.value.field == "manifests[1].spec.replicas"


def test_a_share_keeps_completions_in_proportion() -> None:
    divided = with_replicas(manifest("job"), shape("job"), 1)
    assert (divided["spec"]["parallelism"], divided["spec"]["completions"]) == (1, 3)


def test_what_is_not_divisible_takes_only_its_own_number() -> None:
    store = manifest("statefulset")
    assert with_replicas(store, shape("statefulset"), 2) == store
    with pytest.raises(InvalidInput, match="can't be divided"):
        with_replicas(store, shape("statefulset"), 1)
    with pytest.raises(InvalidInput, match="can't have"):
        with_replicas(manifest("job"), shape("job"), 2**31 // 3 + 1)
