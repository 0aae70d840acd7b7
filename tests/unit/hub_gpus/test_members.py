"""What a hub knows of its members' devices, from the records that come in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arbora.gpus.health import Health
from arbora.gpus.model import NOTHING, Node, Values
from arbora.gpus.wire import node_to_wire
from arbora.v1 import gpu_pb2
from arbora_hub.gpus import members
from arbora_hub.gpus.minute import Minute
from arbora_hub.gpus.rollup import Rollup
from arbora_hub.inventory.child import Child
from arbora_hub.journal import WARNING
from tests.unit.hub_gpus.world import H100, World, device, node

WELL, BAD = Health.HEALTHY, Health.UNHEALTHY
BUSY = Values(utilization=90, temperature=70, power=600)
CALM = Values(utilization=10, temperature=40, power=100)


async def told_of(world: World, child: Child, key: str, value: bytes) -> str:
    """What the journal says of a record that comes in."""
    with world.journal.watch() as watcher:
        world.gpus.observed(child, key, value)
        row, _ = await watcher.take()
    assert (row.severity, row.reason, row.subject) == (WARNING, "InvalidRecord", f"member/{child.name}")
    return row.message


def minute_of(world: World, uuid: str = "GPU-0", name: str = "n1") -> Minute:
    """The device's minute ends now."""
    member = world.gpus.member("edge-7")
    assert member is not None
    known = member.nodes[name]
    (health,) = [each.health for each in known.node.devices if each.uuid == uuid]
    return known.gathered[uuid].close(health, world.clock.now)


# what comes in


async def test_a_device_is_shown_with_its_node_its_values_and_since_when(world: World) -> None:
    child = await world.child()
    here = replace(node(WELL, WELL), driver="570.86.10")
    world.tells(child, here)
    world.passes(5.0)
    world.measures(child, here, BUSY, CALM)
    first, second = world.devices()
    assert (first.child, first.node_name, first.node.driver) == (child, "n1", "570.86.10")
    assert (first.device.uuid, first.values, first.values_at) == ("GPU-0", BUSY, world.clock.now)
    assert (second.device.uuid, second.values) == ("GPU-1", CALM)


async def test_devices_are_shown_by_node_and_within_it_as_their_agent_names_them(world: World) -> None:
    child = await world.child()
    for name in ("n2", "n10", "n1"):
        world.tells(child, node(WELL, WELL, prefix=name), name)
    assert [one.device.uuid for one in world.devices()] == ["n1-0", "n1-1", "n10-0", "n10-1", "n2-0", "n2-1"]


async def test_a_device_that_measured_nothing_yet_is_shown_without_values(world: World) -> None:
    child = await world.child()
    world.tells(child, node(WELL))
    (one,) = world.devices()
    assert (one.values, one.values_at) == (NOTHING, None)


async def test_a_child_that_never_spoke_of_gpus_has_none(world: World) -> None:
    await world.child()
    assert world.gpus.member("edge-7") is None
    assert world.devices("edge-7") == world.devices("nobody") == []


async def test_values_that_arrive_before_their_devices_wait_for_them(world: World) -> None:
    child = await world.child()
    here = node(WELL)
    world.measures(child, here, BUSY)
    assert world.devices() == []
    world.tells(child, here)
    assert world.values() == {"GPU-0": BUSY}


async def test_members_are_kept_apart(world: World) -> None:
    one, other = await world.child("edge-7"), await world.child("edge-8")
    world.tells(one, node(WELL))
    world.tells(other, node(WELL, prefix="GPU-b"))
    assert list(world.values("edge-7")) == ["GPU-0"]
    assert list(world.values("edge-8")) == ["GPU-b-0"]


# the layout


async def test_values_of_another_layout_are_no_devices_values(world: World) -> None:
    child = await world.child()
    before, after = node(WELL, WELL), Node(devices=(device("GPU-x", 0), device("GPU-y", 1)))
    world.tells(child, before)
    world.measures(child, after, BUSY, CALM)
    assert world.values() == {"GPU-0": NOTHING, "GPU-1": NOTHING}


async def test_values_of_fewer_devices_than_there_are_count_for_none(world: World) -> None:
    child = await world.child()
    here = node(WELL, WELL)
    world.tells(child, here)
    world.measures(child, here, BUSY)
    assert world.values() == {"GPU-0": NOTHING, "GPU-1": NOTHING}


async def test_devices_that_change_places_keep_what_is_their_own(world: World) -> None:
    child = await world.child()
    before = node(WELL, WELL)
    world.tells(child, before)
    world.measures(child, before, BUSY, CALM)
    after = Node(devices=(device("GPU-1", 0), device("GPU-0", 1)))
    world.tells(child, after)
    assert world.values() == {"GPU-1": CALM, "GPU-0": BUSY}
    world.measures(child, after, NOTHING, CALM)
    assert world.values() == {"GPU-1": NOTHING, "GPU-0": CALM}


