"""No secret leaves its place: real processes at their most talkative, a canary in every place where a secret is,
and a search through everything that they say, answer and keep.
"""

from __future__ import annotations

import asyncio
import base64
import re
import signal
import sqlite3
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arbora.client import HubClient
from arbora.errors import ArboraError, PermissionDenied, Unauthenticated
from arbora.secret import Secret
from arbora.session.credential import CredentialFile
from arbora.v1 import access_pb2, member_pb2, workload_pb2
from tests.support.eventually import eventually
from tests.support.processes import AgentProcess, HubProcess, processes

CANARY = "canary-in-a-kubernetes-secret"
LOUD = {"ARBORA_LOG_LEVEL": "debug"}
ALLOW = ("--allow-token", "default/default")


def secret_part(token: str) -> str:
    """Of `arbk.<id>.<secret>` and `arb1.<id>.<secret>.<pin>`: the rest may be known."""
    return token.split(".")[2]


def with_another_secret(token: str) -> str:
    """The same token id with a secret that somebody guessed."""
    secret = secret_part(token)
    return token.replace(secret, secret[::-1])


def pem_bodies(*pems: bytes) -> list[str]:
    """The long lines of private keys; any one of them gives the key away."""
    return [line for pem in pems for line in pem.decode().splitlines() if len(line) > 40 and "-" not in line]


def authority_keys(database: Path) -> list[bytes]:
    """The hub's CA keys."""
    connection = sqlite3.connect(database)
    try:
        return [bytes(row[0]) for row in connection.execute("SELECT key_pem FROM authority")]
    finally:
        connection.close()


