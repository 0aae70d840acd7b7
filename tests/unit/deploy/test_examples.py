"""The workloads in deploy/examples are read without complaint, and a hub takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbora.identity.names import Path as TreePath
from arbora.manifests import documents
from arbora.manifests.objects import to_json
from arbora.v1 import workload_pb2
from arbora_hub.workloads.spec import check_labels, check_workload_name, read_manifests, read_placement

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "deploy" / "examples").glob("*.yaml"))


def read(path: Path) -> documents.WorkloadDocument:
    (workload,) = documents.read(path.read_text(), path.name).workloads
    return workload


def test_there_is_one_for_each_thing_that_people_ask_for_first() -> None:
    assert [path.stem for path in EXAMPLES] == ["configmap", "deployment", "gpu-job", "service-account"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_one_workload_and_nothing_else(path: Path) -> None:
    found = documents.read(path.read_text(), path.name)
    assert len(found.workloads) == 1
    assert not found.objects


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_hub_takes_an_example(path: Path) -> None:
    workload = read(path)
    check_workload_name(workload.name)
    check_labels(dict(workload.labels), "metadata.labels")
    placement = workload_pb2.Placement(members=workload.placement.members)
    read_placement(placement, TreePath())
    taken = read_manifests([to_json(manifest) for manifest in workload.manifests])
    assert len(taken) == len(workload.manifests)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_the_same_when_it_is_written_out_and_read_again(path: Path) -> None:
    workload = read(path)
    (again,) = documents.read(documents.dump(workload), path.name).workloads
    assert again == workload


def test_names_of_examples_do_not_clash() -> None:
    names = [read(path).name for path in EXAMPLES]
    assert len(set(names)) == len(names)
