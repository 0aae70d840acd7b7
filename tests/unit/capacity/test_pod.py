"""What a pod asks for."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.capacity.pod import PodUse, pod_requests, read_pod
from arbora.errors import InvalidInput

GPU = "nvidia.com/gpu"


def container(gpus: int | str = 0, *, sidecar: bool = False, **more: str) -> dict[str, Any]:
    made: dict[str, Any] = {"resources": {"requests": {GPU: str(gpus), **more}}}
    return {**made, "restartPolicy": "Always"} if sidecar else made


def gpus_of(spec: dict[str, Any]) -> Fraction:
    return pod_requests(spec).get(GPU, Fraction(0))


def test_containers_add_up() -> None:
    assert gpus_of({"containers": [container(1), container(2)]}) == 3


def test_an_init_container_counts_only_where_it_is_the_largest() -> None:
    assert gpus_of({"containers": [container(2)], "initContainers": [container(1)]}) == 2
    assert gpus_of({"containers": [container(2)], "initContainers": [container(1), container(5)]}) == 5


def test_a_sidecar_runs_beside_the_containers() -> None:
    assert gpus_of({"containers": [container(2)], "initContainers": [container(1, sidecar=True)]}) == 3


def test_a_sidecar_counts_for_the_init_containers_after_it_only() -> None:
    after = [container(2, sidecar=True), container(4)]
    before = [container(4), container(2, sidecar=True)]
    assert gpus_of({"containers": [container(1)], "initContainers": after}) == 6
    assert gpus_of({"containers": [container(1)], "initContainers": before}) == 4


def test_a_limit_without_a_request_is_a_request() -> None:
    assert gpus_of({"containers": [{"resources": {"limits": {GPU: "2"}}}]}) == 2


def test_overhead_is_added_and_pod_level_resources_stand_above() -> None:
    spec = {
        "containers": [container(cpu="1"), container(cpu="1")],
        "resources": {"requests": {"cpu": "5"}},
        "overhead": {"cpu": "250m"},
    }
    assert pod_requests(spec)["cpu"] == Fraction(21, 4)


def test_a_finished_pod_holds_nothing() -> None:
    spec = {"nodeName": "n", "containers": [container(1)]}
    assert read_pod({"spec": spec, "status": {"phase": "Succeeded"}}) is None
    assert read_pod({"spec": spec, "status": {"phase": "Failed"}}) is None
    for phase in ("Pending", "Running", "Unknown"):
        assert read_pod({"spec": spec, "status": {"phase": phase}}) == PodUse("n", ((GPU, 1),), 0, 0)


def test_a_pod_is_trimmed_to_what_counts() -> None:
    limits = {"nvidia.com/mig-1g.10gb": "2", "example.com/fpga": "1", "cpu": "1500m", "memory": "100M", GPU: "0"}
    spec = {"containers": [{"resources": {"limits": limits}}]}
    assert read_pod({"spec": spec}) == PodUse("", (("nvidia.com/mig-1g.10gb", 2),), 1500, 96)


def test_a_malformed_quantity_is_refused() -> None:
    with pytest.raises(InvalidInput):
        read_pod({"spec": {"containers": [container("lots")]}})


@given(
    st.lists(st.integers(0, 8), max_size=5),
    st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=6),
)
def test_the_request_is_what_the_pod_holds_at_its_largest_moment(
    running: list[int], starting: list[tuple[int, bool]]
) -> None:
    moments, sidecars = [], 0
    for amount, is_sidecar in starting:
        moments.append(sidecars + amount)
        sidecars += amount if is_sidecar else 0
    moments.append(sidecars + sum(running))
    spec = {
        "containers": [container(amount) for amount in running],
        "initContainers": [container(amount, sidecar=is_sidecar) for amount, is_sidecar in starting],
    }
    assert gpus_of(spec) == max(moments)
