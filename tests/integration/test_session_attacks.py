"""What the session port does with children that are not what they should be. Each row is an attack, by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.identity import keys
from arbora.identity.authority import load_authority
from arbora.identity.issue import issue_child
from arbora.identity.names import SERVER_NAME, Kind, SpiffeId
from arbora.mirror.records import Lane
from arbora.rpc.channel import join_channel
from arbora.session.credential import Credential
from arbora.v1 import enrollment_pb2 as pb
from arbora.v1 import session_pb2
from arbora_hub.sessions import service
from arbora_hub.store.port import ReadTx
from tests.support.child import PlayedSession, enrolled, hello, played, record, uid_of
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, config_map, running_agent, running_hub


async def forged(
    hub: RunningHub, credential: Credential, identity: SpiffeId, lifetime: float = 3600.0
) -> Credential:
    """A certificate of this hub's own CA that enrollment never gave: what a stolen CA key could do."""

    async def read(tx: ReadTx) -> tuple[bytes, bytes]:
        row = (await tx.authority.list())[0]
        return row.cert_pem, row.key_pem

    authority = load_authority(*await hub.hub.store.read(read))
    key = keys.new_key()
    now = datetime.now(UTC)
    leaf = issue_child(authority, key.public_key(), identity, now, timedelta(hours=1))
    return replace(credential, leaf=leaf.public_bytes(Encoding.DER), key_pem=keys.to_pem(key))


async def refused_by_tls(credential: Credential, **changes: Any) -> None:
    """No stream comes about, and the hub says nothing."""
    async with played(credential, **changes) as session:
        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            await session.send(hello(credential.name))
            assert await session.call.read() is not grpc.aio.EOF
            raise AssertionError("a frame came down")
        assert await session.call.code() is grpc.StatusCode.UNAVAILABLE


@asynccontextmanager
async def unlimited_channel(credential: Credential) -> AsyncIterator[grpc.aio.Channel]:
    """To the session port, by a program that keeps none of our limits."""
    tls = grpc.ssl_channel_credentials(credential.bundle_pem(), credential.key_pem, credential.leaf_pem())
    named = (("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.max_send_message_length", -1))
    async with grpc.aio.secure_channel(credential.session_address, tls, options=named) as channel:
        yield channel


async def test_attack_no_certificate(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "edge-7")
        async with join_channel(credential.session_address, credential.bundle_pem()) as channel:
            session = PlayedSession(channel)
            with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
                await session.send(hello("edge-7"))
                await session.call.read()
            assert await session.call.code() is grpc.StatusCode.UNAVAILABLE


