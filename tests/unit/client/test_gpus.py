"""GPUs in the SDK: single devices over pages, one with its history, sums."""

from __future__ import annotations

from datetime import timedelta

import pytest

from arbora import errors
from arbora.client import HubClient
from arbora.gpus.health import Health
from arbora.v1 import gpu_pb2
from tests.support.fake_hub import FakeHub


@pytest.fixture
def fleet(hub: FakeHub) -> FakeHub:
    hub.add_member("/a", gpus=("H100", 8, 2), labels={"zone": "b"})
    hub.add_member("/b", gpus=("H100", 8, 8))
    for index in range(3):
        hub.add_gpu("/a", "n1", index, values={"utilization": 10 * index})
    hub.add_gpu("/a", "n2", 0, health=Health.UNHEALTHY, name="NVIDIA A100")
    hub.add_gpu("/b", "n1", 0, health=Health.DEGRADED)
    return hub


async def named(hub: HubClient, *arguments: str, **options: Health) -> list[str]:
    return [gpu.device.uuid async for gpu in hub.gpus.list(*arguments, **options)]  # type: ignore[arg-type]


async def test_gpus_come_from_all_pages_in_the_order_of_member_node_and_index(
    fleet: FakeHub, client: HubClient
) -> None:
    assert await named(client) == ["GPU-a-n1-0", "GPU-a-n1-1", "GPU-a-n1-2", "GPU-a-n2-0", "GPU-b-n1-0"]
    assert fleet.calls.count("ListGpus") == 3


async def test_a_path_a_node_a_product_and_a_health_narrow_the_list(fleet: FakeHub, client: HubClient) -> None:
    assert await named(client, "b") == ["GPU-b-n1-0"]
    assert await named(client, "a", "n2") == ["GPU-a-n2-0"]
    assert await named(client, "", "", "NVIDIA-A100") == ["GPU-a-n2-0"]
    assert await named(client, health=Health.DEGRADED) == ["GPU-b-n1-0"]


async def test_a_gpu_is_found_by_the_beginning_of_its_uuid(fleet: FakeHub, client: HubClient) -> None:
    assert (await client.gpus.get("GPU-b")).gpu.device.uuid == "GPU-b-n1-0"
    with pytest.raises(errors.Conflict, match="4 GPUs begin with GPU-a"):
        await client.gpus.get("GPU-a")
    with pytest.raises(errors.NotFound) as caught:
        await client.gpus.get("GPU-a-n2", "/b")
    assert "--in" in caught.value.hint


async def test_history_comes_only_where_it_is_asked_for(fleet: FakeHub, client: HubClient) -> None:
    for ago in (90, 30):
        minute = gpu_pb2.GpuMinute(utilization=ago)
        minute.ago.FromTimedelta(timedelta(seconds=ago))
        fleet.gpu_minutes.setdefault("GPU-b-n1-0", []).append(minute)
    assert not (await client.gpus.get("GPU-b")).history
    assert [each.utilization for each in (await client.gpus.get("GPU-b", history=60.0)).history] == [30]
    assert [each.utilization for each in (await client.gpus.get("GPU-b", history=3600.0)).history] == [90, 30]


async def test_sums_are_by_class_member_or_node(fleet: FakeHub, client: HubClient) -> None:
    (whole,) = await client.gpus.summarize()
    assert (whole.name, whole.total, whole.free, whole.members) == ("H100", 16, 6, 2)
    assert (whole.rollup.devices, whole.rollup.unhealthy, whole.rollup.degraded) == (5, 1, 1)
    assert [(row.name, row.free) for row in await client.gpus.summarize(by="member")] == [("/a", 6), ("/b", 0)]
    assert [(row.name, row.total) for row in await client.gpus.summarize("a", by="node")] == [
        ("n1", 3),
        ("n2", 1),
    ]
    assert [row.total for row in await client.gpus.summarize(selector="zone=b")] == [8]


async def test_what_gpus_can_not_be_summed_up_by_is_refused_before_the_hub_is_asked(
    fleet: FakeHub, client: HubClient
) -> None:
    with pytest.raises(errors.InvalidInput, match=r"by: is 'rack'") as caught:
        await client.gpus.summarize(by="rack")  # type: ignore[arg-type]  # not every caller has its types checked
    assert caught.value.hint == "There is class, member, node."
    assert not fleet.calls


async def test_a_path_that_leads_nowhere_is_not_found(fleet: FakeHub, client: HubClient) -> None:
    with pytest.raises(errors.NotFound, match="no member /x"):
        await named(client, "/x")
