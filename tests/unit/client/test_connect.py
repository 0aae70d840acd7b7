"""Tokens into members by the SDK: `hub.connect_tokens`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from arbora import errors
from arbora.client import HubClient
from arbora.v1 import enrollment_pb2
from tests.support.fake_hub import FakeHub


async def test_a_token_comes_with_all_that_a_client_of_the_gateway_needs(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/eu/edge-7")
    made = await client.connect_tokens.create("/eu/edge-7")
    assert made.token.startswith("arbk.")
    assert (made.user, made.gateway, made.ca_pem) == ("edge-7.eu", "gateway.example.org:7447", hub.ca_pem)
    assert not made.HasField("expires"), "until it is revoked"


async def test_a_lifetime_and_a_name_travel(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/edge-7")
    made = await client.connect_tokens.create("edge-7", timedelta(hours=2), "ci")
    left = made.expires.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(hours=1, minutes=59) < left <= timedelta(hours=2)
    assert made.name == "ci"
    with pytest.raises(errors.Conflict, match="there is an access ci already"):
        await client.connect_tokens.create("edge-7", name="ci")


async def test_it_is_listed_with_its_member_and_revoked_among_the_accesses(
    hub: FakeHub, client: HubClient
) -> None:
    hub.add_member("/edge-7")
    made = await client.connect_tokens.create("edge-7")
    assert [(one.name, one.member) for one in await client.access.list()] == [(made.name, "edge-7")]
    await client.access.revoke(made.name)
    assert await client.access.list() == []


async def test_where_there_is_no_member_or_no_gateway_the_hubs_error_comes_with_its_hint(
    hub: FakeHub, client: HubClient
) -> None:
    hub.add_member("/eu", kind=enrollment_pb2.CHILD_KIND_HUB)
    for path in ("edge-7", "/eu"):
        with pytest.raises(errors.NotFound, match="there is no member"):
            await client.connect_tokens.create(path)
    hub.gateway = ""
    with pytest.raises(errors.NotFound, match="no gateway into members") as caught:
        await client.connect_tokens.create("edge-7")
    assert "--gateway-address" in caught.value.hint


async def test_making_one_is_never_repeated(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/edge-7")
    hub.failures.append(errors.Unavailable("busy"))
    with pytest.raises(errors.Unavailable):
        await client.connect_tokens.create("edge-7")
    assert hub.calls == ["CreateConnectToken"]
