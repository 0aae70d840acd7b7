"""What a member needs for Kueue comes to it as a workload of the hub, and goes again."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbora.errors import Conflict
from arbora.v1 import member_pb2
from arbora_hub.kubernetes.multikueue.worker_workloads import WorkerWorkloads
from tests.support.hub import config_map
from tests.support.placing import fleet, shares


async def test_worker_objects_are_workloads_of_their_member_by_fleet(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="1x4xT4", b="1x4xT4") as it:
        workers = WorkerWorkloads(it.hub.hub.workloads)
        await workers.apply("kueue-x-a", "x", "/a", [config_map("one")])
        await workers.apply("kueue-x-b", "x", "/b", [config_map("one")])
        assert sorted(workers.of("x")) == ["kueue-x-a", "kueue-x-b"]
        assert not workers.of("y")
        before = await it.hub.admin.workloads.get("kueue-x-a")
        assert list(shares(before)) == ["a"]
        await workers.apply("kueue-x-a", "x", "/a", [config_map("one")])
        assert (await it.hub.admin.workloads.get("kueue-x-a")).generation == before.generation
        await it.apply("mine", config_map("mine"))
        with pytest.raises(Conflict, match="was not made for the Fleet x"):
            await workers.apply("mine", "x", "/a", [config_map("one")])
        # queues stay where jobs run, whatever drives other work out
        taint = member_pb2.Taint(key="maintenance", effect=member_pb2.TAINT_EFFECT_NO_EXECUTE)
        await it.hub.admin.members.taint("b", set=[taint])
        assert list(shares(await it.hub.admin.workloads.get("kueue-x-b"))) == ["b"]
        await workers.delete("kueue-x-a")
        await workers.delete("nothing")
        assert list(workers.of("x")) == ["kueue-x-b"]
