"""The workloads in deploy/examples are read without complaint, and a hub takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbora.client.workloads import request_of
from arbora.identity.names import Path as TreePath
from arbora.manifests import documents
from arbora_hub.workloads.labels import check_labels
from arbora_hub.workloads.policy import read_policy
from arbora_hub.workloads.spec import check_workload_name, read_objects

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "deploy" / "examples").glob("*.yaml"))


def read(path: Path) -> documents.WorkloadDocument:
    (workload,) = documents.read(path.read_text(), path.name).workloads
    return workload


def test_there_is_one_for_each_thing_that_people_ask_for_first() -> None:
    assert [path.stem for path in EXAMPLES] == [
        "configmap",
        "deployment",
        "gpu-job",
        "placement-divided",
        "placement-gpu-type",
        "placement-most-free",
        "service-account",
        "tree-by-path",
        "tree-divided",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_one_workload_and_nothing_else(path: Path) -> None:
    found = documents.read(path.read_text(), path.name)
    assert len(found.workloads) == 1
    assert not found.objects


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_hub_takes_an_example(path: Path) -> None:
    request = request_of(read(path))
    check_workload_name(request.name)
    check_labels(dict(request.labels), "metadata.labels")
    wish = read_policy(request.spec.placement, TreePath())
    assert wish.members or wish.selector is not None
    assert read_objects(list(request.spec.manifests))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_the_same_when_it_is_written_out_and_read_again(path: Path) -> None:
    workload = read(path)
    (again,) = documents.read(documents.dump(workload), path.name).workloads
    assert again == workload


def test_names_of_examples_do_not_clash() -> None:
    names = [read(path).name for path in EXAMPLES]
    assert len(set(names)) == len(names)