async def test_a_device_that_is_gone_from_its_node_is_shown_no_more_and_the_others_minutes_go_on(
    world: World,
) -> None:
    child = await world.child()
    before = node(WELL, WELL)
    world.tells(child, before)
    world.measures(child, before, BUSY, CALM)
    world.passes(30.0)
    after = Node(devices=before.devices[1:])
    world.tells(child, after)
    world.measures(child, after, Values(utilization=30))
    world.passes(30.0)
    assert world.values() == {"GPU-1": Values(utilization=30)}
    assert minute_of(world, "GPU-1").utilization == 20.0


# health


async def test_a_health_is_counted_from_when_its_agent_says_it_began(world: World) -> None:
    child = await world.child()
    began = world.clock.now - 300.0
    world.tells(child, Node(devices=(device("GPU-0", health=BAD, health_for=300.0),)))
    assert world.devices()[0].health_at == began
    world.passes(100.0)
    world.tells(child, Node(devices=(device("GPU-0", health=BAD, health_for=399.0),), driver="other"))
    assert world.devices()[0].health_at == began, "the way of a record takes time; the health is still the same"
    world.tells(child, Node(devices=(device("GPU-0", health=Health.RECOVERING, health_for=2.0),)))
    assert world.devices()[0].health_at == world.clock.now - 2.0


async def test_a_fault_that_is_over_within_the_minute_is_its_health(world: World) -> None:
    child = await world.child()
    for health in (WELL, BAD, Health.RECOVERING, WELL):
        world.tells(child, node(health))
        world.passes(1.0)
    assert minute_of(world).health is BAD
    assert minute_of(world).health is WELL


# silence


@pytest.mark.parametrize("change", [{"silent": True}, {"trouble": "the driver is not loaded"}])
async def test_of_a_node_that_is_not_read_the_devices_are_shown_and_nothing_that_they_measured(
    world: World, change: dict[str, object]
) -> None:
    child = await world.child()
    here = node(BAD)
    world.tells(child, here)
    world.measures(child, here, BUSY)
    world.tells(child, replace(here, **change))  # type: ignore[arg-type]
    (one,) = world.devices()
    assert (one.device.health, one.values) == (BAD, NOTHING)


async def test_news_of_a_silent_node_make_no_old_value_count_again(world: World) -> None:
    child = await world.child()
    here = node(WELL)
    world.tells(child, here)
    world.measures(child, here, BUSY)
    world.tells(child, replace(here, silent=True))
    world.passes(60.0)
    minute_of(world)
    world.tells(child, replace(here, silent=True, leaked=1))
    world.measures(child, here, CALM)
    world.passes(60.0)
    assert world.values() == {"GPU-0": NOTHING}
    assert minute_of(world) == Minute()


async def test_a_node_that_is_heard_of_again_has_the_values_that_it_said_last(world: World) -> None:
    child = await world.child()
    here = node(WELL)
    world.tells(child, here)
    world.measures(child, here, BUSY)
    world.tells(child, replace(here, silent=True))
    world.passes(45.0)
    world.measures(child, here, CALM)
    world.tells(child, here)
    world.passes(15.0)
    assert world.values() == {"GPU-0": CALM}
    assert minute_of(world).utilization_max == 90, "it was read before, in the same minute"


# away and back


async def test_a_member_that_is_away_is_shown_as_it_was(world: World) -> None:
    child = await world.child()
    here = node(WELL)
    world.tells(child, here)
    world.measures(child, here, BUSY)
    world.cut(child)
    world.passes(3600.0)
    assert world.values() == {"GPU-0": BUSY}


async def test_while_a_member_is_away_its_minutes_stand_still(world: World) -> None:
    child = await world.child()
    here = node(WELL)
    world.tells(child, here)
    world.measures(child, here, BUSY)
    world.passes(10.0)
    world.cut(child)
    world.passes(40.0)
    world.back(child)
    world.measures(child, here, CALM)
    world.passes(10.0)
    assert minute_of(world).utilization == 50.0, "10 seconds at 90 % and 10 at 10 %"


async def test_a_member_that_is_back_begins_its_minute_without_what_was_before(world: World) -> None:
    child = await world.child()
    here = node(WELL)
    world.tells(child, here)
    world.measures(child, here, BUSY)
    world.cut(child)
    for _ in range(3):
        world.passes(60.0)
        minute_of(world)
    world.back(child)
    world.measures(child, here, CALM)
    world.passes(30.0)
    minute = minute_of(world)
    assert (minute.utilization, minute.utilization_max, minute.temperature) == (10.0, 10, 40)


async def test_what_changed_in_a_member_without_its_being_away_disturbs_no_minute(world: World) -> None:
    child = await world.child()
    here = node(WELL)
    world.tells(child, here)
    world.measures(child, here, BUSY)
    world.passes(30.0)
    await world.inventory.update(child, lambda row: replace(row, cordoned=True))
    world.measures(child, here, CALM)
    world.passes(30.0)
    assert minute_of(world).utilization == 50.0


# what goes away


async def test_a_node_that_is_gone_is_forgotten(world: World) -> None:
    child = await world.child()
    for name in ("n1", "n2"):
        world.tells(child, node(WELL, prefix=name), name)
    world.gpus.observed(child, "gpu/n1", None)
    world.gpus.observed(child, "gpu-values/n1", None)
    world.gpus.observed(child, "gpu/never-there", None)
    assert list(world.values()) == ["n2-0"]


