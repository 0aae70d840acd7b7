"""What is free once the devices' health is known: never a GPU that does not work, and none taken away twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import sketch
from arbora.capacity.wire import sketch_from_wire, sketch_to_wire
from arbora.gpus.health import Health
from arbora.gpus.model import Device, Mig, Node, Use
from arbora_agent.gpu.exclusion import with_health

H100 = GpuClass("nvidia", "NVIDIA-H100-80GB-HBM3")
A100 = GpuClass("nvidia", "NVIDIA-A100-SXM4-40GB")
NAME = "NVIDIA H100 80GB HBM3"


def row(capacity: int = 8, allocatable: int = 8, requested: int = 0, gpu_class: GpuClass = H100) -> NodeGpus:
    return NodeGpus("n", gpu_class, capacity, allocatable, requested)


def devices(*healths: Health, use: Use = Use.UNKNOWN, name: str = NAME) -> tuple[Device, ...]:
    return tuple(
        Device(f"GPU-{index}", index, name, health=health, use=use) for index, health in enumerate(healths)
    )


def judged(given_row: NodeGpus, node: Node) -> NodeGpus:
    (found,) = with_health([given_row], {"n": node})
    return found


def node_of(*bad: Health, use: Use = Use.UNKNOWN) -> Node:
    """Eight devices: the first ones bad, the others healthy."""
    return Node(devices=devices(*bad, *[Health.HEALTHY] * (8 - len(bad)), use=use))


def test_a_node_without_an_agent_is_as_kubernetes_says() -> None:
    assert with_health([row(requested=3)], {}) == (row(requested=3),)


@pytest.mark.parametrize("health", [Health.UNHEALTHY, Health.DRAINING, Health.RECOVERING])
def test_a_device_that_takes_no_work_is_not_free(health: Health) -> None:
    found = judged(row(requested=5), node_of(health))
    assert (found.free, found.allocatable) == (2, 7)
    assert found.unhealthy == (health is Health.UNHEALTHY)
    assert found.draining == (health is not Health.UNHEALTHY)


def test_a_degraded_device_is_free_and_counted() -> None:
    found = judged(row(), node_of(Health.DEGRADED))
    assert (found.free, found.degraded, found.observed, found.unhealthy) == (8, 1, 8, 0)


def test_what_kubernetes_has_taken_away_is_not_taken_away_twice() -> None:
    found = judged(row(allocatable=7, requested=5), node_of(Health.UNHEALTHY))
    assert (found.free, found.unhealthy) == (2, 1)


def test_a_second_one_is_taken_away_all_the_same() -> None:
    found = judged(row(allocatable=7, requested=5), node_of(Health.UNHEALTHY, Health.UNHEALTHY))
    assert (found.free, found.unhealthy) == (1, 2)


@pytest.mark.parametrize("health", [Health.UNHEALTHY, Health.DRAINING])
def test_one_that_a_pod_is_known_to_hold_was_not_free_anyway(health: Health) -> None:
    bad = Device("GPU-0", 0, NAME, health=health, use=Use.HELD)
    rest = tuple(Device(f"GPU-{index}", index, NAME, use=Use.FREE) for index in range(1, 8))
    assert judged(row(requested=1), Node(devices=(bad, *rest))).free == 7


def test_a_device_that_fell_out_of_the_drivers_list_before_anybody_looked_is_missed() -> None:
    found = judged(row(), Node(devices=devices(*[Health.HEALTHY] * 7)))
    assert (found.free, found.unhealthy) == (7, 1)


def test_where_nothing_can_be_read_nothing_is_missed() -> None:
    assert judged(row(), Node(trouble="no driver")).free == 8
    assert judged(row(), Node(devices=devices(*[Health.HEALTHY] * 7), trouble="no driver")).free == 8


def test_what_runs_stays_counted_as_used() -> None:
    found = judged(row(requested=8), node_of(Health.UNHEALTHY, Health.UNHEALTHY))
    assert (found.free, found.allocatable, found.unhealthy) == (0, 8, 2)


def test_a_node_that_is_closed_has_nothing_free_and_shows_what_is_broken() -> None:
    found = judged(replace(row(), usable=False), node_of(Health.UNHEALTHY))
    assert (found.free, found.unhealthy) == (0, 1)


def test_the_instances_of_a_bad_device_go_with_it() -> None:
    small = GpuClass("nvidia", H100.product, "1g.10gb")
    large = GpuClass("nvidia", H100.product, "3g.40gb")
    whole = Device("GPU-2", 2, NAME)

    def divided(number: int, health: Health) -> Device:
        mig = tuple(
            Mig(f"MIG-{number}-{index}", profile)
            for index, profile in enumerate(["1g.10gb", "1g.10gb", "3g.40gb"])
        )
        return Device(f"GPU-{number}", number, NAME, mig_enabled=True, mig=mig, health=health)

    node = Node(devices=(divided(0, Health.UNHEALTHY), divided(1, Health.HEALTHY), whole))
    rows = [row(4, 4, 1, small), row(2, 2, 0, large), row(1, 1, 0)]
    found = with_health(rows, {"n": node})
    assert [each.free for each in found] == [1, 1, 1]
    assert [each.unhealthy for each in found] == [2, 1, 0]


def test_a_shared_device_takes_all_its_shares_with_it() -> None:
    shared = GpuClass("nvidia", H100.product, "", "time-slicing")
    node = Node(devices=devices(Health.UNHEALTHY, Health.HEALTHY))
    found = judged(row(8, 8, 1, shared), node)
    assert (found.free, found.unhealthy, found.observed) == (3, 4, 8)


def test_two_products_on_a_node_are_told_apart() -> None:
    node = Node(
        devices=(
            Device("GPU-0", 0, NAME, health=Health.UNHEALTHY),
            Device("GPU-1", 1, NAME),
            Device("GPU-2", 2, "NVIDIA A100-SXM4-40GB"),
        )
    )
    found = with_health([row(2, 2), row(1, 1, 0, A100)], {"n": node})
    assert [each.free for each in found] == [1, 1]


def test_a_product_that_nobody_labelled_has_the_devices_of_its_node() -> None:
    unlabelled = GpuClass("nvidia", "nvidia-gpu")
    assert judged(row(2, 2, 0, unlabelled), Node(devices=devices(Health.UNHEALTHY, Health.HEALTHY))).free == 1


def test_other_vendors_are_left_alone() -> None:
    amd = row(gpu_class=GpuClass("amd", "MI300X"))
    assert judged(amd, node_of(Health.UNHEALTHY)) == amd


healths = st.sampled_from(list(Health))


@given(
    st.integers(0, 16),
    st.integers(0, 16),
    st.integers(0, 20),
    st.lists(st.tuples(healths, st.sampled_from(list(Use))), max_size=16),
    st.booleans(),
)
def test_never_more_is_free_than_kubernetes_offers_nor_than_works_and_the_sketch_adds_up(
    capacity: int, offered: int, requested: int, seen: list[tuple[Health, Use]], usable: bool
) -> None:
    before = NodeGpus("n", H100, max(capacity, offered), offered, requested, usable)
    node = Node(
        devices=tuple(
            Device(f"GPU-{index}", index, NAME, health=health, use=use)
            for index, (health, use) in enumerate(seen)
        )
    )
    after = judged(before, node)
    assert 0 <= after.free <= before.free
    if seen:
        assert after.free <= sum(health.takes_work for health, _ in seen)
    assert after.capacity == before.capacity
    for gpu_class, made in sketch([after], {}).items():
        assert sketch_from_wire(sketch_to_wire(gpu_class, made)) == (gpu_class, made)
