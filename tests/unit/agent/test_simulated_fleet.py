"""Fleet specs, what pods ask for, and where they are placed."""

from __future__ import annotations

import pytest

from arbora.errors import InvalidInput
from arbora_agent.cluster.simulated.fleet import SimulatedNode, parse_fleet
from arbora_agent.cluster.simulated.pods import PodTemplate, SimulatedPod, gpu_request, place


def test_a_spec_names_its_nodes_after_their_product() -> None:
    nodes = parse_fleet("2x8xA100,1x4xnvidia-tesla-t4")
    assert [(node.name, node.gpus, node.product) for node in nodes] == [
        ("a100-0", 8, "A100"),
        ("a100-1", 8, "A100"),
        ("nvidia-tesla-t4-0", 4, "nvidia-tesla-t4"),
    ]
    assert nodes == parse_fleet(" 2x8xA100 , 1x4xnvidia-tesla-t4")


def test_groups_of_the_same_product_don_t_share_names() -> None:
    assert [node.name for node in parse_fleet("1x8xH100,2x4xH100")] == ["h100-0", "h100-1", "h100-2"]
    assert [node.name for node in parse_fleet("1x8xH100", taken=["h100-0"])] == ["h100-1"]


def test_an_empty_spec_has_no_nodes() -> None:
    assert parse_fleet("") == parse_fleet("  ") == ()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("8xH100", "'8xH100' is not a group"),
        ("4x8xH100,", "'' is not a group"),
        ("0x8xH100", "has no nodes"),
        ("4x0xH100", "1 to 64 GPUs"),
        ("4x65xH100", "1 to 64 GPUs"),
        ("4x8xH 100", "not a product name"),
        ("4x8x-x", "not a product name"),
        ("9999x8xH100", "more than 5000 nodes"),
        ("-1x8xH100", "is not a group"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_is_wrong(spec: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        parse_fleet(spec)


def container(gpus: int, **fields: object) -> dict[str, object]:
    return {"resources": {"limits": {"nvidia.com/gpu": str(gpus), "cpu": "500m"}}, **fields}


@pytest.mark.parametrize(
    ("spec", "gpus"),
    [
        ({"containers": [container(2), container(1)]}, 3),
        ({"containers": [container(2)], "initContainers": [container(4)]}, 4),
        ({"containers": [container(2)], "initContainers": [container(1, restartPolicy="Always")]}, 3),
        (
            {
                "containers": [container(1)],
                "initContainers": [container(1, restartPolicy="Always"), container(4), container(2)],
            },
            5,
        ),
    ],
)
def test_a_pod_asks_for_the_most_it_ever_holds(spec: dict[str, object], gpus: int) -> None:
    assert gpu_request(spec) == {"nvidia.com/gpu": gpus}


def waiting(serial: int, gpus: int, **template: object) -> SimulatedPod:
    asked = (("nvidia.com/gpu", gpus),) if gpus else ()
    return SimulatedPod(serial, "owner", PodTemplate("t", asked, **template))  # type: ignore[arg-type]


NODES = (SimulatedNode("a", "H100", 8), SimulatedNode("b", "H100", 4), SimulatedNode("c", "A100", 8))


def test_a_pod_goes_to_the_fullest_node_that_takes_it() -> None:
    assert place(NODES, [waiting(1, 4), waiting(2, 8), waiting(3, 8), waiting(4, 8)]) == {1: "b", 2: "a", 3: "c"}


def test_what_does_not_fit_does_not_hold_up_what_comes_behind_it() -> None:
    assert place(NODES, [waiting(1, 16), waiting(2, 1)]) == {2: "b"}


def test_a_pod_goes_only_where_its_selector_points() -> None:
    pods = [
        waiting(1, 2, selector=(("nvidia.com/gpu.product", "A100"),)),
        waiting(2, 2, selector=(("zone", "x"),)),
    ]
    assert place(NODES, pods) == {1: "c"}


def test_a_cordoned_node_takes_nothing_new() -> None:
    closed = [SimulatedNode("a", "H100", 8, cordoned=True), SimulatedNode("d", "H100", 8, ready=False)]
    assert place(closed, [waiting(1, 1), waiting(2, 0)]) == {}


def test_another_vendors_devices_are_asked_for_in_vain() -> None:
    pod = SimulatedPod(1, "owner", PodTemplate("t", (("amd.com/gpu", 1),)))
    assert place(NODES, [pod]) == {}