async def test_values_that_cross_the_end_of_their_node_leave_nothing_behind(world: World) -> None:
    child = await world.child()
    here = node(WELL)
    world.tells(child, here)
    world.gpus.observed(child, "gpu/n1", None)
    world.measures(child, here, BUSY)
    world.gpus.observed(child, "gpu-values/n1", None)
    member = world.gpus.member("edge-7")
    assert member is not None
    assert not member.nodes


async def test_an_evicted_member_is_forgotten_and_a_late_record_of_it_too(world: World) -> None:
    child = await world.child()
    world.tells(child, node(WELL))
    await world.inventory.evict(child)
    assert world.gpus.member("edge-7") is None
    world.tells(child, node(WELL))
    assert world.gpus.member("edge-7") is None
    await world.child()
    assert world.devices() == [], "whoever has the name after it begins with nothing"


# what can't be read


@pytest.mark.parametrize("key", ["gpu/n1", "gpu-values/n1"])
async def test_a_record_that_can_not_be_read_is_left_out_with_a_warning_and_changes_nothing(
    world: World, key: str
) -> None:
    child = await world.child()
    here = node(WELL)
    world.tells(child, here)
    world.measures(child, here, BUSY)
    assert key in await told_of(world, child, key, b"\xff\xff")
    assert world.values() == {"GPU-0": BUSY}


async def test_a_record_that_contradicts_itself_is_left_out_and_named(world: World) -> None:
    child = await world.child()
    twice = node_to_wire(node(WELL))
    twice.gpus.append(twice.gpus[0])
    assert "one UUID stands twice" in await told_of(world, child, "gpu/n1", twice.SerializeToString())
    too_much = gpu_pb2.NodeGpuValues(gpus=[gpu_pb2.GpuValues(utilization=101)]).SerializeToString()
    assert "more than 100 %" in await told_of(world, child, "gpu-values/n1", too_much)
    assert world.devices() == []


async def test_only_an_agent_reports_devices_and_only_a_hub_reports_sums(world: World) -> None:
    agent, hub = await world.child("edge-7"), await world.child("eu", "hub")
    record = node_to_wire(node(WELL)).SerializeToString()
    assert "only an agent" in await told_of(world, hub, "gpu/n1", record)
    assert "only a hub" in await told_of(world, agent, "gpu-rollup", b"")
    assert world.devices("eu") == []
    told = world.gpus.member("edge-7")
    assert told is None or told.below is None


async def test_the_name_of_a_record_is_cut_before_it_is_told(world: World) -> None:
    child = await world.child()
    message = await told_of(world, child, f"gpu/{'x' * 500}", b"\xff\xff")
    assert len(message) < 200


async def test_a_member_has_a_bound_of_devices(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_GPUS", 3)
    child = await world.child()
    world.tells(child, node(WELL, WELL))
    record = node_to_wire(node(WELL, WELL, prefix="b")).SerializeToString()
    assert "more than 3 GPUs" in await told_of(world, child, "gpu/n2", record)
    world.tells(child, node(WELL, WELL, WELL))
    assert list(world.values()) == ["GPU-0", "GPU-1", "GPU-2"], "those of the node itself count once"


async def test_a_member_has_a_bound_of_nodes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_NODES", 2)
    child = await world.child()
    for name in ("n1", "n2"):
        world.tells(child, node(WELL, prefix=name), name)
    record = node_to_wire(node(WELL, prefix="n3")).SerializeToString()
    for key, value in (("gpu/n3", record), ("gpu-values/n4", b"")):
        assert "more than 2 nodes" in await told_of(world, child, key, value)
    assert list(world.values()) == ["n1-0", "n2-0"]
    world.gpus.observed(child, "gpu/n1", None)
    world.tells(child, node(WELL, prefix="n3"), "n3")
    assert list(world.values()) == ["n2-0", "n3-0"]


# sums of child hubs


async def test_what_a_child_hub_adds_up_is_kept_as_it_said_it_last(world: World) -> None:
    child = await world.child("eu", "hub")
    for devices in (8, 16):
        world.adds_up(child, (H100, Rollup(devices=devices)))
    member = world.gpus.member("eu")
    assert member is not None
    assert member.below is not None
    assert [row.devices for row in member.below.rows] == [16]
    world.gpus.observed(child, "gpu-rollup", None)
    assert member.below is None


async def test_a_sum_that_can_not_be_read_is_left_out_and_the_one_before_stays(world: World) -> None:
    child = await world.child("eu", "hub")
    world.adds_up(child, (H100, Rollup(devices=8)))
    nameless = gpu_pb2.GpuRollups(rows=[gpu_pb2.GpuRollup(devices=9)]).SerializeToString()
    assert "vendor" in await told_of(world, child, "gpu-rollup", nameless)
    member = world.gpus.member("eu")
    assert member is not None
    assert member.below is not None
    assert [row.devices for row in member.below.rows] == [8]
