"""Ways into members: what goes in at one end comes out at the other, whatever hubs are between, at any pace."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from arbora.tunnel.ends import TunnelEnd
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.tunnels import opening
from tests.support.eventually import eventually
from tests.support.far import NAME, SMALL, echo, far_server
from tests.support.hub import config_map
from tests.support.reach import Reach, Streams, answer_of, dialled, head, reach, refusal, said_back, trusting, way

MUCH = 32 * 1024 * 1024
HELD = 4 * 1024 * 1024
"""Bytes that hub and agent hold of what nobody reads, at most."""
LOOKS = 40
HOPS = pytest.mark.parametrize("between", [(), ("eu",)], ids=["one hub", "two hubs"])


async def until_it_stands(count: Callable[[], int]) -> int:
    """Wait until a number that grew grows no more; the number."""
    seen = [0] * LOOKS

    def stands() -> bool:
        seen.append(count())
        return seen[-1] == seen[-LOOKS] > 0

    await eventually(stands, "it stands still")
    return seen[-1]


def in_kernel() -> int:
    """Bytes in the buffers of this process's TCP connections, whose sizes are the kernel's business."""
    mine = set()
    for name in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            mine.add(str(name.readlink()).removeprefix("socket:[").rstrip("]"))
    lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    queues = [fields[4].split(":") for fields in lines if fields[9] in mine]
    return sum(int(each, 16) for queue in queues for each in queue)


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """Everything until its end."""
    async with asyncio.timeout(15.0):
        return await reader.read(-1)


async def rest_of(end: TunnelEnd) -> bytes:
    """Everything until this way ends."""
    parts = []
    async with asyncio.timeout(15.0):
        while part := await end.read():
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("between", [(), ("eu",), ("eu", "paris")], ids=["one hub", "two hubs", "three hubs"])
async def test_a_client_talks_tls_with_a_server_that_only_its_agent_can_dial(
    tmp_path: Path, between: tuple[str, ...]
) -> None:
    async with far_server(echo, tls=True) as far, reach(tmp_path, far.address, between) as it:
        async with way(await it.token()) as (reader, writer):
            await writer.start_tls(trusting(far.ca_pem), server_hostname=NAME)
            assert await said_back((reader, writer))
        await far.until_left()
        await it.until_idle()


async def test_what_a_client_says_before_it_is_answered_is_not_lost(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made = await it.token()
        async with dialled(made) as (reader, writer):
            writer.write(head(made) + b"early")
            assert (await answer_of(reader)).status == 200
            assert await reader.readexactly(5) == b"early"


@HOPS
async def test_who_has_said_everything_still_hears_the_answer(tmp_path: Path, between: tuple[str, ...]) -> None:
    async def answers_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"heard " + await reader.read(-1))

    async with far_server(answers_at_the_end) as far, reach(tmp_path, far.address, between) as it:
        async with it.root.hub.tunnels.open(it.path, "access/me") as end:
            await end.write(b"a question")
            await end.end()
            assert await rest_of(end) == b"heard a question"
        await it.until_idle()


@HOPS
async def test_a_server_that_has_said_everything_still_hears(tmp_path: Path, between: tuple[str, ...]) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def speaks_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"all that I say")
        writer.write_eof()
        heard.set_result(await reader.read(-1))

    async with far_server(speaks_first) as far, reach(tmp_path, far.address, between) as it:
        async with it.root.hub.tunnels.open(it.path, "access/me") as end:
            assert await rest_of(end) == b"all that I say"
            await end.write(b"and all that I say")
            await end.end()
            async with asyncio.timeout(5.0):
                assert await heard == b"and all that I say"
        await it.until_idle()


@HOPS
async def test_a_server_that_ends_is_heard_to_its_last_byte(tmp_path: Path, between: tuple[str, ...]) -> None:
    data = random.Random(1).randbytes(4_000_000)

    async def speaks_and_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    async with far_server(speaks_and_ends) as far, reach(tmp_path, far.address, between) as it:
        async with way(await it.token()) as (reader, _):
            assert await all_of(reader) == data
        await it.until_idle()


@HOPS
async def test_a_client_that_ends_is_heard_to_its_last_byte_however_slowly(
    tmp_path: Path, between: tuple[str, ...]
) -> None:
    data = random.Random(2).randbytes(4_000_000)
    heard = asyncio.get_running_loop().create_future()
    listens = asyncio.Event()

    async def listens_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await listens.wait()
        heard.set_result(await reader.read(-1))

    async with far_server(listens_late) as far, reach(tmp_path, far.address, between) as it:
        async with way(await it.token()) as (_, writer):
            writer.write(data)
            writer.close()
            listens.set()
            async with asyncio.timeout(10.0):
                assert await heard == data
        await it.until_idle()


@HOPS
async def test_much_arrives_unchanged_both_ways_although_nobody_reads_for_a_while(
    tmp_path: Path, between: tuple[str, ...]
) -> None:
    down, up = random.Random(3).randbytes(MUCH), random.Random(4).randbytes(MUCH)
    sent = {"down": 0, "up": 0}
    reads = asyncio.Event()

    async def send(writer: asyncio.StreamWriter, which: str, data: bytes) -> None:
        while sent[which] < MUCH:
            writer.write(data[sent[which] : sent[which] + SMALL])
            await writer.drain()
            sent[which] += SMALL

    async def receive(reader: asyncio.StreamReader) -> bytes:
        await reads.wait()
        return await reader.readexactly(MUCH)

    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, received = await asyncio.gather(send(writer, "up", up), receive(reader))
        got.set_result(received)
        await reader.read()

    async with far_server(both) as far, reach(tmp_path, far.address, between) as it:
        async with way(await it.token()) as (reader, writer):
            sending = asyncio.create_task(send(writer, "down", down))
            await until_it_stands(lambda: sum(sent.values()))
            assert min(sent.values()) > 0
            assert sum(sent.values()) - await asyncio.to_thread(in_kernel) < 2 * HELD
            reads.set()
            async with asyncio.timeout(15.0):
                assert await reader.readexactly(MUCH) == up
                await sending
                assert await got == down


async def test_many_ways_go_on_side_by_side(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address, ("eu",)) as it:
        made = await it.token()

        async def one(number: int) -> None:
            async with way(made) as streams:
                for turn in range(5):
                    assert await said_back(streams, b"%d in turn %d" % (number, turn))
                together.append(number)
                await eventually(lambda: len(together) == many, "all are there at once")
                assert await said_back(streams, b"%d at the end" % number)

        many, together = 60, list[int]()
        async with asyncio.TaskGroup() as tasks:
            for number in range(many):
                tasks.create_task(one(number))
        assert far.accepted == many
        await far.until_left()
        await it.until_idle()


@pytest.mark.parametrize("limit", ["OF_ONE_CHILD", "OPEN_LIMIT"])
async def test_a_way_too_many_is_refused_and_there_is_room_again_once_one_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(opening, limit, 2)
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made = await it.token()
        async with way(made) as first:
            async with way(made) as second:
                answer = await refusal(made)
                assert (answer.status, answer.reason) == (503, "2 tunnels to /edge-7 are open")
                assert await said_back(second)
            assert await said_back(first)
            await eventually(lambda: len(it.root.hub.tunnels) == 1, "one has ended")
            async with way(made) as third:
                assert await said_back(third)


async def test_a_conversation_goes_line_by_line(tmp_path: Path) -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(b"you said " + line)

    async with far_server(answers) as far, reach(tmp_path, far.address, ("eu",)) as it:
        async with way(await it.token()) as (reader, writer):
            for number in range(100):
                writer.write(b"line %d\n" % number)
                async with asyncio.timeout(5.0):
                    assert await reader.readline() == b"you said line %d\n" % number


async def test_a_stream_that_pauses_arrives_line_by_line_and_goes_on(tmp_path: Path) -> None:
    goes_on = asyncio.Semaphore(0)

    async def follows(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(100):
            await goes_on.acquire()
            writer.write(b"line %d\n" % number)

    async with far_server(follows) as far, reach(tmp_path, far.address, ("eu",)) as it:
        async with way(await it.token()) as (reader, _):
            for number in range(100):
                # nothing more is said until this line has arrived
                goes_on.release()
                async with asyncio.timeout(5.0):
                    assert await reader.readline() == b"line %d\n" % number
            assert await all_of(reader) == b""


@asynccontextmanager
async def saturated(it: Reach, count: int) -> AsyncIterator[list[Streams]]:
    """So many ways on which both ends have said more than anybody reads."""
    sent = 0

    async def send(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(bytes(SMALL))
            await writer.drain()
            sent += SMALL

    made = await it.token()
    async with AsyncExitStack() as stack:
        ways = [await stack.enter_async_context(way(made)) for _ in range(count)]
        sending = [asyncio.create_task(send(writer)) for _, writer in ways]
        try:
            await until_it_stands(lambda: sent)
            yield ways
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)


async def never_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says more than anybody reads, and hears nothing."""
    while True:
        writer.write(bytes(SMALL))
        await writer.drain()


async def test_ways_that_nobody_reads_do_not_delay_the_session_beside_them(tmp_path: Path) -> None:
    async with far_server(never_reads) as far, reach(tmp_path, far.address, ("eu",)) as it:
        async with saturated(it, 12):
            began = asyncio.get_running_loop().time()
            it.agent.simulation.add_nodes("1x8xH100")
            await it.owner.admin.workloads.apply("app", [config_map("app")], members=["edge-7"])
            await it.owner.until_workload("app", 4)

            async def known() -> bool:
                return (await it.root.admin.members.get(it.path)).status.nodes == 2

            await eventually(known, "the root knows of the new node")
            assert asyncio.get_running_loop().time() - began < 5.0


async def test_heartbeats_pass_by_ways_that_nobody_reads(tmp_path: Path) -> None:
    async with (
        far_server(never_reads) as far,
        reach(tmp_path, far.address, root={"heartbeat_interval": 0.2}) as it,
    ):
        child = it.root.hub.inventory.find("edge-7")
        assert child is not None
        async with saturated(it, 12):
            for _ in range(3):
                last = child.heard
                await eventually(lambda last=last: child.heard > last, "a heartbeat")  # type: ignore[misc]
            assert it.root.liveness("edge-7") is Liveness.ONLINE
