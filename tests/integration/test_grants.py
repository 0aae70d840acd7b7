"""Rights that come with a token, through one hub and through two: made, listed, repaired, refused, revoked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from arbora.client import HubClient
from arbora.clock import LoopClock
from arbora.errors import ArboraError, InvalidInput, NotFound, PermissionDenied, Unavailable
from arbora.manifests.objects import ObjectRef
from arbora.secret import Secret
from arbora.v1 import access_pb2, credential_pb2, enrollment_pb2
from arbora_agent.cluster.rights import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    LABEL_GRANT,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
)
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_agent.cluster.simulated.rights import SimulatedRights
from arbora_agent.grants.model import STEPS
from arbora_hub.inventory.liveness import Liveness
from tests.support.eventually import eventually
from tests.support.hub import RunningAgent, RunningHub, client_with, running_agent, running_hub

ALLOW: dict[str, Any] = {
    "allow_tokens": ("team/*", "default/default"),
    "allow_roles": ("default/reader",),
    "allow_cluster_roles": ("viewer",),
    "allow_rules_of": "ceiling",
}
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
RUNNER = ObjectRef(SERVICE_ACCOUNT, "team", "runner")
BINDING = ObjectRef(ROLE_BINDING, "default", "arbora.ci.reader")
EVERYWHERE = ObjectRef(CLUSTER_ROLE_BINDING, "", "arbora.ci.viewer")


def roles(simulation: Simulation) -> None:
    """What the member's operator has made."""
    for gvk, name in ((ROLE, "reader"), (CLUSTER_ROLE, "viewer"), (CLUSTER_ROLE, "ceiling")):
        metadata = {"name": name, **({"namespace": "default"} if gvk == ROLE else {})}
        simulation.create(
            {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": metadata, "rules": [PODS]}
        )


def asked(id: str = "ci", *, reader: bool = True, viewer: bool = True) -> credential_pb2.Grant:
    grant = credential_pb2.Grant(id=id)
    if reader:
        grant.roles.add(namespace="default", name="reader")
    if viewer:
        grant.cluster_roles.add(name="viewer")
    return grant


def made_by_rules(verb: str = "list") -> credential_pb2.Grant:
    grant = credential_pb2.Grant(id="rules")
    role = grant.roles.add(namespace="default", name="made")
    role.rules.add(api_groups=[""], resources=["pods"], verbs=["get", verb])
    return grant


@asynccontextmanager
async def member(folder: Path, **settings: Any) -> AsyncIterator[tuple[RunningHub, RunningAgent]]:
    """A hub and its member edge-7."""
    async with running_hub(folder / "hub") as hub:
        async with running_agent(hub, folder, "edge-7", **{**ALLOW, **settings}) as agent:
            roles(agent.simulation)
            await agent.until_online()
            yield hub, agent


@asynccontextmanager
async def member_below_two(folder: Path) -> AsyncIterator[tuple[HubClient, RunningAgent]]:
    """The root's admin, and the member /eu/edge-7."""
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(running_hub(folder / "root"))
        token = await root.join_token("eu", kind=enrollment_pb2.CHILD_KIND_HUB)
        below = running_hub(folder / "eu", parent=root.hub.join_address, join_token=Secret(token))
        eu = await stack.enter_async_context(below)
        await root.until("eu", Liveness.ONLINE)
        agent = await stack.enter_async_context(running_agent(eu, folder, "edge-7", **ALLOW))
        roles(agent.simulation)
        await agent.until_online()
        await eventually(lambda: str(agent.agent._path) == "/eu/edge-7", "it knows where it stands")
        yield root.admin, agent


async def life_of_a_grant(client: HubClient, path: str, simulation: Simulation) -> None:
    token = await client.tokens.create(path, "team", "runner", grant=asked())
    assert token.secret.reveal().count(".") == 2
    assert [step.type for step in token.steps] == list(STEPS)
    assert [step.reason for step in token.steps] == ["Created", "Found", "Found", "Created", "Created"]
    account = simulation.read(RUNNER)
    assert account is not None
    assert account["metadata"]["labels"] == {LABEL_GRANT: "ci"}
    (listed,) = await client.tokens.grants(path)
    assert (listed.id, listed.namespace, listed.service_account) == ("ci", "team", "runner")
    assert [(role.namespace, role.name) for role in listed.roles] == [("default", "reader")]
    assert [role.name for role in listed.cluster_roles] == ["viewer"]
    assert set(listed.made) == {str(RUNNER), str(BINDING), str(EVERYWHERE)}
    assert listed.requester.endswith("access/admin")

    simulation.remove(BINDING)
    again = await client.tokens.create(path, "team", "runner", grant=asked())
    assert [step.reason for step in again.steps] == ["Found", "Found", "Found", "Created", "Found"]

    narrower = await client.tokens.create(path, "team", "runner", grant=asked(viewer=False))
    assert narrower.steps[4].reason == "NothingAsked"
    assert simulation.read(EVERYWHERE) is None

    await client.tokens.revoke(path, "ci")
    assert not await client.tokens.grants(path)
    assert [simulation.read(ref) for ref in (RUNNER, BINDING, EVERYWHERE)] == [None] * 3
    await client.tokens.revoke(path, "ci")


async def test_a_grant_is_made_repaired_narrowed_and_taken_back(tmp_path: Path) -> None:
    async with member(tmp_path) as (hub, agent):
        await life_of_a_grant(hub.admin, "edge-7", agent.simulation)
        actions = [(entry.action, entry.outcome) for entry in await hub.audit()]
        assert ("RevokeGrant", "OK") in actions


async def test_and_also_below_two_hubs(tmp_path: Path) -> None:
    async with member_below_two(tmp_path) as (client, agent):
        await life_of_a_grant(client, "/eu/edge-7", agent.simulation)
        with pytest.raises(PermissionDenied, match=r"/eu: edge-7 refuses: .*--allow-cluster-role root"):
            grant = credential_pb2.Grant(id="x", cluster_roles=[credential_pb2.AskedRole(name="root")])
            await client.tokens.create("/eu/edge-7", "team", "runner", grant=grant)


async def test_a_role_may_be_asked_for_by_its_rules_up_to_the_ceiling(tmp_path: Path) -> None:
    async with member(tmp_path) as (hub, agent):
        token = await hub.admin.tokens.create("edge-7", "team", "runner", grant=made_by_rules())
        assert token.steps[1].message == "Role default/made created"
        made = agent.simulation.read(ObjectRef(ROLE, "default", "made"))
        assert made is not None
        assert made["rules"] == [PODS]
        with pytest.raises(PermissionDenied, match=r"would allow: delete pods; .*--allow-rules-of") as beyond:
            await hub.admin.tokens.create("edge-7", "team", "runner", grant=made_by_rules("delete"))
        assert beyond.value.field == "RoleFoundOrCreated"
        with pytest.raises(Unavailable, match="could not do it: Role default/made exists with other rules"):
            agent.simulation.change(ObjectRef(ROLE, "default", "made"), {"rules": []})
            await hub.admin.tokens.create("edge-7", "team", "runner", grant=made_by_rules())


REFUSED: dict[str, tuple[dict[str, Any], type[ArboraError], str]] = {
    "an account that is not named": (
        {"service_account": "x", "namespace": "other"},
        PermissionDenied,
        "--allow-token",
    ),
    "a role that is not named": (
        {
            "grant": credential_pb2.Grant(
                id="x", roles=[credential_pb2.AskedRole(namespace="team", name="reader")]
            )
        },
        PermissionDenied,
        "--allow-role team/reader",
    ),
    "another cluster": ({"cluster_uid": "another"}, Unavailable, "another cluster than the one that was meant"),
    "another cluster, without a grant": (
        {"cluster_uid": "another", "grant": None},
        Unavailable,
        "another cluster",
    ),
    "an id that is no name": ({"grant": credential_pb2.Grant(id="a.b")}, InvalidInput, "not a valid name"),
}


@pytest.mark.parametrize("why", REFUSED)
async def test_what_is_refused_leaves_nothing(tmp_path: Path, why: str) -> None:
    changed, error, words = REFUSED[why]
    given: dict[str, Any] = {"namespace": "team", "service_account": "runner", "grant": asked(), **changed}
    async with member(tmp_path) as (hub, agent):
        with pytest.raises(error, match=words):
            await hub.admin.tokens.create("edge-7", **given)
        assert not await hub.admin.tokens.grants("edge-7")
        assert agent.simulation.read(RUNNER) is None


async def test_the_cluster_that_is_meant_takes_it_and_another_revokes_nothing(tmp_path: Path) -> None:
    async with member(tmp_path) as (hub, agent):
        uid = str(agent.simulation.uid)
        assert (await hub.admin.tokens.create("edge-7", "team", "runner", grant=asked(), cluster_uid=uid)).secret
        with pytest.raises(Unavailable, match="another cluster"):
            await hub.admin.tokens.revoke("edge-7", "ci", cluster_uid="another")
        assert len(await hub.admin.tokens.grants("edge-7")) == 1
        await hub.admin.tokens.revoke("edge-7", "ci", cluster_uid=uid)


async def test_by_default_nothing_is_granted(tmp_path: Path) -> None:
    nothing = {"allow_tokens": (), "allow_roles": (), "allow_cluster_roles": (), "allow_rules_of": ""}
    async with member(tmp_path, **nothing) as (hub, _):
        for grant in (credential_pb2.Grant(id="x"), asked(), made_by_rules()):
            with pytest.raises(PermissionDenied, match="does not name team/runner"):
                await hub.admin.tokens.create("edge-7", "team", "runner", grant=grant)


async def test_an_agent_that_allows_less_now_still_takes_back_what_it_gave(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "edge-7", **ALLOW) as agent:
            simulation = agent.simulation
            roles(simulation)
            await agent.until_online()
            await hub.admin.tokens.create("edge-7", "team", "runner", grant=asked())
        async with running_agent(hub, tmp_path, "edge-7", simulation=simulation) as agent:
            await agent.until_online()
            with pytest.raises(PermissionDenied):
                await hub.admin.tokens.create("edge-7", "team", "runner", grant=asked())
            assert [grant.id for grant in await hub.admin.tokens.grants("edge-7")] == ["ci"]
            await hub.admin.tokens.revoke("edge-7", "ci")
            assert simulation.read(RUNNER) is None


async def test_a_viewer_neither_sees_grants_nor_ends_them(tmp_path: Path) -> None:
    async with member(tmp_path) as (hub, _):
        viewer = await hub.admin.access.create("eve", access_pb2.ROLE_VIEWER)
        async with client_with(hub, viewer.token) as eve:
            with pytest.raises(PermissionDenied):
                await eve.tokens.grants("edge-7")
            with pytest.raises(PermissionDenied):
                await eve.tokens.revoke("edge-7", "ci")
        with pytest.raises(NotFound):
            await hub.admin.tokens.grants("nobody")


class Slow(SimulatedCluster):
    """Its API server makes objects only when it is told to."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self.go = asyncio.Event()
        self.making = 0
        self.most = 0

    @property
    def rights(self) -> SimulatedRights:
        """With a gate before every object."""
        outer, inner = self, super().rights
        make = inner.make

        async def gated(manifest: Any) -> Any:
            outer.making += 1
            outer.most = max(outer.most, outer.making)
            await outer.go.wait()
            outer.making -= 1
            return await make(manifest)

        inner.make = gated  # type: ignore[method-assign]
        return inner


async def test_grants_go_one_at_a_time_and_hold_no_plain_token_up(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        slow = Slow(Simulation("1x8xH100", name="edge-7", clock=LoopClock()))
        async with running_agent(
            hub, tmp_path, "edge-7", cluster=slow, simulation=slow.simulation, **ALLOW
        ) as agent:
            roles(agent.simulation)
            await agent.until_online()
            waiting = [
                asyncio.create_task(hub.admin.tokens.create("edge-7", "team", f"a{n}", grant=asked(f"g{n}")))
                for n in range(6)
            ]
            await eventually(lambda: slow.making == 1, "the first is at work")
            assert (await hub.admin.tokens.create("edge-7", "default", "default")).secret
            slow.go.set()
            assert all(token.secret for token in await asyncio.gather(*waiting))
            assert slow.most == 1
            assert len(await hub.admin.tokens.grants("edge-7")) == 6
