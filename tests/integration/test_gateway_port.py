"""The gateway as a part of its hub: its port, its certificate, and how it ends."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from arbora.errors import Conflict, InvalidInput
from arbora.identity.rotation import Step
from arbora_hub.enrollment import authority
from tests.support.eventually import eventually
from tests.support.far import SMALL, echo, far_server
from tests.support.hub import RunningHub, running_hub
from tests.support.reach import GATEWAY, Made, dialled, head, member, reach, said_back, until_cut, way


async def test_a_port_that_is_taken_is_named_and_the_hub_does_not_begin(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            client = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(Conflict, match=f"the gateway can't listen on {address}") as refused:
            async with running_hub(tmp_path / "hub", gateway_address=address, client_address=client):
                raise AssertionError("it has begun")
        assert "--gateway-address" in refused.value.hint
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", int(client.rpartition(":")[2]))
    # and nothing is left behind that would keep it from beginning
    async with running_hub(tmp_path / "hub", gateway_address=address, client_address=client) as hub:
        assert hub.hub.gateway.address == address


async def test_a_taken_port_of_another_kind_closes_the_gateway_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        session = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Conflict, match="can't listen on"):
            async with running_hub(tmp_path / "hub", session_address=session, **GATEWAY):
                raise AssertionError("it has begun")


@pytest.mark.parametrize("address", ["7447", "127.0.0.1:seven", "127.0.0.1:70000", "::1:7447"])
async def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidInput, match="is not an address"):
        async with running_hub(tmp_path / "hub", gateway_address=address):
            raise AssertionError("it has begun")


async def test_without_an_address_there_is_no_gateway(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        assert hub.hub.gateway.address == ""


async def test_the_address_that_users_are_told_is_the_one_that_the_hub_advertises(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", gateway_address="0.0.0.0:0", advertise="localhost") as hub:
        assert hub.hub.gateway.address.startswith("localhost:")


async def shown(made: Made, ca_pem: bytes = b"") -> str:
    """The certificate that the gateway shows to a new client. Raises SSLError if the client doesn't trust it."""
    async with dialled(made, ca_pem) as (_, writer):
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return hashlib.sha256(certificate).hexdigest()


def authorities(hub: RunningHub) -> bytes:
    return hub.hub.authority.bundle().to_pem()


async def test_the_certificate_follows_a_rotation_of_the_ca_while_a_way_goes_on(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made, rotate = await it.token(), it.root.hub.authority.rotate
        async with way(made) as streams:
            first = await shown(made)
            await rotate(Step.PREPARE, forced=True)
            await rotate(Step.ACTIVATE, forced=True)
            # who knows only the old CA gets in until it is retired
            await shown(made)
            assert await said_back(streams)
        await rotate(Step.RETIRE, forced=True)
        assert await shown(made, authorities(it.root)) != first
        with pytest.raises(ssl.SSLCertVerificationError):
            await shown(made)
        assert list((tmp_path / "root").glob("gateway-*")) == []


async def test_the_certificate_is_renewed_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(authority, "SERVER_LEAF_LIFETIME", timedelta(seconds=4))
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made = await it.token()
        first = await shown(made)

        async def another() -> bool:
            return await shown(made) != first

        await eventually(another, "another certificate is shown")


@pytest.mark.parametrize("how", ["its client goes", "its token is revoked"])
async def test_of_a_token_whose_last_way_has_ended_nothing_is_kept(tmp_path: Path, how: str) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made, proxy = await it.token(name="for-ci"), it.root.hub.gateway.proxy
        assert proxy is not None
        async with way(made) as first, way(made) as second:
            assert await said_back(first)
            assert await said_back(second)
            assert len(proxy._of_access) == 1
            if how == "its token is revoked":
                await it.root.admin.access.revoke("for-ci")
                await until_cut(first)
                await until_cut(second)
        await it.until_idle()
        await eventually(lambda: len(proxy._of_access) == 0, "it is forgotten")


async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says more than anybody reads, and hears nothing."""
    while True:
        writer.write(bytes(SMALL))
        await writer.drain()


async def test_a_hub_with_open_ways_ends_in_time_and_its_clients_hear_it(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with far_server(floods) as far, AsyncExitStack() as outer, AsyncExitStack() as life:
        hub = await life.enter_async_context(running_hub(tmp_path / "hub", **GATEWAY))
        await outer.enter_async_context(member(hub, tmp_path, "edge-7", far.address))
        made = await hub.admin.connect_tokens.create("edge-7")
        async with way(made) as first, way(made) as second, dialled(made) as silent, dialled(made) as half:
            half[1].write(head(made)[:20])
            first[1].write(bytes(1_000_000))
            await second[0].readexactly(1_000_000)
            began = loop.time()
            await life.aclose()
            assert loop.time() - began < 6.0
            for streams in (first, second, silent, half):
                await until_cut(streams)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", int(made.gateway.rpartition(":")[2]))
        await far.until_left()
