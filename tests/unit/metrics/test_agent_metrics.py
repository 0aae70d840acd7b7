"""What a cluster's agent shows to Prometheus."""

from __future__ import annotations

from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import SketchRow
from arbora.gpus.model import Device, Node, Use
from arbora.workloads.model import State
from arbora_agent.metrics import Figures, families, uses
from tests.support.metrics import shown

H100 = GpuClass("nvidia", "H100")
SLICE = GpuClass("nvidia", "H100", "1g.10gb")


def node(*each: Use, idle: int = 0, leaked: int = 0) -> Node:
    devices = tuple(Device(f"GPU-{index}", index, use=use) for index, use in enumerate(each))
    return Node(devices=devices, idle=idle, leaked=leaked)


def test_until_the_hub_has_let_it_in_there_is_only_the_link_which_is_down() -> None:
    found = shown(families(None, False))
    assert set(found.samples) == {"arbora_agent_connected"}
    assert found.one("arbora_agent_connected") == 0


def test_gpus_are_told_by_class_as_they_went_up_to_the_hub() -> None:
    row = SketchRow(total=8, used=3, free=2, unhealthy=1, draining=1, degraded=1, pending=4)
    found = shown(families(Figures({H100: row, SLICE: SketchRow(total=7)}), True))
    assert found.by("state", "arbora_agent_gpus", **{"class": "H100"}) == {
        "total": 8,
        "used": 3,
        "free": 2,
        "unhealthy": 1,
        "draining": 1,
        "degraded": 1,
        "pending": 4,
    }
    assert found.one("arbora_agent_gpus", **{"class": "H100 1g.10gb", "state": "total"}) == 7


def test_classes_that_are_written_alike_are_one_series() -> None:
    rows = {H100: SketchRow(total=8), GpuClass("other", "H100"): SketchRow(total=1)}
    assert shown(families(Figures(rows), True)).one("arbora_agent_gpus", state="total") == 9


def test_workloads_are_counted_in_every_state() -> None:
    found = shown(families(Figures(workloads={State.AVAILABLE: 2}), True)).by("state", "arbora_agent_workloads")
    assert set(found) == {state.name.lower() for state in State}
    assert {state: count for state, count in found.items() if count} == {"available": 2}


def test_without_agents_of_nodes_nothing_is_said_of_them() -> None:
    found = shown(families(Figures(), True))
    assert "arbora_agent_node_agents" not in found
    assert "arbora_agent_gpu_use" not in found


def test_with_them_devices_are_counted_by_use() -> None:
    figures = Figures(node_agents=1, use=uses([node(Use.HELD, Use.FREE), node(Use.HELD)]))
    found = shown(families(figures, True))
    assert found.one("arbora_agent_node_agents") == 1
    assert found.by("use", "arbora_agent_gpu_use") == {"unknown": 0, "free": 1, "held": 2, "idle": 0, "leaked": 0}


def test_where_only_numbers_are_known_so_many_of_the_unknown_ones_are_idle_or_leaked() -> None:
    found = uses([node(Use.UNKNOWN, Use.UNKNOWN, Use.UNKNOWN, idle=1, leaked=1)])
    assert found == {Use.UNKNOWN: 1, Use.IDLE: 1, Use.LEAKED: 1}


def test_devices_never_become_more_by_that() -> None:
    assert uses([node(Use.HELD, idle=5)]).total() == 1