async def test_attack_certificate_of_another_hub(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_hub(tmp_path / "other") as other:
        mine = await enrolled(hub, tmp_path / "mine", "edge-7")
        foreign = await enrolled(other, tmp_path / "foreign", "edge-7")
        await refused_by_tls(mine, leaf=foreign.leaf, key_pem=foreign.key_pem)


async def test_attack_expired_certificate(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", certificate_lifetime=1.0) as hub:
        credential = await enrolled(hub, tmp_path, "edge-7")
        await eventually(lambda: credential.expired(datetime.now(UTC) - timedelta(seconds=1)), "it has expired")
        await refused_by_tls(credential)


@dataclass
class Row:
    """One attack in Hello or in the certificate, and the one refusal that answers it."""

    refusal: int
    text: str
    hello: dict[str, Any] = field(default_factory=dict)
    identity: Callable[[str], SpiffeId] | None = None
    before: Callable[[RunningHub], Awaitable[object]] | None = None


LONG = "x" * 300
ATTACKS: dict[str, Row] = {
    "evicted": Row(
        pb.REFUSAL_BANNED, "was evicted", before=lambda hub: hub.admin.members.evict("edge-7", "stolen")
    ),
    "never enrolled": Row(
        pb.REFUSAL_MUST_REJOIN, "not enrolled", identity=lambda domain: SpiffeId(domain, Kind.AGENT, "edge-8")
    ),
    "name with the right prefix": Row(
        pb.REFUSAL_MUST_REJOIN, "not enrolled", identity=lambda domain: SpiffeId(domain, Kind.AGENT, "edge-77")
    ),
    "an agent's name as a hub": Row(
        pb.REFUSAL_MUST_REJOIN, "not enrolled", identity=lambda domain: SpiffeId(domain, Kind.HUB, "edge-7")
    ),
    "serial that enrollment never gave": Row(
        pb.REFUSAL_NOT_ACTIVE, "no longer counts", identity=lambda domain: SpiffeId(domain, Kind.AGENT, "edge-7")
    ),
    "says it is a hub": Row(pb.REFUSAL_PROTOCOL, "something else", {"kind": pb.CHILD_KIND_HUB}),
    "says it is nothing": Row(pb.REFUSAL_PROTOCOL, "something else", {"kind": pb.CHILD_KIND_UNSPECIFIED}),
    "no protocol in common": Row(pb.REFUSAL_VERSION_UNSUPPORTED, "speaks protocol", {"protocols": [99]}),
    "no protocol at all": Row(pb.REFUSAL_VERSION_UNSUPPORTED, "speaks protocol", {"protocols": []}),
    "no instance id": Row(pb.REFUSAL_PROTOCOL, "instance id", {"instance_id": ""}),
    "a text that is too long": Row(pb.REFUSAL_PROTOCOL, "too long", {"version": LONG}),
    "another cluster": Row(pb.REFUSAL_CLUSTER_MISMATCH, "runs in thief", {"cluster_uid": "thief"}),
    "cursor of no lane": Row(pb.REFUSAL_PROTOCOL, "lane", {"cursors": [session_pb2.Cursor(lane=9, epoch=1)]}),
    "cursor without an epoch": Row(
        pb.REFUSAL_PROTOCOL, "epoch", {"cursors": [session_pb2.Cursor(lane=1, version=5)]}
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_attack_in_the_introduction(tmp_path: Path, attack: str) -> None:
    row = ATTACKS[attack]
    async with running_hub(tmp_path / "hub") as hub:
        honest = credential = await enrolled(hub, tmp_path, "edge-7")
        if row.identity is not None:
            credential = await forged(hub, credential, row.identity(hub.hub.authority.trust_domain))
        if row.before is not None:
            await row.before(hub)
        async with played(credential) as session:
            first = await session.introduce("edge-7", **row.hello)
            assert first is not None
            assert first.WhichOneof("frame") == "goodbye"
            assert first.goodbye.reason == row.refusal
            assert row.text in first.goodbye.message
            assert await session.read() is None
        assert len(hub.hub.sessions) == 0
        if row.before is None:
            async with played(honest) as session:
                welcome = await session.introduce("edge-7")
                assert welcome is not None
                assert welcome.HasField("welcome")


async def test_attack_a_circle_of_hubs(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "eu", kind=Kind.HUB, cluster_uid="id-of-eu")
        change = {"kind": pb.CHILD_KIND_HUB, "cluster_uid": "id-of-eu"}
        async with played(credential) as session:
            first = await session.introduce("eu", **change)
            assert first is not None
            hub_id = first.welcome.hub_id
            assert list(first.welcome.ancestors) == [hub_id]
        async with played(credential) as session:
            first = await session.introduce("eu", **change, hub_instances=["below", hub_id])
            assert first is not None
            assert first.goodbye.reason == pb.REFUSAL_LOOP


async def test_attack_no_hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "HELLO_SECONDS", 0.2)
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "edge-7")
        async with played(credential) as session:
            goodbye = await session.refusal()
            assert goodbye.reason == pb.REFUSAL_PROTOCOL
            assert "no Hello" in goodbye.message


async def test_attack_another_frame_before_hello(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "edge-7")
        async with played(credential) as session:
            await session.batch(record("status", 1))
            assert (await session.refusal()).message == "the first frame must be Hello"


@asynccontextmanager
async def welcomed(hub: RunningHub, credential: Credential) -> AsyncIterator[PlayedSession]:
    """A session that has begun."""
    async with played(credential) as session:
        first = await session.introduce(credential.name)
        assert first is not None
        assert first.HasField("welcome")
        yield session


def batch(**fields: Any) -> session_pb2.Up:
    """A batch of the control lane in a map's first snapshot, but for `fields`."""
    honest = {"lane": session_pb2.LANE_CONTROL, "epoch": 7, "snapshot": True, "snapshot_end": True}
    return session_pb2.Up(batch=session_pb2.Batch(**{**honest, **fields}))


BROKEN: dict[str, session_pb2.Up] = {
    "a second Hello": hello("edge-7"),
    "a gap": batch(after=5, upto=6, records=[record("status", 6)], snapshot=False, snapshot_end=False),
    "no lane": batch(lane=9),
    "no epoch": batch(epoch=0),
    "ends before it begins": batch(after=5, upto=1),
    "versions that fall": batch(upto=9, records=[record("a", 5), record("b", 4)]),
    "a version beyond the end": batch(upto=2, records=[record("a", 5)]),
    "no key": batch(upto=1, records=[record("", 1)]),
    "a key that is too long": batch(upto=1, records=[record("k" * 600, 1)]),
    "an ack of no lane": session_pb2.Up(acks=[session_pb2.Cursor(lane=77, epoch=1, version=1)]),
}


@pytest.mark.parametrize("attack", BROKEN)
async def test_attack_in_a_frame_ends_the_session_and_changes_nothing(tmp_path: Path, attack: str) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "edge-7")
        async with welcomed(hub, credential) as session:
            await session.send(BROKEN[attack])
            goodbye = await session.refusal()
            assert goodbye.reason == pb.REFUSAL_PROTOCOL
            assert goodbye.message
        await eventually(lambda: len(hub.hub.sessions) == 0, "the session is over")
        child = hub.hub.inventory.find("edge-7")
        assert child is not None
        assert dict(child.exchange.received_items()) == {}


async def test_attack_bytes_that_are_no_frame_end_the_stream_and_only_it(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "edge-7")
        async with played(credential) as session:
            raw = session.channel.stream_stream("/arbora.v1.SessionService/Connect")()
            await raw.write(b"\xff\xff\xff\xff\x00garbage")
            assert await raw.code() is not grpc.StatusCode.OK
        async with welcomed(hub, credential) as session:
            await session.batch(record("status", 1, b""))
            await session.acked(Lane.CONTROL, 1)


async def test_attack_a_frame_over_the_limit_ends_the_stream_and_only_it(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "edge-7")
        async with welcomed(hub, credential) as session:
            huge = batch(upto=1, records=[record("status", 1, b"x" * (2 << 20))]).SerializeToString()
            async with unlimited_channel(credential) as channel:
                raw = channel.stream_stream("/arbora.v1.SessionService/Connect")()
                await raw.write(hello("edge-8").SerializeToString())
                await raw.write(huge)
                while await raw.read() is not grpc.aio.EOF:
                    pass
            await session.batch(record("status", 1, b""))
            await session.acked(Lane.CONTROL, 1)


async def test_records_of_an_unknown_kind_are_told_once_and_nothing_is_lost(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "edge-7")
        async with welcomed(hub, credential) as session:
            message = session_pb2.Batch(
                lane=session_pb2.LANE_BULK,
                epoch=7,
                upto=3,
                records=[record("future/1", 1), record("future/2", 2), record("sketch/x", 3, b"")],
                snapshot=True,
                snapshot_end=True,
            )
            await session.send(session_pb2.Up(batch=message))
            await session.acked(Lane.BULK, 3)
            child = hub.hub.inventory.find("edge-7")
            assert child is not None
            assert list(child.sketches) == ["sketch/x"]
        reasons = await hub.reasons("member/edge-7")
        assert reasons.count("UnknownRecord") == 1


@pytest.mark.parametrize("key", ["status", "event/1", "token/1", "workload/none", "sketch/x"])
async def test_a_record_that_can_not_be_read_is_left_out_and_the_session_goes_on(
    tmp_path: Path, key: str
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "edge-7")
        lane = Lane.BULK if key.startswith(("workload", "sketch")) else Lane.CONTROL
        async with welcomed(hub, credential) as session:
            await session.batch(record(key, 1, b"\xff\xff\xff\xff"), lane=lane)
            await session.acked(lane, 1)
            member = await hub.admin.members.get("edge-7")
            assert not member.HasField("status")


async def test_an_agent_that_is_evicted_stops_with_the_reason_and_what_to_do(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_agent(hub, tmp_path, "edge-7") as agent:
        await agent.until_online()
        await hub.admin.members.evict("edge-7", "decommissioned")
        error = await agent.ended(seconds=3.0)
        assert error is not None
        assert getattr(error, "refusal", None) == pb.REFUSAL_BANNED
        assert "decommissioned" in str(error)
        assert "new join token" in getattr(error, "hint", "")
        assert (await hub.reasons("member/edge-7"))[-1] == "MemberEvicted"
        assert (await hub.audit())[0].action == "EvictMember"


async def test_an_agent_that_was_evicted_while_it_was_away_stops_when_it_comes_back(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "edge-7") as agent:
            await agent.until_online()
        await hub.admin.members.evict("edge-7")
        async with running_agent(hub, tmp_path, "edge-7") as agent:
            error = await agent.ended()
        assert getattr(error, "refusal", None) == pb.REFUSAL_BANNED


async def test_an_eviction_holds_after_a_restart_of_the_hub(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "edge-7")
        await hub.admin.members.evict("edge-7")
    async with running_hub(tmp_path / "hub") as hub:
        async with played(credential, session_address=f"127.0.0.1{hub.hub.session_address}") as session:
            first = await session.introduce("edge-7")
            assert first is not None
            assert first.goodbye.reason == pb.REFUSAL_BANNED


async def test_of_two_processes_with_one_identity_the_newer_goes_on(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_agent(hub, tmp_path, "edge-7") as first:
        await first.until_online()
        async with running_agent(hub, tmp_path, "edge-7", simulation=first.simulation) as second:
            await second.until_online()
            error = await first.ended()
            assert getattr(error, "refusal", None) == pb.REFUSAL_EPOCH_STALE
            assert "SessionTakenOver" in await hub.reasons("member/edge-7")
            await hub.admin.workloads.apply("after", [config_map("after")], members=["edge-7"])
            await hub.until_workload("after", 4)
            assert not second.task.done()


async def test_an_agent_obeys_a_hub_that_is_too_busy(tmp_path: Path) -> None:
    names = [f"edge-{number}" for number in range(6)]
    async with running_hub(tmp_path / "hub", admission_rate=2.0) as hub:
        credentials = [await enrolled(hub, tmp_path, name) for name in names]
        refusals = []
        async with asyncio.TaskGroup() as tasks:

            async def come(credential: Credential) -> None:
                while True:
                    async with played(credential) as session:
                        first = await session.introduce(credential.name, cluster_uid=uid_of(credential.name))
                        assert first is not None
                        if first.HasField("welcome"):
                            return
                        assert first.goodbye.reason == pb.REFUSAL_BUSY
                        refusals.append(after := first.goodbye.retry_after.ToTimedelta().total_seconds())
                    await asyncio.sleep(after / 4)

            for credential in credentials:
                tasks.create_task(come(credential))
        assert refusals
        assert all(0.4 < after < 10 for after in refusals)
