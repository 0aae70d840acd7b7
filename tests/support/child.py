"""A child played by the test, frame by frame: for what an honest agent never does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from arbora.identity import join_token
from arbora.identity.names import Kind
from arbora.mirror import wire
from arbora.mirror.records import Lane
from arbora.rpc.channel import session_channel
from arbora.session import enroll
from arbora.session.credential import Credential, CredentialFile
from arbora.v1 import enrollment_pb2, session_pb2
from arbora.v1 import session_pb2_grpc as rpc
from arbora.version import PROTOCOL_VERSIONS, __version__
from tests.support.hub import RunningHub

READ_SECONDS = 8.0


def uid_of(name: str) -> str:
    """The cluster UID of a child that the test plays."""
    return f"uid-of-{name}"


async def enrolled(
    hub: RunningHub,
    folder: Path,
    name: str,
    *,
    kind: Kind = Kind.AGENT,
    token: str | None = None,
    cluster_uid: str | None = None,
) -> Credential:
    """The identity of a child that has just joined."""
    wire_kind = enroll.KIND_TO_WIRE[kind]
    text = await hub.join_token(name, kind=wire_kind) if token is None else token
    return await enroll.enroll(
        hub.hub.join_address,
        join_token.parse(text),
        CredentialFile(folder / name),
        kind=kind,
        name=name,
        cluster_uid=uid_of(name) if cluster_uid is None else cluster_uid,
        version=__version__,
    )


def hello(name: str, **changes: Any) -> session_pb2.Up:
    """An honest introduction, but for `changes`."""
    fields: dict[str, Any] = {
        "instance_id": f"instance-of-{name}",
        "kind": enrollment_pb2.CHILD_KIND_AGENT,
        "version": __version__,
        "protocols": PROTOCOL_VERSIONS,
        "cluster_uid": uid_of(name),
    }
    return session_pb2.Up(hello=session_pb2.Hello(**{**fields, **changes}))


class PlayedSession:
    """One stream to the session port."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.call = rpc.SessionServiceStub(channel).Connect()

    async def send(self, frame: session_pb2.Up) -> None:
        """One frame up."""
        async with asyncio.timeout(READ_SECONDS):
            await self.call.write(frame)

    async def read(self) -> session_pb2.Down | None:
        """The next frame down; None at the stream's end, however it came."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                frame = await self.call.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return None
        return None if frame is grpc.aio.EOF else frame

    async def introduce(self, name: str, **changes: Any) -> session_pb2.Down | None:
        """Say Hello; the first frame down."""
        await self.send(hello(name, **changes))
        return await self.read()

    async def refusal(self) -> session_pb2.Goodbye:
        """Read until the hub's last word."""
        while (frame := await self.read()) is not None:
            if frame.HasField("goodbye"):
                return frame.goodbye
        raise AssertionError(f"the hub ended the stream without a word: {await self.call.code()}")

    async def batch(self, *records: session_pb2.Record, lane: Lane = Lane.CONTROL, epoch: int = 7) -> None:
        """A whole first snapshot with these records."""
        upto = records[-1].version if records else 0
        message = session_pb2.Batch(
            lane=wire.LANE_TO_WIRE[lane],
            epoch=epoch,
            upto=upto,
            records=records,
            snapshot=True,
            snapshot_end=True,
        )
        await self.send(session_pb2.Up(batch=message))

    async def acked(self, lane: Lane, version: int) -> None:
        """Read until the hub has acked so much."""
        while (frame := await self.read()) is not None:
            for ack in frame.acks:
                if ack.lane == wire.LANE_TO_WIRE[lane] and ack.version >= version:
                    return
        raise AssertionError(f"the stream ended before version {version} was acked")


@asynccontextmanager
async def played(credential: Credential, **changes: Any) -> AsyncIterator[PlayedSession]:
    """A stream with this certificate, or with parts of it changed."""
    one = replace(credential, **changes)
    channel = session_channel(one.session_address, one.bundle_pem(), one.key_pem, one.leaf_pem())
    session = PlayedSession(channel)
    try:
        yield session
    finally:
        session.call.cancel()
        await channel.close()


def record(key: str, version: int, value: bytes = b"x") -> session_pb2.Record:
    """One record as it travels."""
    return session_pb2.Record(key=key, version=version, value=value)