def texts_in(folder: Path) -> dict[str, str]:
    """Every file, whatever it holds."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes().decode("latin-1") for path in files}


def readable_by_others(folder: Path) -> list[str]:
    return [str(path) for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]


def found(secrets: Iterable[str], texts: dict[str, str]) -> list[str]:
    """Where one of the secrets stands."""
    wanted = list(secrets)
    assert all(len(secret) > 20 for secret in wanted), "too short to search for"
    return [place for place, text in texts.items() if any(secret in text for secret in wanted)]


async def all_of(items: AsyncGenerator[Any, None]) -> list[Any]:
    return [item async for item in items]


async def answers(client: HubClient, *, manifests: bool) -> dict[str, str]:
    """What the hub answers to every reading call that the client may make. manifests: also those of workloads."""
    calls = {
        "GetHub": client.info(),
        "ListMembers": all_of(client.members.list()),
        "GetMember": client.members.get("edge-7"),
        "ListWorkloads": all_of(client.workloads.list()),
        "ListEvents": all_of(client.events.list()),
        "WhoAmI": client.access.whoami(),
        "ListAudit": all_of(client.audit.list()),
        "ListAccess": client.access.list(),
        "ListJoinTokens": client.join_tokens.list(),
    }
    if manifests:
        calls["GetWorkload"] = client.workloads.get("app")
    got = {}
    for name, call in calls.items():
        try:
            got[name] = str(await call)
        except PermissionDenied as error:
            got[name] = f"{error} {error.hint}"
    return got


async def applied(client: HubClient) -> bool:
    """Whether the workload with the Secret runs in the member."""
    workload = await client.workloads.get("app")
    return workload.state == workload_pb2.WORKLOAD_STATE_AVAILABLE


async def online(client: HubClient, name: str) -> bool:
    try:
        return (await client.members.get(name)).liveness == member_pb2.LIVENESS_ONLINE
    except ArboraError:
        return False


async def test_no_secret_is_in_a_log_an_answer_the_audit_log_or_a_file_where_it_does_not_belong(
    tmp_path: Path,
) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "app", "namespace": "default"},
        "stringData": {"password": CANARY},
        "data": {"encoded": base64.b64encode(f"{CANARY}-too".encode()).decode()},
    }
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(processes())
        hub = HubProcess(tmp_path)
        hub.environment = LOUD
        started.append(hub)
        await hub.start()
        admin = await stack.enter_async_context(hub.admin())
        context = await asyncio.to_thread(hub.context)

        used = (await admin.join_tokens.create("edge-7")).token
        unused = (await admin.join_tokens.create("edge-8")).token
        guessed = with_another_secret(unused)
        agent = AgentProcess(tmp_path, "edge-7", hub.join_address, used)
        impostor = AgentProcess(tmp_path, "edge-8", hub.join_address, guessed)
        for one in (agent, impostor):
            one.environment = {**one.environment, **LOUD}
            one.arguments = (*one.arguments, *ALLOW)
            started.append(one)
            await one.start()
        await eventually(lambda: online(admin, "edge-7"), "edge-7 is online")
        assert await impostor.ended() == PermissionDenied.exit_code, impostor.said()

        viewer = (await admin.access.create("eve", access_pb2.ROLE_VIEWER)).token
        revoked = (await admin.access.create("gone", access_pb2.ROLE_ADMIN)).token
        await admin.access.revoke("gone")
        wrong = with_another_secret(viewer)
        for bearer in (revoked, wrong):
            async with HubClient.from_context(replace(context, token=Secret(bearer))) as stranger:
                with pytest.raises(Unauthenticated):
                    await stranger.members.cordon("edge-7")

        await admin.workloads.apply("app", [manifest], members=["edge-7"])
        await eventually(lambda: applied(admin), "the Secret is applied")
        minted = (await admin.tokens.create("edge-7", "default", "default")).secret.reveal()
        with pytest.raises(PermissionDenied):
            await admin.tokens.create("edge-7", "default", "admin")
        await admin.rotate_authority("prepare")

        eve = await stack.enter_async_context(HubClient.from_context(replace(context, token=Secret(viewer))))
        answered = {
            **{f"{name} for eve": text for name, text in (await answers(eve, manifests=True)).items()},
            **{f"{name} for the admin": text for name, text in (await answers(admin, manifests=False)).items()},
        }
        for one in (agent, hub):
            one.signal(signal.SIGTERM)
            assert await one.ended() == 0, one.said()

    credential = await CredentialFile(tmp_path / "edge-7").load()
    assert credential is not None
    keys = pem_bodies(credential.key_pem, *authority_keys(tmp_path / "hub" / "hub.db"))
    assert len(keys) >= 3
    said = {one.log.name: one.said() for one in (hub, agent, impostor)}
    assert '"' not in minted
    assert "password" in answered["GetWorkload for eve"], "the Secret was not shown at all"
    assert "child enrolled" in said["hub.log"]

    tokens = [secret_part(text) for text in (used, unused, guessed, viewer, revoked, wrong)]
    in_members = [CANARY, base64.b64encode(CANARY.encode()).decode(), manifest["data"]["encoded"]]
    own = secret_part(context.token.reveal())
    claims_and_signature = minted.split(".")[1:]
    every = [*tokens, own, *claims_and_signature, *in_members, *keys]
    assert found(every, {**said, **answered}) == []

    kept = texts_in(tmp_path)
    assert "hub/hub.db" in found(in_members, kept), "this search finds nothing"
    # the hub keeps hashes of tokens, and the member none at all
    assert found([*tokens, *claims_and_signature], kept) == []
    assert found([own], kept) == ["hub/admin.yaml"]
    # each process keeps its own keys and no other's
    assert {place.partition("/")[0] for place in found(pem_bodies(credential.key_pem), kept)} == {"edge-7"}
    assert readable_by_others(tmp_path / "hub") == []
    assert readable_by_others(tmp_path / "edge-7") == []


async def test_sigterm_ends_hub_and_agent_in_order_with_exit_code_0(tmp_path: Path) -> None:
    async with processes() as started:
        hub = HubProcess(tmp_path)
        hub.environment = {"ARBORA_LOG_LEVEL": "info"}
        started.append(hub)
        await hub.start()
        async with hub.admin() as admin:
            token = (await admin.join_tokens.create("edge-7")).token
            agent = AgentProcess(tmp_path, "edge-7", hub.join_address, token, level="info")
            started.append(agent)
            await agent.start()
            await eventually(lambda: online(admin, "edge-7"), "edge-7 is online")
            async with aclosing(admin.workloads.watch()) as watch:
                assert (await anext(watch)).synced
                # with a child connected and a client that watches
                hub.signal(signal.SIGTERM)
                assert await hub.ended(8.0) == 0, hub.said()
                with pytest.raises(ArboraError):
                    await anext(watch)
            # with its hub away
            agent.signal(signal.SIGTERM)
            assert await agent.ended(8.0) == 0, agent.said()
    text = hub.said() + agent.said()
    assert "Traceback" not in text
    assert not re.search(r"level=(error|critical)", text)
    assert "the hub drains" in agent.said()
