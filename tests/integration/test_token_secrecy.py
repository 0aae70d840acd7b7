"""Tokens of service accounts: who can read one, whose answer counts, what a question leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from arbora.client import HubClient
from arbora.errors import DeadlineExceeded, InvalidInput, PermissionDenied, Unavailable
from arbora.identity import seal
from arbora.identity.names import Path as MemberPath
from arbora.mirror.records import Lane
from arbora.rpc.channel import client_channel
from arbora.rpc.status import error_from
from arbora.v1 import credential_pb2 as pb
from arbora.v1 import session_pb2
from arbora.v1.credential_pb2_grpc import CredentialServiceStub
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.sessions.session import Session
from tests.support.child import PlayedSession, enrolled, played, record
from tests.support.eventually import eventually
from tests.support.hub import RunningAgent, RunningHub, running_agent, running_hub

ALLOWED = ("default/runner",)


def make_account(agent: RunningAgent) -> None:
    """A service account in the member, made by its own operator."""
    agent.simulation.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner", "namespace": "default"}}
    )


async def ask(hub: RunningHub, recipient: bytes, **changes: object) -> pb.CreateTokenResponse:
    """CreateToken as it travels. Raises what the hub answers."""
    fields = {"member": "edge-7", "namespace": "default", "service_account": "runner", **changes}
    request = pb.CreateTokenRequest(recipient=recipient, **fields)
    async with client_channel(hub.context.hub, hub.context.ca.encode(), hub.context.token) as channel:
        try:
            return await CredentialServiceStub(channel).CreateToken(request, timeout=8.0)
        except grpc.aio.AioRpcError as failure:
            raise error_from(failure) from failure


async def question(session: PlayedSession) -> pb.TokenRequest:
    """Read down until the hub asks for a token."""
    while (frame := await session.read()) is not None:
        for one in frame.batch.records:
            if one.key.startswith("token-request/") and not one.deleted:
                return pb.TokenRequest.FromString(one.value)
    raise AssertionError("the stream ended before the hub asked")


def answer_of(request: pb.TokenRequest, member: str, secret: bytes) -> session_pb2.Record:
    """The record with which an honest member answers."""
    context = seal.token_context(request.id, MemberPath.parse(member))
    sealed = seal.seal(request.recipient, secret, context=context)
    answer = pb.TokenAnswer(id=request.id, token=pb.SealedToken(ciphertext=sealed))
    return record(f"token/{request.id}", 1, answer.SerializeToString())


def opened(sealed: bytes, key: X25519PrivateKey, request_id: str, member: str) -> str:
    context = seal.token_context(request_id, MemberPath.parse(member))
    return seal.open_sealed(key, sealed, context=context).decode()


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def frames_seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Every frame that the hub takes in, after TLS is off."""
    seen: list[bytes] = []
    handle = Session._handle

    def recording(self: Session, message: session_pb2.Up) -> bool:
        seen.append(message.SerializeToString())
        return handle(self, message)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "_handle", recording)
        yield seen


async def test_the_hub_never_holds_a_token_in_the_clear_and_keeps_no_trace_of_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with frames_seen(monkeypatch) as frames:
        async with running_hub(tmp_path / "hub") as hub:
            async with running_agent(hub, tmp_path, "edge-7", allow_tokens=ALLOWED) as agent:
                await agent.until_online()
                make_account(agent)
                first = (await hub.admin.tokens.create("edge-7", "default", "runner")).secret.reveal()
                private, recipient = seal.new_recipient()
                answer = await ask(hub, recipient)
                child = hub.hub.inventory.find("edge-7")
                assert child is not None
                await eventually(lambda: not child.exchange.pending, "everything is acked")
            entry = (await hub.audit())[0]
    second = opened(answer.token.ciphertext, private, answer.id, answer.member)
    assert first.count(".") == second.count(".") == 2
    assert first != second
    assert sum(b"token/" in frame for frame in frames) >= 2, "the answers were not seen"
    kept = files_in(tmp_path)
    assert {"hub/hub.db", "edge-7/desired.journal"} <= kept.keys()
    output = capfd.readouterr()
    places = {
        "a frame": b"".join(frames),
        "the answer": answer.SerializeToString(),
        "the audit log": entry.SerializeToString(),
        "the output": (output.out + output.err).encode(),
        **kept,
    }
    # nor a part of it: the claims say whose it is, the signature makes it good
    parts = [part.encode() for token in (first, second) for part in token.split(".")[1:]]
    assert [place for place, data in places.items() if any(part in data for part in parts)] == []
    assert [
        place for place, data in kept.items() if b"token-request/" in data or answer.id.encode() in data
    ] == []
    assert entry.detail == "namespace=default service_account=runner"


