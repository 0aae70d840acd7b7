"""Clients that the gateway lets in by where they are, and the reverse proxy for those that can't use a proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from arbora.errors import InvalidInput
from tests.support.eventually import eventually
from tests.support.far import echo, far_server
from tests.support.hub import LOOPBACK, running_hub
from tests.support.reach import SECONDS, Made, Reach, ask, basic, connect_head, dialled, reach, said_back, way

HERE = {"gateway_admit": ("127.0.0.0/8",)}
ELSEWHERE = {"gateway_admit": ("10.0.0.0/8", "fd00::/8")}
REVERSE = {**HERE, "gateway_reverse": True}


def unnamed(it: Reach, made: Made) -> bytes:
    """As Go asks a proxy whose address has a user and no password."""
    return connect_head(basic(made.user, ""))


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one request with what was asked, then with what comes after it, byte by byte."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head)
    await echo(reader, writer)


async def told(made: Made, said: bytes, until: bytes) -> str:
    """What comes back from the gateway's other side, up to `until`."""
    async with dialled(made) as (reader, writer), asyncio.timeout(SECONDS):
        writer.write(said)
        return (await reader.readuntil(until)).decode()


@pytest.mark.parametrize("between", [(), ("eu",)], ids=["one hub", "two hubs"])
async def test_a_client_from_an_admitted_network_needs_no_token(tmp_path: Path, between: tuple[str, ...]) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address, between, HERE) as it:
        made = await it.token()
        async with dialled(made) as (reader, writer):
            writer.write(unnamed(it, made))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await said_back((reader, writer))

        async def written() -> bool:
            entries = await it.root.audit()
            return ("network/127.0.0.1", "OpenTunnel") in [(entry.actor, entry.action) for entry in entries]

        await eventually(written, "it is in the audit log")


async def test_from_elsewhere_it_does(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address, root=ELSEWHERE) as it:
        made = await it.token()
        answer = await ask(made, unnamed(it, made))
        assert (answer.status, far.accepted) == (407, 0)
        assert "clients from here need one" in answer.reason


async def test_a_token_that_is_shown_counts_also_where_none_is_needed(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address, root=HERE) as it:
        made = await it.token()
        async with way(made) as streams:
            assert await said_back(streams)
        await it.root.admin.access.revoke(made.name)
        answer = await ask(made, connect_head(basic(made.user, made.token)))
        assert answer.status == 407


@pytest.mark.parametrize("between", [(), ("eu",)], ids=["one hub", "two hubs"])
async def test_the_reverse_proxy_speaks_tls_with_the_member_and_takes_its_own_prefix_off(
    tmp_path: Path, between: tuple[str, ...]
) -> None:
    async with (
        far_server(http, tls=True) as far,
        reach(tmp_path, far.address, between, REVERSE, far.ca_pem) as it,
    ):
        made = await it.token()
        said = (
            f"GET /clusters/{made.user}/api/v1/pods?watch=1 HTTP/1.1\r\nHost: hub\r\n"
            "Authorization: Bearer mine\r\nConnection: keep-alive\r\n\r\n"
        )
        heard = await told(made, said.encode(), b"connection: close\r\n\r\n")
        asked = heard.partition("\r\n\r\n")[2].lower()
        assert asked.startswith("get /api/v1/pods?watch=1 http/1.1\r\n")
        assert "host: kubernetes.default.svc\r\n" in asked
        assert "authorization: bearer mine\r\n" in asked
        assert "keep-alive" not in asked
        await far.until_left()
        await it.until_idle()


async def test_a_body_passes_through_the_reverse_proxy_as_it_is(tmp_path: Path) -> None:
    async with far_server(http, tls=True) as far, reach(tmp_path, far.address, (), REVERSE, far.ca_pem) as it:
        made = await it.token()
        body = b"x" * 100_000 + b"END"
        said = f"POST /clusters/{made.user}/apis HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n"
        async with dialled(made) as (reader, writer), asyncio.timeout(SECONDS):
            writer.write(said.encode() + body)
            await reader.readuntil(b"connection: close\r\n\r\n")
            assert await reader.readexactly(len(body)) == body


async def test_a_change_of_protocol_passes_through_the_reverse_proxy(tmp_path: Path) -> None:
    async with far_server(http, tls=True) as far, reach(tmp_path, far.address, (), REVERSE, far.ca_pem) as it:
        made = await it.token()
        said = f"GET /clusters/{made.user}/exec HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\n\r\n"
        async with dialled(made) as (reader, writer), asyncio.timeout(SECONDS):
            writer.write(said.encode())
            heard = (await reader.readuntil(b"connection: Upgrade\r\n\r\n")).decode().lower()
            assert "upgrade: websocket" in heard
            assert await said_back((reader, writer))
            assert await said_back((reader, writer), b"again")


async def test_a_server_that_does_not_prove_that_it_is_the_members_is_refused(tmp_path: Path) -> None:
    async with far_server(http, tls=True) as far, far_server(http, tls=True) as other:
        async with reach(tmp_path, far.address, (), REVERSE, other.ca_pem) as it:
            made = await it.token()
            answer = await ask(made, f"GET /clusters/{made.user}/api HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
            assert answer.status == 502
            assert "did not prove who it is" in answer.reason


@pytest.mark.parametrize(
    ("root", "target", "status"),
    [
        (HERE, "/clusters/edge-7/api", 400),
        ({**REVERSE, **ELSEWHERE}, "/clusters/edge-7/api", 407),
        (REVERSE, "/elsewhere", 400),
        (REVERSE, "/clusters/", 400),
        (REVERSE, "/clusters/ghost/api", 404),
    ],
    ids=["it is switched off", "another network", "no such place", "no member", "no such member"],
)
async def test_what_the_reverse_proxy_refuses(
    tmp_path: Path, root: dict[str, object], target: str, status: int
) -> None:
    async with far_server(http, tls=True) as far, reach(tmp_path, far.address, (), root, far.ca_pem) as it:
        answer = await ask(await it.token(), f"GET {target} HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
        assert (answer.status, far.accepted) == (status, 0)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"gateway_reverse": True}, "gateway_reverse"),
        ({"gateway_admit": ("10.0.0.1/8",)}, "gateway_admit"),
        ({"gateway_admit": ("everybody",)}, "gateway_admit"),
    ],
)
async def test_a_setting_that_makes_no_sense_is_refused_at_the_start(
    tmp_path: Path, settings: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        async with running_hub(tmp_path / "hub", gateway_address=LOOPBACK, **settings):
            pass
    assert caught.value.field == field
