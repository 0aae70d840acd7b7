"""The gateway's refusals: by status, and in the words of the status line, which is what Go's clients show."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from arbora.errors import InvalidInput, NotFound, Unauthenticated
from arbora.session.addresses import split
from arbora_hub.gateway import proxy
from arbora_hub.tunnels import opening
from tests.support.child import PlayedSession, enrolled, played
from tests.support.eventually import eventually
from tests.support.far import echo, far_server
from tests.support.hub import client_with, running_hub
from tests.support.reach import (
    GATEWAY,
    TARGET,
    ask,
    basic,
    dialled,
    head,
    member,
    reach,
    refusal,
    said_back,
    way,
)


@dataclass(frozen=True)
class Row:
    """What a client says, with a good token for edge-7 in its hands, and what it is told."""

    said: str
    status: int
    words: str


def connect(password: str, target: str = TARGET, method: str = "CONNECT") -> str:
    return f"{method} {target} HTTP/1.1\r\nHost: {target}\r\n{password}\r\n"


GOOD = "{good}"
GUESSED = "{guessed}"
WRONG: dict[str, Row] = {
    "no token": Row(connect(""), 407, "no password for a member. arbora kubeconfig writes one"),
    "a bearer token": Row(connect("Proxy-Authorization: Bearer x\r\n"), 407, "no password for a member"),
    "a password that is none": Row(connect("Proxy-Authorization: Basic !!\r\n"), 407, "no password for a member"),
    "a word in place of a token": Row(
        connect(basic("edge-7", "secret")), 407, "no token that this hub could know"
    ),
    "a token that nobody made": Row(connect(GUESSED), 407, "not known at this hub"),
    "another target": Row(
        connect(GOOD, "10.0.0.1:443"), 403, "leads to kubernetes.default.svc:443, not to 10.0.0.1"
    ),
    "another port": Row(connect(GOOD, "kubernetes.default.svc:22"), 403, "not to kubernetes.default.svc:22"),
    "the hub itself": Row(connect(GOOD, "127.0.0.1:7443"), 403, "not to 127.0.0.1:7443"),
    "a page": Row(connect(GOOD, "/", "GET"), 400, "this is a proxy for CONNECT"),
    "a page elsewhere": Row(connect(GOOD, "http://example.org/", "GET"), 400, "this is a proxy for CONNECT"),
    "a long head": Row(connect(f"X-Long: {'x' * 20_000}\r\n{GOOD}"), 400, ""),
    "no HTTP": Row("SSH-2.0-OpenSSH_9.0\r\n\r\n", 400, "that is no HTTP"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_request_is_answered_with_what_is_wrong_and_opens_nothing(
    tmp_path: Path, wrong: str
) -> None:
    row = WRONG[wrong]
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made = await it.token()
        prefix, id, secret = made.token.split(".")
        guessed = basic(made.user, f"{prefix}.{id}.{secret[::-1]}")
        said = row.said.replace(GOOD, basic(made.user, made.token)).replace(GUESSED, guessed)
        answer = await ask(made, said.encode())
        assert (answer.status, row.words in answer.reason) == (row.status, True), answer
        assert answer.body.startswith(answer.reason[:100])
        assert answer.headers["connection"] == "close"
        assert ("proxy-authenticate" in answer.headers) is (row.status == 407)
        assert far.accepted == 0
        async with way(made) as streams:
            assert await said_back(streams)


async def test_every_name_of_an_api_server_is_a_target(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made = await it.token()
        for name in ("kubernetes", "kubernetes.default", "kubernetes.default.svc.cluster.local"):
            async with way(made, target=f"{name}:443") as streams:
                assert await said_back(streams)


async def test_a_token_opens_the_way_to_its_own_member_and_no_call(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        async with member(it.root, tmp_path, "edge-8", far.address):
            made = await it.token()
            answer = await refusal(made, user="edge-8")
            assert (answer.status, answer.reason) == (403, "this token opens the way to edge-7, not to edge-8")
            async with client_with(it.root, made.token) as client:
                with pytest.raises(Unauthenticated, match="opens the way into a member and is for no calls"):
                    await client.info()
            own = it.root.context.token.reveal()
            answer = await refusal(made, token=own)
            assert answer.status == 407
            assert "is for calls to the hub, and for no way into a member" in answer.reason
        assert far.accepted == 0


async def test_a_member_that_is_not_connected_or_unknown_is_named_with_the_hub_that_says_so(
    tmp_path: Path,
) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address, ("eu",)) as it:
        made = await it.token()
        ghost = await it.root.admin.connect_tokens.create("/eu/ghost")
        answer = await refusal(ghost)
        assert answer.status == 404
        assert answer.reason.startswith("/eu: there is no member ghost at this hub")
        await it.agent.kill()
        await eventually(lambda: not it.owner.hub.sessions.connected("edge-7"), "its session is over")
        answer = await refusal(made)
        assert answer.status == 502
        assert answer.reason.startswith("/eu: /eu/edge-7 is not connected, so there is no way into it")


async def test_tokens_are_made_for_members_only_and_by_operators(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address, ("eu",)) as it:
        tokens = it.root.admin.connect_tokens
        with pytest.raises(InvalidInput, match="/eu is a hub, and ways lead into members only"):
            await tokens.create("/eu")
        with pytest.raises(NotFound):
            await tokens.create("/us")
        with pytest.raises(NotFound, match="this hub has no gateway"):
            await it.owner.admin.connect_tokens.create("edge-7")
        assert [one.member for one in await it.root.admin.access.list() if one.member] == []


async def test_a_member_whose_operator_lets_nobody_in_says_so(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address, ("eu",), tunnels=False) as it:
        assert not (await it.root.admin.members.get(it.path)).status.reachable
        answer = await refusal(await it.token())
        assert answer.status == 403
        assert answer.reason.startswith("/eu/edge-7: this member lets nobody in. Its operator can start")
        assert far.accepted == 0


async def test_a_member_without_an_api_server_and_one_whose_is_down_say_so(tmp_path: Path) -> None:
    async with reach(tmp_path, "") as it:
        answer = await refusal(await it.token())
        assert (
            answer.status,
            "/edge-7: there is no API server that this agent could reach" in answer.reason,
        ) == (
            502,
            True,
        )
    with socket.create_server(("127.0.0.1", 0)) as held:
        closed = f"127.0.0.1:{held.getsockname()[1]}"
    async with reach(tmp_path / "down", closed) as it:
        answer = await refusal(await it.token())
        assert (answer.status, "/edge-7: the API server can't be reached" in answer.reason) == (502, True)


async def asked_of(session: PlayedSession) -> str:
    """Read down until the hub asks for a tunnel; the record's key."""
    while (frame := await session.read()) is not None:
        for one in frame.batch.records:
            if one.key.startswith("tunnel/") and not one.deleted:
                return one.key
    raise AssertionError("the stream ended before the hub asked")


