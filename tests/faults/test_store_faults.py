"""A store that is damaged, full or slow: what can't be written is refused, and nothing is half done."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from arbora.client import HubClient
from arbora.errors import DeadlineExceeded, Refused, StorageFailed
from arbora.identity import bearer
from arbora.v1 import member_pb2, workload_pb2
from arbora_hub.inventory.liveness import Liveness
from tests.faults.writing import until_online
from tests.support.child import enrolled
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, config_map, running_agent, running_hub
from tests.support.processes import AgentProcess, HubProcess, processes

pytestmark = pytest.mark.faults

AVAILABLE = workload_pb2.WORKLOAD_STATE_AVAILABLE
DATABASE = "hub.db"


@contextmanager
def store_held(data_dir: Path) -> Iterator[None]:
    """Nobody else can write to the database while the block lasts, as on a disk that hangs."""
    with closing(sqlite3.connect(data_dir / DATABASE, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def known(hub: RunningHub) -> tuple[object, ...]:
    """What the hub says of its members, workloads, accesses and CAs."""
    members = [(one.path, dict(one.labels), one.cordoned) async for one in hub.admin.members.list()]
    workloads = [(one.name, one.uid, one.generation, one.deleting) async for one in hub.admin.workloads.list()]
    accesses = [one.name for one in await hub.admin.access.list()]
    authority = [(key.serial, key.phase) for key in (await hub.admin.info()).authority]
    return members, workloads, accesses, authority


async def test_a_write_that_its_client_gave_up_on_is_done_whole_or_not_at_all(tmp_path: Path) -> None:
    data = tmp_path / "hub"
    async with running_hub(data) as hub:
        await enrolled(hub, tmp_path, "edge-7")
        await hub.admin.workloads.apply("old", [config_map("old", v="1")], members=["edge-7"])
        await hub.admin.workloads.apply("gone", [config_map("gone")], members=["edge-7"])
        await hub.admin.access.create("leaver", bearer.Role.VIEWER)
        async with HubClient.from_context(hub.context, deadline=0.3) as hasty:
            writes: list[Callable[[], Awaitable[object]]] = [
                lambda: hasty.workloads.apply("new", [config_map("new")], members=["edge-7"]),
                lambda: hasty.workloads.apply("old", [config_map("old", v="2")], members=["edge-7"]),
                lambda: hasty.workloads.delete("gone"),
                lambda: hasty.members.label("edge-7", {"gpu": "h100"}),
                lambda: hasty.members.cordon("edge-7"),
                lambda: hasty.access.create("joiner", bearer.Role.VIEWER),
                lambda: hasty.access.revoke("leaver"),
                lambda: hasty.rotate_authority("prepare"),
            ]
            for number, write in enumerate(writes):
                with store_held(data):
                    with pytest.raises(DeadlineExceeded):
                        await write()
                await hub.admin.members.label("edge-7", {"written": str(number)})  # writes are done in order
        # what was given up on can be asked for again, and means the same
        again = await hub.admin.workloads.apply("new", [config_map("new")], members=["edge-7"])
        assert again.workload.generation == 1
        before = await known(hub)
    async with running_hub(data) as hub:
        assert await known(hub) == before


async def test_an_eviction_that_its_client_gave_up_on_ends_the_session_if_it_was_kept(tmp_path: Path) -> None:
    data = tmp_path / "hub"
    async with running_hub(data) as hub, running_agent(hub, tmp_path, "edge-8") as agent:
        await hub.until("edge-8", Liveness.ONLINE)
        async with HubClient.from_context(hub.context, deadline=0.3) as hasty:
            with store_held(data):
                with pytest.raises(DeadlineExceeded):
                    await hasty.members.evict("edge-8", "sold")
        await hub.join_token("edge-9")  # writes are done in order
        async for _ in hub.admin.members.list():
            raise AssertionError("the eviction was not kept, and this test shows nothing")
        assert isinstance(await agent.ended(), Refused)
        assert not hub.hub.sessions.connected("edge-8")


async def test_a_damaged_database_is_a_clear_error_and_is_left_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "hub"
    async with running_hub(data):
        pass
    database = data / "hub.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = database.read_bytes()
    damaged = whole[:100] + os.urandom(len(whole) - 100)
    database.write_bytes(damaged)
    async with processes() as started:
        hub = HubProcess(tmp_path)
        started.append(hub)
        await hub.start()
        assert await hub.ended() == 10
        assert "error: the store is damaged" in hub.said()
        assert "hint: Stop the hub and restore its data directory from a backup" in hub.said()
        assert "Traceback" not in hub.said()
    assert database.read_bytes() == damaged


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system can't be mounted here; it takes root and CAP_SYS_ADMIN")
    yield disk
    subprocess.run(["umount", str(disk)], check=True, timeout=10)


async def test_a_full_disk_refuses_writes_and_everything_else_goes_on(tmp_path: Path, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    async with processes() as started:
        hub = HubProcess(tmp_path, small_disk / "hub")
        started.append(hub)
        await hub.start()
        async with hub.admin() as client:
            token = (await client.join_tokens.create("edge-7")).token
            agent = AgentProcess(tmp_path, "edge-7", hub.join_address, token)
            started.append(agent)
            await agent.start()
            await until_online(client, "edge-7")
            await client.workloads.apply("before", [config_map("before")], members=["edge-7"])
            epoch = (await client.members.get("edge-7")).session_epoch

            free = os.statvfs(small_disk)
            ballast.write_bytes(b"\0" * (free.f_bavail * free.f_frsize))
            big = config_map("big", text="x" * 60_000)
            refused = None
            kept = []
            for number in range(40):
                try:
                    await client.workloads.apply(f"big-{number}", [big], members=["edge-7"])
                    kept.append(f"big-{number}")
                except StorageFailed as error:
                    refused = error
                    break
            assert refused is not None
            assert "full" in str(refused)
            assert "space" in refused.hint
            with pytest.raises(StorageFailed):
                await client.members.label("edge-7", {"gpu": "h100"})
            # reads and the session go on; nothing of what was refused is there
            names = [one.name async for one in client.workloads.list()]
            assert names == sorted(["before", *kept])
            member = await client.members.get("edge-7")
            assert dict(member.labels) == {}
            assert (member.liveness, member.session_epoch) == (member_pb2.LIVENESS_ONLINE, epoch)
            await agent.kill()
            await agent.start()  # its session needs a write, too: it must not give up for want of one

            ballast.unlink()
            await until_online(client, "edge-7", epoch=epoch + 1)
            await client.members.label("edge-7", {"gpu": "h100"})
            await client.workloads.apply("after", [config_map("after")], members=["edge-7"])

            async def applied() -> bool:
                return (await client.workloads.get("after")).state == AVAILABLE

            await eventually(applied, "work goes on")
            hub.signal(signal.SIGTERM)
            assert await hub.ended() == 0
        assert "Traceback" not in hub.said()
