"""The audit log: whoever changes something, or tries to, is in it, and nobody can flood it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from arbora.client import HubClient
from arbora.errors import PermissionDenied, Unauthenticated
from arbora.identity import csr, keys
from arbora.rpc.channel import session_channel
from arbora.rpc.policy import POLICY
from arbora.v1 import access_pb2, event_pb2, member_pb2
from arbora.v1.enrollment_pb2 import RenewRequest
from arbora.v1.enrollment_pb2_grpc import RenewalServiceStub
from tests.support.child import enrolled
from tests.support.hub import RunningHub, client_with, config_map, running_agent, running_hub


async def viewer(hub: RunningHub, name: str) -> str:
    """The bearer token of a new viewer."""
    return (await hub.admin.access.create(name, access_pb2.ROLE_VIEWER)).token


async def changes(client: HubClient, hub: RunningHub) -> dict[str, BaseException | object]:
    """Each call that changes something, once; what came of it."""
    token = await hub.admin.join_tokens.create("never")
    calls = {
        "LabelMember": client.members.label("edge-7", {"gpu": "h100"}),
        "TaintMember": client.members.taint(
            "edge-7", [member_pb2.Taint(key="broken", effect=member_pb2.TAINT_EFFECT_NO_SCHEDULE)]
        ),
        "CordonMember": client.members.cordon("edge-7"),
        "ApplyWorkload": client.workloads.apply("app", [config_map("app")], members=["edge-7"]),
        "RebalanceWorkload": client.workloads.rebalance("app"),
        "DeleteWorkload": client.workloads.delete("app"),
        "CreateToken": client.tokens.create("edge-7", "default", "runner"),
        "RevokeGrant": client.tokens.revoke("edge-7", "ci"),
        "CreateAccess": client.access.create("friend", access_pb2.ROLE_VIEWER),
        "RevokeAccess": client.access.revoke("friend"),
        "CreateJoinToken": client.join_tokens.create("edge-9"),
        "RevokeJoinToken": client.join_tokens.revoke(token.join_token.id),
        "RotateAuthority": client.rotate_authority("prepare"),
        "MoveHub": client.detach(),
        "EvictMember": client.members.evict("edge-7", "broken"),
    }
    return {name: (await asyncio.gather(call, return_exceptions=True))[0] for name, call in calls.items()}


async def test_every_call_that_changes_something_is_in_the_audit_log_done_or_refused(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await enrolled(hub, tmp_path, "edge-7")
        async with client_with(hub, await viewer(hub, "eve")) as eve:
            refused = await changes(eve, hub)
        writes = {name.rpartition("/")[2] for name, rule in POLICY.items() if rule.mutates}
        assert refused.keys() == writes - {"Enroll", "Renew"}, "a call that changes something is not tried here"
        assert {type(outcome) for outcome in refused.values()} == {PermissionDenied}
        mark = len(await hub.audit())
        assert logged(await hub.audit(), "access/eve") == dict.fromkeys(refused, "PERMISSION_DENIED")
        done = await changes(hub.admin, hub)
        # nobody is at home at edge-7, so what its agent would have to do can't succeed
        away = ["CreateToken", "RevokeGrant"]
        assert [name for name, outcome in done.items() if isinstance(outcome, BaseException)] == away
        entries = (await hub.audit())[:-mark]
        wanted = {**dict.fromkeys(done, "OK"), **dict.fromkeys(away, "UNAVAILABLE")}
        assert logged(entries, "access/admin") == wanted
        assert {entry.action: entry.subject for entry in reversed(entries)} == {
            **dict.fromkeys(("LabelMember", "TaintMember", "CordonMember", "EvictMember", *away), "edge-7"),
            **dict.fromkeys(("ApplyWorkload", "RebalanceWorkload", "DeleteWorkload"), "app"),
            **dict.fromkeys(("CreateAccess", "RevokeAccess"), "friend"),
            "CreateJoinToken": "edge-9",
            "RevokeJoinToken": next(entry.subject for entry in entries if entry.action == "RevokeJoinToken"),
            "RotateAuthority": "prepare",
            "MoveHub": "/",
        }
        assert all(entry.subject and entry.peer.startswith("ipv4:127.0.0.1:") for entry in entries)
        evicted = next(entry for entry in entries if entry.action == "EvictMember")
        assert evicted.detail == "reason=broken"


def logged(entries: list[event_pb2.AuditEntry], actor: str) -> dict[str, str]:
    """What one caller did, and what came of it."""
    return {entry.action: entry.outcome for entry in reversed(entries) if entry.actor == actor}


async def test_a_child_that_joins_is_named_in_the_audit_log_even_if_its_token_chose_the_name(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = await hub.join_token("edge-7")
        async with running_agent(hub, tmp_path, "", token=token) as agent:
            await agent.until_online()
            joined = next(entry for entry in await hub.audit() if entry.action == "Enroll")
        assert (joined.actor, joined.subject, joined.outcome) == ("anyone", "edge-7", "OK")


async def test_a_join_token_for_any_name_is_known_in_the_audit_log_by_its_id(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        made = await hub.admin.join_tokens.create()
        assert (await hub.audit())[0].subject == made.join_token.id


async def test_a_childs_renewal_is_audited_under_the_name_that_its_certificate_proves(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        child = await enrolled(hub, tmp_path, "edge-7")
        async with session_channel(
            child.session_address, child.bundle_pem(), child.key_pem, child.leaf_pem()
        ) as channel:
            await RenewalServiceStub(channel).Renew(RenewRequest(csr=csr.build(keys.new_key())))
        entry = (await hub.audit())[0]
        assert (entry.actor, entry.action, entry.outcome) == ("member/edge-7", "Renew", "OK")


async def test_reading_leaves_no_entry_and_strangers_can_not_fill_the_audit_log(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        before = len(await hub.audit())
        await hub.admin.info()
        assert [member async for member in hub.admin.members.list()] == []
        async with client_with(hub, "arbk.aaaaaaaaaa." + "a" * 52) as stranger:
            for _ in range(20):
                with pytest.raises(Unauthenticated):
                    await stranger.members.evict("edge-7")
        assert len(await hub.audit()) == before