async def test_a_member_that_does_not_answer_costs_its_client_the_wait_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening.Tunnels.open.__wrapped__, "__defaults__", (0.5,))  # type: ignore[attr-defined]
    async with running_hub(tmp_path / "root", **GATEWAY) as hub:
        async with played(await enrolled(hub, tmp_path, "mute")) as session:
            await session.introduce("mute")
            made = await hub.admin.connect_tokens.create("mute")
            answer = await refusal(made)
            assert (answer.status, answer.reason.partition(".")[0]) == (504, "/mute opened no tunnel within 0")
            child = hub.hub.inventory.find("mute")
            assert child is not None
            key = await asked_of(session)
            await eventually(lambda: child.exchange.get(key) is None, "the question is taken back")


async def test_a_client_that_says_nothing_or_only_a_part_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "HEAD_SECONDS", 0.3)
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made = await it.token()
        for part in (b"", head(made)[:-2]):
            async with dialled(made) as (reader, writer):
                writer.write(part)
                async with asyncio.timeout(5.0):
                    assert await reader.read() == b""
        # nor is there any TLS
        raw, silent = await asyncio.open_connection(*split(made.gateway))
        async with asyncio.timeout(5.0):
            assert await raw.read() == b""
        silent.close()
        await silent.wait_closed()
        async with way(made) as streams:
            assert await said_back(streams)


async def test_a_client_too_many_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "MAX_CLIENTS", 1)
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made = await it.token()
        async with way(made) as streams:
            answer = await refusal(made)
            assert (answer.status, answer.reason) == (503, "1 clients are here already")
            assert await said_back(streams)
