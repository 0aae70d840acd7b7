"""Tokens of service accounts: minted in the member, by its rules, readable only by who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from arbora.errors import DeadlineExceeded, InvalidInput, NotFound, PermissionDenied, Unavailable
from arbora.identity.names import Path as TreePath
from arbora.identity.seal import new_recipient, open_sealed, seal, token_context
from arbora.v1 import credential_pb2 as pb
from arbora.v1 import session_pb2
from arbora.v1.credential_pb2_grpc import CredentialServiceStub
from arbora_hub.credentials import requests
from arbora_hub.inventory.child import Child
from tests.support.child import PlayedSession, enrolled, played, record
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, running_agent, running_hub

ALLOWED = ("default/default",)


def received(child: Child) -> list[str]:
    """Keys that the hub keeps of the child's map."""
    return [key for key, _ in child.exchange.received_items()]


def everything_below(folder: Path) -> bytes:
    """The content of every file."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def test_a_token_that_the_member_allows_is_minted_and_opens_only_here(tmp_path: Path) -> None:
    frames: list[bytes] = []
    async with running_hub(tmp_path / "hub") as hub:
        answered = hub.hub.sessions._observers["token"]

        def recording(child: Child, key: str, value: bytes | None) -> None:
            frames.append(value or b"")
            answered(child, key, value)

        hub.hub.sessions.observe("token", recording)
        async with running_agent(hub, tmp_path, "a", allow_tokens=ALLOWED) as agent:
            await agent.until_online()
            token = await hub.admin.tokens.create("a", "default", "default", audiences=["vault"])
            text = token.secret.reveal()
            assert text.count(".") == 2
            assert (token.member, token.lifetime) == ("/a", timedelta(hours=1))
            assert text not in repr(token)
            assert frames
            assert all(text.encode() not in one for one in frames)
            # neither the question nor the answer is kept by anybody
            child = hub.hub.inventory.find("a")
            assert child is not None
            await eventually(
                lambda: not any(key.startswith("token") for key, _ in child.exchange.received_items()),
                "forgotten",
            )
        assert text.encode() not in await asyncio.to_thread(everything_below, tmp_path)


WRONG = {
    "not on the allow-list": ("default", "admin", None, PermissionDenied, "does not name default/admin"),
    "longer than the member allows": (
        "default",
        "default",
        timedelta(hours=2),
        PermissionDenied,
        "3600 s at most",
    ),
    "no such account": ("default", "ghost", None, Unavailable, "not found"),
    "too short": ("default", "default", timedelta(seconds=5), InvalidInput, "600 to"),
    "too long": ("default", "default", timedelta(days=400), InvalidInput, "600 to"),
    "no namespace": ("", "default", None, InvalidInput, "not a valid name"),
    "an account that is no name": ("default", "", None, InvalidInput, "missing"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_token_beyond_what_is_allowed_is_refused(tmp_path: Path, wrong: str) -> None:
    namespace, account, lifetime, error, text = WRONG[wrong]
    allowed = (*ALLOWED, "default/ghost")
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "a", allow_tokens=allowed) as agent:
            await agent.until_online()
            with pytest.raises(error, match=text):
                await hub.admin.tokens.create("a", namespace, account, lifetime=lifetime)
            entry = (await hub.audit())[0]
            assert (entry.action, entry.outcome) == ("CreateToken", error.reason)
            assert not agent.task.done()


async def test_a_member_that_is_away_is_said_to_be_at_once(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await enrolled(hub, tmp_path, "a")
        with pytest.raises(Unavailable, match="is not connected"):
            await hub.admin.tokens.create("a", "default", "default")
        with pytest.raises(NotFound):
            await hub.admin.tokens.create("nobody", "default", "default")


async def question(session: PlayedSession) -> pb.TokenRequest:
    """The next token request that comes down."""
    while (frame := await session.read()) is not None:
        for one in frame.batch.records:
            if one.key.startswith("token-request/"):
                return pb.TokenRequest.FromString(one.value)
    raise AssertionError("the stream ended")


def asking(hub: RunningHub, member: str, recipient: bytes) -> Awaitable[pb.CreateTokenResponse]:
    """CreateToken is on its way, from a client with this public key."""
    request = pb.CreateTokenRequest(
        member=member, namespace="default", service_account="default", recipient=recipient
    )
    return CredentialServiceStub(hub.admin._channel).CreateToken(request, timeout=8)


def sealed(request: pb.TokenRequest, member: str, text: bytes, recipient: bytes = b"") -> session_pb2.Record:
    """An honest member's answer."""
    context = token_context(request.id, TreePath((member,)))
    answer = pb.TokenAnswer(id=request.id)
    answer.token.ciphertext = seal(recipient or request.recipient, text, context=context)
    answer.token.lifetime.FromSeconds(3600)
    return record(f"token/{request.id}", 1, answer.SerializeToString())


async def test_only_the_requester_opens_the_answer_and_only_to_its_own_question(tmp_path: Path) -> None:
    private, public = new_recipient()
    stranger, _ = new_recipient()
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "a")
        async with played(credential) as session:
            assert (await session.introduce("a")) is not None
            call = asyncio.ensure_future(asking(hub, "a", public))
            request = await question(session)
            assert request.requester == "access/admin"
            await session.batch(sealed(request, "a", b"the token"))
            answer = await call
    context = token_context(answer.id, TreePath(("a",)))
    assert open_sealed(private, answer.token.ciphertext, context=context) == b"the token"
    for key, where in ((stranger, context), (private, token_context("another", TreePath(("a",))))):
        with pytest.raises(PermissionDenied):
            open_sealed(key, answer.token.ciphertext, context=where)


async def test_an_answer_of_another_member_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.TokenRequests.ask, "__defaults__", (1.0,))
    async with running_hub(tmp_path / "hub") as hub:
        asked = await enrolled(hub, tmp_path, "a")
        thief = await enrolled(hub, tmp_path, "b")
        async with played(asked) as honest, played(thief) as liar:
            assert (await honest.introduce("a")) is not None
            assert (await liar.introduce("b")) is not None
            _, public = new_recipient()
            call = asyncio.ensure_future(asking(hub, "a", public))
            request = await question(honest)
            await liar.batch(sealed(request, "a", b"forged"))
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await call
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_member_that_never_answers_costs_a_deadline_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.TokenRequests.ask, "__defaults__", (0.3,))
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "a")
        async with played(credential) as session:
            assert (await session.introduce("a")) is not None
            with pytest.raises(DeadlineExceeded, match="did not answer"):
                await hub.admin.tokens.create("a", "default", "default")
            child = hub.hub.inventory.find("a")
            assert child is not None
            request = await question(session)
            assert child.exchange.get(f"token-request/{request.id}") is None