async def test_an_answer_opens_only_for_its_recipient_its_request_and_its_member(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "edge-7", allow_tokens=ALLOWED) as agent:
            await agent.until_online()
            make_account(agent)
            private, recipient = seal.new_recipient()
            answer = await ask(hub, recipient)
    sealed = answer.token.ciphertext
    assert opened(sealed, private, answer.id, "/edge-7")
    for key, request_id, member in (
        (seal.new_recipient()[0], answer.id, "/edge-7"),
        (private, "another-request", "/edge-7"),
        (private, answer.id, "/edge-8"),
    ):
        with pytest.raises(PermissionDenied):
            opened(sealed, key, request_id, member)
    with pytest.raises(PermissionDenied):
        opened(sealed[:-1] + bytes([sealed[-1] ^ 1]), private, answer.id, "/edge-7")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("member", "Edge_7"),
        ("namespace", "Not_A_Name"),
        ("service_account", "x" * 254),
        ("audiences", ["x"] * 11),
        ("audiences", ["x" * 257]),
        ("lifetime", timedelta(seconds=599)),
        ("lifetime", timedelta(days=2)),
    ],
)
async def test_a_wrong_request_never_leaves_the_hub(tmp_path: Path, field: str, value: object) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await enrolled(hub, tmp_path, "edge-7")
        # it would be Unavailable if the hub had tried: nobody is at home
        with pytest.raises(InvalidInput):
            await ask(hub, b"k" * 32, **{field: value})


async def test_a_recipient_that_is_no_key_is_refused_wherever_it_is_noticed(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "edge-7", allow_tokens=ALLOWED) as agent:
            await agent.until_online()
            make_account(agent)
            with pytest.raises(InvalidInput, match="X25519 public key of 32 bytes"):
                await ask(hub, b"short")
            # of low order: the sealed token could be read by anybody, so the member doesn't seal to it
            with pytest.raises(Unavailable, match="not an X25519 public key"):
                await ask(hub, bytes(32))


async def test_an_api_server_that_is_down_costs_an_answer_and_nothing_else(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "edge-7", allow_tokens=ALLOWED) as agent:
            await agent.until_online()
            make_account(agent)
            agent.simulation.fail_api(message="etcd is down")
            with pytest.raises(Unavailable, match="edge-7 could not do it: etcd is down"):
                await hub.admin.tokens.create("edge-7", "default", "runner")
            agent.simulation.restore_api()
            assert (await hub.admin.tokens.create("edge-7", "default", "runner")).secret


async def test_the_right_answer_counts_although_another_member_answered_first(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        asked, other = await enrolled(hub, tmp_path, "edge-7"), await enrolled(hub, tmp_path, "mallory")
        async with played(asked) as session, played(other) as intruder:
            await session.introduce("edge-7")
            await intruder.introduce("mallory")
            waiting = asyncio.create_task(hub.admin.tokens.create("edge-7", "default", "runner"))
            request = await question(session)
            # mallory knows everything that edge-7 knows, and still isn't who was asked
            await intruder.batch(answer_of(request, "/edge-7", b"a trap"))
            await intruder.acked(Lane.CONTROL, 1)
            assert not waiting.done()
            await session.batch(answer_of(request, "/edge-7", b"the token"))
            assert (await waiting).secret.reveal() == "the token"


async def test_an_unreadable_and_an_unasked_answer_harm_nobody(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with played(await enrolled(hub, tmp_path, "edge-7")) as session:
            await session.introduce("edge-7")
            waiting = asyncio.create_task(hub.admin.tokens.create("edge-7", "default", "runner"))
            request = await question(session)
            unasked = pb.TokenAnswer(id="never-asked", token=pb.SealedToken(ciphertext=b"x"))
            await session.batch(
                record(f"token/{request.id}", 1, b"\xff\xff"),
                record("token/never-asked", 2, unasked.SerializeToString()),
            )
            await session.acked(Lane.CONTROL, 2)
            assert not waiting.done()
            await session.batch(answer_of(request, "/edge-7", b"the token"), epoch=8)
            assert (await waiting).secret.reveal() == "the token"
            assert hub.liveness("edge-7") is Liveness.ONLINE


async def test_who_gives_up_waiting_takes_the_question_back_and_the_audit_log_says_so(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with played(await enrolled(hub, tmp_path, "edge-7")) as session:
            await session.introduce("edge-7")
            async with HubClient.from_context(hub.context, deadline=0.5) as impatient:
                with pytest.raises(DeadlineExceeded):
                    await impatient.tokens.create("edge-7", "default", "runner")
            child = hub.hub.inventory.find("edge-7")
            assert child is not None
            key = f"token-request/{(await question(session)).id}"
            await eventually(lambda: child.exchange.get(key) is None, "the question is taken back")

            async def cancelled() -> bool:
                outcomes = [entry.outcome for entry in await hub.audit() if entry.action == "CreateToken"]
                return outcomes == ["CANCELLED"]

            await eventually(cancelled, "the audit log says that nobody waited for the end")
