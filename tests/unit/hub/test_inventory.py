"""What a hub knows of its members, before and after it was restarted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from arbora.v1 import member_pb2
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Terms
from arbora_hub.journal import Journal
from arbora_hub.store.opening import open_store
from arbora_hub.store.port import Store
from arbora_hub.store.rows import ChildRow

TERMS = Terms(10.0, 40.0, 60.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_store(tmp_path / "hub.db")
    yield store
    await store.close()


async def loaded(store: Store) -> Inventory:
    inventory = Inventory(store, Journal(store, 100), TERMS)
    await inventory.load()
    return inventory


def sketch(product: str, total: int) -> bytes:
    row = member_pb2.SketchRow(members=1, total=total, allocatable=total, free=total)
    gpu_class = member_pb2.GpuClass(vendor="nvidia", product=product)
    return member_pb2.Sketch(gpu_class=gpu_class, rows=[row]).SerializeToString()


def status() -> bytes:
    return member_pb2.ClusterStatus(kubernetes_version="v1.36.3", nodes=4).SerializeToString()


def totals(child: Child) -> dict[str, int]:
    return {one.gpu_class.product: sum(row.total for row in one.rows) for one in child.sketches.values()}


async def member(store: Store) -> Inventory:
    """A hub whose member reported, was saved, and that was then restarted."""

    row = ChildRow("paris", "agent", "uid-1", session_epoch=3)

    async def write(tx: object) -> None:
        await tx.children.put(row)  # type: ignore[attr-defined]

    await store.write(write)
    before = await loaded(store)
    child = before.find("paris")
    assert child is not None
    before.observed(child, "status", status())
    before.observed(child, "sketch/nvidia:H100", sketch("H100", 32))
    before.observed(child, "sketch/nvidia:L4", sketch("L4", 2))
    await before.save()
    return await loaded(store)


async def test_a_restarted_hub_shows_the_last_known_status_as_old(store: Store) -> None:
    child = (await member(store)).find("paris")
    assert child is not None
    assert totals(child) == {"H100": 32, "L4": 2}
    assert child.status is not None
    assert not child.fresh


async def test_what_a_member_reports_anew_replaces_what_was_saved(store: Store) -> None:
    inventory = await member(store)
    child = inventory.find("paris")
    assert child is not None
    inventory.observed(child, "status", status())
    assert totals(child) == {"H100": 32, "L4": 2}, "the last known GPUs, until the member tells"
    inventory.observed(child, "sketch/nvidia:H100", sketch("H100", 32))
    assert totals(child) == {"H100": 32}, "not counted twice, and a class that is gone is gone"


async def test_a_record_that_can_not_be_read_is_left_out_and_changes_nothing(store: Store) -> None:
    inventory = await member(store)
    child = inventory.find("paris")
    assert child is not None
    inventory.observed(child, "sketch/nvidia:H100", b"\xff\xff")
    assert totals(child) == {"H100": 32, "L4": 2}
