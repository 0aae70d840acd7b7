"""From readings and events to what a node's agent tells: when, and what not."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from arbora.gpus.health import Health
from arbora.gpus.model import NOTHING, Node, Values
from arbora.gpus.wire import node_from_wire, node_to_wire, values_from_wire, values_to_wire
from arbora.v1 import gpu_pb2
from arbora_agent.gpu.deadband import worth_telling
from arbora_agent.gpu.reading import Answer, GpuReading, MigFacts, NodeFacts, Xid
from arbora_agent.node_agent.watch import COUNTERS_SECONDS, MIB, NodeWatch, values_of
from tests.support.gpus import facts_of, uuid_of

READ = GpuReading(
    uuid_of("n", 0), utilization=50, temperature=60, power_mw=300_400, memory_used=10 * MIB, throttle_reasons=1
)


def watch(count: int = 2) -> NodeWatch:
    """Of a node whose devices were read and told."""
    one = NodeWatch()
    one.trouble("")
    one.listed(facts_of("n", count), 0.0)
    for index in range(count):
        one.read(replace(READ, uuid=uuid_of("n", index)), 0.0)
    one.node(0.0)
    one.values()
    return one


def health_of(node: Node | None) -> list[Health]:
    assert node is not None
    return [each.health for each in node.devices]


class TestWhatIsTold:
    def test_facts_and_values_are_told_first(self) -> None:
        one = NodeWatch()
        one.trouble("")
        one.listed(facts_of("n", 2), 0.0)
        one.read(READ, 0.0)
        node, told = one.node(0.0), one.values()
        assert node is not None
        assert told is not None
        assert [each.name for each in node.devices] == ["NVIDIA H100 80GB HBM3"] * 2
        assert (node.driver, node.cuda, node.trouble) == ("570.86.10", "12.8", "")
        layout, values = told
        assert layout == node.layout
        assert values == (Values(50, None, 10, 60, None, 300, None, None, None, 0), NOTHING)

    def test_nothing_new_is_not_told(self) -> None:
        one = watch()
        one.read(READ, 10.0)
        assert one.node(10.0) is None
        assert one.values() is None

    def test_a_value_within_its_band_is_not_told(self) -> None:
        one = watch()
        one.read(replace(READ, utilization=54, temperature=61, power_mw=310_000), 10.0)
        assert one.values() is None

    def test_a_value_that_left_its_band_is_told_with_all_others_of_its_device(self) -> None:
        one = watch()
        one.read(replace(READ, utilization=56, temperature=61), 10.0)
        told = one.values()
        assert told is not None
        assert (told[1][0].utilization, told[1][0].temperature) == (56, 61)
        assert told[1][1].utilization == 50

    def test_health_is_told_with_its_reason_and_since_when(self) -> None:
        one = watch()
        changed = one.heard(Xid(79, uuid_of("n", 1)), 10.0)
        assert [(each.device.index, each.after.health) for each in changed] == [(1, Health.UNHEALTHY)]
        node = one.node(12.0)
        assert health_of(node) == [Health.HEALTHY, Health.UNHEALTHY]
        assert node is not None
        assert node.devices[1].health_for == 2.0
        assert node.devices[1].last_xid == 79
        assert "XID 79" in node.devices[1].reason

    def test_counters_alone_are_told_once_a_minute(self) -> None:
        one = watch()
        for second in range(10, int(COUNTERS_SECONDS), 10):
            one.read(replace(READ, ecc_corrected=second), float(second))
            assert one.node(float(second)) is None
        one.read(replace(READ, ecc_corrected=100), COUNTERS_SECONDS)
        node = one.node(COUNTERS_SECONDS)
        assert node is not None
        assert node.devices[0].counters.ecc_corrected == 100

    def test_a_change_of_health_does_not_wait_for_the_minute(self) -> None:
        one = watch()
        one.read(replace(READ, ecc_corrected=5, remap_failed=True), 10.0)
        assert health_of(one.node(10.0)) == [Health.UNHEALTHY, Health.HEALTHY]

    def test_trouble_is_told_and_its_end(self) -> None:
        one = watch()
        one.trouble("no driver")
        node = one.node(10.0)
        assert node is not None
        assert (node.trouble, len(node.devices)) == ("no driver", 2)
        one.trouble("")
        assert one.node(11.0) is not None


class TestDevicesThatGoAndCome:
    def test_one_that_is_lost_keeps_what_it_counted_and_has_no_values(self) -> None:
        one = watch()
        one.read(replace(READ, ecc_uncorrected=3), 10.0)
        one.read(GpuReading(READ.uuid, Answer.LOST), 20.0)
        node, told = one.node(20.0), one.values()
        assert node is not None
        assert told is not None
        assert node.devices[0].counters.ecc_uncorrected == 3
        assert told[1][0] == NOTHING

    def test_one_that_is_silent_keeps_its_values_in_sight(self) -> None:
        one = watch()
        one.read(GpuReading(READ.uuid, Answer.SILENT, "Unknown Error"), 10.0)
        assert one.values() is None

    def test_one_that_the_driver_no_longer_lists_is_unhealthy_and_last(self) -> None:
        one = watch()
        changed = one.listed(NodeFacts("570.86.10", "12.8", facts_of("n", 2).gpus[1:]), 10.0)
        assert [each.after.health for each in changed] == [Health.UNHEALTHY]
        node = one.node(10.0)
        assert node is not None
        assert [each.uuid for each in node.devices] == [uuid_of("n", 1), uuid_of("n", 0)]
        one.listed(facts_of("n", 2), 20.0)
        one.read(READ, 80.0)
        assert one.devices[0].machine.verdict.health is Health.RECOVERING

    def test_values_name_the_order_of_the_devices(self) -> None:
        one = watch()
        one.listed(facts_of("n", 3), 10.0)
        node, told = one.node(10.0), one.values()
        assert node is not None
        assert told is not None
        assert told[0] == node.layout
        assert len(told[1]) == 3

    def test_an_error_of_a_device_that_nobody_knows_counts_for_none(self) -> None:
        one = watch()
        assert one.heard(Xid(79, "GPU-other"), 10.0) == ()
        assert one.heard(Xid(79), 10.0) == ()
        assert one.node(10.0) is None

    def test_a_driver_that_was_loaded_anew_ends_what_was_wrong(self) -> None:
        one = watch()
        one.heard(Xid(95, READ.uuid), 10.0)
        one.driver_loaded(100.0)
        one.read(READ, 110.0)
        assert health_of(one.node(110.0)) == [Health.RECOVERING, Health.HEALTHY]


def test_a_device_is_looked_at_sooner_where_something_is_about_to_be_decided() -> None:
    one = watch()
    assert one.next_look() is None
    one.heard(Xid(154, READ.uuid), 10.0)
    assert one.next_look() == 10.0


def test_a_neighbour_of_the_same_kind_tells_how_many_links_there_should_be() -> None:
    one = watch()
    one.read(replace(READ, uuid=uuid_of("n", 1), nvlinks_active=18), 10.0)
    one.read(replace(READ, nvlinks_active=17), 10.0)
    node = one.node(10.0)
    assert node is not None
    assert node.devices[0].reason == "17 of 18 NVLinks are up"


def test_values_are_in_the_units_that_people_read() -> None:
    reading = GpuReading(
        "GPU-1",
        memory_used=3 * MIB + 5,
        power_mw=71_600,
        throttle_reasons=0x1 | 0x40,
        mig_memory_used=(2 * MIB, None),
    )
    found = values_of(reading)
    assert (found.memory_used_mib, found.power, found.throttle) == (3, 72, 0x40)
    assert found.mig_memory_used_mib == (2, 0)


numbers = st.one_of(st.none(), st.integers(0, 1000))


@given(numbers, numbers, st.integers(0, 100_000))
def test_nothing_is_told_twice_and_what_is_known_or_not_is_always_told(
    before: int | None, after: int | None, memory: int
) -> None:
    one, other = Values(power=before), Values(power=after)
    assert not worth_telling(one, one, memory)
    if (before is None) is not (after is None):
        assert worth_telling(one, other, memory)


def test_there_is_no_band_between_idle_and_not_idle() -> None:
    assert worth_telling(Values(utilization=0), Values(utilization=1), None)
    assert worth_telling(Values(utilization=1), Values(utilization=0), None)
    assert not worth_telling(Values(utilization=2), Values(utilization=1), None)


def test_a_gpu_goes_over_the_wire_as_it_is() -> None:
    one = watch()
    one.heard(Xid(31, READ.uuid), 1.0)
    divided = replace(
        facts_of("n", 1).gpus[0], mig_enabled=True, mig=(MigFacts("MIG-1", "1g.10gb", 1, 0, 10 * 2**30),)
    )
    one.listed(NodeFacts("1", "2", (divided, *facts_of("n", 2).gpus[1:])), 5.0)
    one.read(replace(READ, mig_memory_used=(MIB,), pcie_replays=0), 90.0)
    node, told = one.node(90.0), one.values()
    assert node is not None
    assert told is not None
    sent = gpu_pb2.NodeGpus.FromString(node_to_wire(node).SerializeToString())
    assert node_from_wire(sent) == node
    values = gpu_pb2.NodeGpuValues.FromString(values_to_wire(*told).SerializeToString())
    assert values_from_wire(values) == told
