"""Grants on a real API server by an agent with the rights of its manifest: tokens can what was asked, no more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from arbora.client import HubClient
from arbora.errors import PermissionDenied, Unavailable
from arbora.manifests.objects import ObjectRef
from arbora.secret import Secret
from arbora.v1 import credential_pb2 as pb
from arbora_agent.allow_grants import GrantPolicy
from arbora_agent.cluster.rights import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    Rights,
)
from arbora_agent.grants.granter import Granter
from arbora_agent.grants.model import AskedRole, Grant, Rule
from arbora_agent.manifest.names import NAME
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import ApiAnswer, Driver, KubernetesWorld
from tests.envtest.installed import CEILING, ceiling, install, running, settings
from tests.support.eventually import eventually
from tests.support.hub import running_hub
from tests.unit.grants.member import Crashed, Crashing

PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
JOBS = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get"]}
NODES = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}
WORLD = (
    ("get", "list", "create", "delete"),
    (("", "pods"), ("", "secrets"), ("", "nodes"), ("batch", "jobs"), ("rbac.authorization.k8s.io", "roles")),
)
TOKEN_CACHE = 12.0
"""Seconds; a kube-apiserver remembers for 10 s that a token was good."""


@dataclass
class Granting:
    """An installed agent that may grant, joined to a hub."""

    client: HubClient
    world: KubernetesWorld
    driver: Driver
    team: str
    viewer: str

    async def ask(self, account: str, id: str, *, made: str = "", **asked: Any) -> Secret:
        """A token with the existing roles, and with one that is made of JOBS if it is named."""
        grant = pb.Grant(id=id, **asked)
        if made:
            grant.roles.add(namespace=self.team, name=made).rules.add(
                api_groups=JOBS["apiGroups"], resources=JOBS["resources"], verbs=JOBS["verbs"]
            )
        return (await self.client.tokens.create("real", self.team, account, grant=grant)).secret

    @property
    def reader(self) -> list[pb.AskedRole]:
        """The role of the team that the allow-list names."""
        return [pb.AskedRole(namespace=self.team, name="reader")]

    async def may(self, token: Secret) -> set[str]:
        """Everything of a small world that the token may do, such as `team: get pods`."""
        allowed = set()
        for where, verb, (group, resource) in product((self.team, "kube-system"), *WORLD):
            if await self.driver.may(token, where, verb, group, resource):
                allowed.add(f"{where}: {verb} {resource}")
        return allowed

    async def may_only(self, token: Secret, *wanted: str) -> None:
        """The API server's caches follow within milliseconds."""
        allowed = {f"{self.team}: {each}" for each in wanted}

        async def exactly() -> bool:
            return await self.may(token) == allowed

        await eventually(exactly, f"exactly {allowed}")

    async def there(self, *refs: ObjectRef) -> list[bool]:
        """Whether these objects are there."""
        return [await self.world.read(ref) is not None for ref in refs]


@pytest.fixture
async def granting(plane: ControlPlane, driver: Driver, tmp_path: Path) -> AsyncIterator[Granting]:
    async with KubernetesWorld(driver) as world, granting_in(plane, world, tmp_path) as granting:
        yield granting


@asynccontextmanager
async def granting_in(plane: ControlPlane, world: KubernetesWorld, folder: Path) -> AsyncIterator[Granting]:
    team, viewer, driver = world.namespace, world.name("viewer"), world.driver
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    reader = {"name": "reader", "namespace": team}
    await driver.create({**rbac, "kind": "Role", "metadata": reader, "rules": [PODS]})
    await driver.create({**rbac, "kind": "ClusterRole", "metadata": {"name": viewer}, "rules": [NODES]})
    await ceiling(driver, PODS, JOBS)
    allow: dict[str, Any] = {
        "allow_tokens": (f"{team}/*",),
        "allow_roles": (f"{team}/reader",),
        "allow_cluster_roles": (viewer,),
        "allow_rules_of": CEILING,
    }
    (folder / "pod").mkdir()
    access = await install(plane, driver, folder / "pod", settings(namespace=world.name("arbora"), **allow))
    async with running_hub(folder / "hub") as hub:
        token = (await hub.admin.join_tokens.create("real")).token
        async with running(hub.hub, access, folder / "agent", token, **allow) as agent:
            await eventually(lambda: agent.online, "it has joined")
            yield Granting(hub.admin, world, driver, team, viewer)


async def test_a_token_may_do_exactly_what_was_asked_and_is_dead_once_the_grant_is_revoked(
    granting: Granting,
) -> None:
    team = granting.team
    token = await granting.ask("runner", "ci", roles=granting.reader, made="made")
    await granting.may_only(token, "get pods", "list pods", "create jobs", "get jobs")
    made = [
        ObjectRef(SERVICE_ACCOUNT, team, "runner"),
        ObjectRef(ROLE, team, "made"),
        ObjectRef(ROLE_BINDING, team, "arbora.ci.made"),
        ObjectRef(ROLE_BINDING, team, "arbora.ci.reader"),
    ]
    assert await granting.there(*made) == [True] * 4
    (listed,) = await granting.client.tokens.grants("real")
    assert set(listed.made) == set(map(str, made))
    await granting.client.tokens.revoke("real", "ci")
    assert await granting.there(*made) == [False] * 4
    assert await granting.there(ObjectRef(ROLE, team, "reader")) == [True]

    async def dead() -> bool:
        try:
            await granting.may(token)
        except ApiAnswer as refusal:
            return str(refusal).startswith("401")
        return False

    await eventually(dead, "the token is dead", TOKEN_CACHE)


async def test_a_cluster_role_holds_everywhere_and_goes_when_it_is_no_longer_asked_for(
    granting: Granting,
) -> None:
    viewer = [pb.AskedRole(name=granting.viewer)]
    token = await granting.ask("runner", "ci", cluster_roles=viewer)

    async def everywhere() -> bool:
        return await granting.may(token) == {f"{granting.team}: list nodes", "kube-system: list nodes"}

    await eventually(everywhere, "nodes are listed everywhere")
    token = await granting.ask("runner", "ci", roles=granting.reader)
    await granting.may_only(token, "get pods", "list pods")
    binding = ObjectRef(CLUSTER_ROLE_BINDING, "", f"arbora.ci.{granting.viewer}")
    assert await granting.there(binding, ObjectRef(CLUSTER_ROLE, "", granting.viewer)) == [False, True]
    await granting.client.tokens.revoke("real", "ci")


async def test_what_two_grants_share_survives_until_the_last_is_gone(granting: Granting) -> None:
    shared = [ObjectRef(SERVICE_ACCOUNT, granting.team, "runner"), ObjectRef(ROLE, granting.team, "made")]
    await granting.ask("runner", "one", made="made")
    token = await granting.ask("runner", "two", made="made", roles=granting.reader)
    await granting.client.tokens.revoke("real", "one")
    assert await granting.there(*shared) == [True, True]
    await granting.may_only(token, "get pods", "list pods", "create jobs", "get jobs")
    await granting.client.tokens.revoke("real", "two")
    assert await granting.there(*shared) == [False, False]


async def test_a_binding_that_somebody_deletes_comes_back(granting: Granting) -> None:
    binding = ObjectRef(ROLE_BINDING, granting.team, "arbora.ci.reader")
    token = await granting.ask("runner", "ci", roles=granting.reader)
    await granting.may_only(token, "get pods", "list pods")
    await granting.world.remove(binding)
    await granting.may_only(token)
    await granting.ask("runner", "ci", roles=granting.reader)
    await granting.may_only(token, "get pods", "list pods")


async def test_beyond_the_allow_list_nothing_is_made(granting: Granting) -> None:
    team = granting.team
    secrets = pb.PolicyRule(api_groups=[""], resources=["secrets"], verbs=["get"])
    beyond: dict[str, dict[str, Any]] = {
        "--allow-cluster-role cluster-admin": {"cluster_roles": [pb.AskedRole(name="cluster-admin")]},
        f"--allow-role {team}/other": {"roles": [pb.AskedRole(namespace=team, name="other")]},
        "would allow: get secrets": {"roles": [pb.AskedRole(namespace=team, name="made", rules=[secrets])]},
    }
    for words, asked in beyond.items():
        with pytest.raises(PermissionDenied, match=words):
            await granting.ask("runner", "ci", **asked)
    with pytest.raises(PermissionDenied, match="--allow-token kube-system/runner"):
        await granting.client.tokens.create("real", "kube-system", "runner", grant=pb.Grant(id="ci"))
    assert await granting.there(ObjectRef(SERVICE_ACCOUNT, team, "runner")) == [False]


async def test_the_api_server_stops_an_agent_whose_own_list_is_wider_than_its_rights(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with KubernetesWorld(driver) as world:
        await ceiling(driver, PODS)
        team = world.namespace
        wanted = settings(allow_tokens=(f"{team}/*",), allow_rules_of=CEILING)
        world.access = await install(plane, driver, tmp_path, wanted)
        cluster = await world.cluster()
        everything = GrantPolicy.parse((f"{team}/reader",), ("cluster-admin",), "cluster-admin")
        granter = over(cluster.rights, everything)
        wide = AskedRole(team, "wide", (Rule(("",), ("secrets",), ("get",)),))
        with pytest.raises(
            Exception, match=r"attempting to grant RBAC permissions not currently held"
        ) as refusal:
            await granter.grant(Grant("ci", team, "runner", (wide,)))
        assert refusal.value.field == "RoleFoundOrCreated"  # type: ignore[attr-defined]
        with pytest.raises(Exception, match=r"attempting to grant RBAC permissions not currently held"):
            await granter.grant(Grant("up", team, "runner", (), (AskedRole("", "cluster-admin"),)))
        assert {id for id in (await granter.grants()).entries if id in ("ci", "up")} == {"ci", "up"}
        for id in ("ci", "up"):
            await granter.revoke(id, "")
        assert await world.read(ObjectRef(SERVICE_ACCOUNT, team, "runner")) is None


def over(rights: Rights, policy: GrantPolicy) -> Granter:
    return Granter(lambda: rights, policy)


@pytest.mark.parametrize("done", [True, False])
async def test_an_agent_that_ends_between_ledger_and_creation_goes_on_from_there(
    plane: ControlPlane, driver: Driver, tmp_path: Path, done: bool
) -> None:
    async with KubernetesWorld(driver) as world:
        await ceiling(driver, PODS, JOBS)
        team = world.namespace
        wanted = settings(allow_tokens=(f"{team}/*",), allow_rules_of=CEILING)
        world.access = await install(plane, driver, tmp_path, wanted)
        policy = GrantPolicy.parse((), (), CEILING)
        jobs = Rule(("batch",), ("jobs",), ("get",))
        id = world.name("crash")
        asked = Grant(id, team, "runner", (AskedRole(team, "made", (jobs,)),))
        for at in (1, 2, 3, 4, 5):
            first = await world.cluster()
            crashing = Crashing(first.rights)
            crashing.at, crashing.done = at, done
            with pytest.raises(Crashed):
                await over(crashing, policy).grant(asked)
            await world.stop(first)
            again = over((await world.cluster()).rights, policy)
            await again.grant(asked)
            made = (await again.grants()).made_for(id)
            assert made == tuple(
                sorted(
                    (f"RoleBinding {team}/arbora.{id}.made", f"Role {team}/made", f"ServiceAccount {team}/runner")
                )
            )
            await again.revoke(id, "")
            for ref in (ObjectRef(SERVICE_ACCOUNT, team, "runner"), ObjectRef(ROLE, team, "made")):
                assert await world.read(ref) is None


async def test_an_agent_that_may_grant_may_do_nothing_else(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with KubernetesWorld(driver) as world:
        team, own = world.namespace, world.name("arbora")
        allow: dict[str, Any] = {"allow_roles": (f"{team}/reader",), "allow_cluster_roles": ("view",)}
        wanted = settings(namespace=own, allow_tokens=(f"{team}/*",), **allow)
        world.access = await install(plane, driver, tmp_path, wanted)
        rights = {
            ("create", "serviceaccounts", "token", team, "anybody"): True,
            ("create", "serviceaccounts", "token", "default", "default"): False,
            ("bind", "roles", "", team, "reader"): True,
            ("bind", "roles", "", team, "other"): False,
            ("bind", "roles", "", "default", "reader"): False,
            ("bind", "clusterroles", "", "", "view"): True,
            ("bind", "clusterroles", "", "", "cluster-admin"): False,
            ("escalate", "clusterroles", "", "", "view"): False,
            ("create", "rolebindings", "", team, ""): True,
            ("create", "rolebindings", "", "default", ""): False,
            ("list", "rolebindings", "", "default", ""): True,
            ("delete", "rolebindings", "", "default", ""): False,
            ("create", "roles", "", team, ""): False,
            ("create", "clusterroles", "", "", ""): False,
            ("update", "clusterrolebindings", "", "", ""): False,
            ("list", "secrets", "", team, ""): False,
        }
        for (verb, resource, subresource, namespace, name), allowed in rights.items():
            group = "" if resource in ("serviceaccounts", "secrets") else "rbac.authorization.k8s.io"
            asked = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
            spec = {
                "user": f"system:serviceaccount:{own}:{NAME}",
                "resourceAttributes": {**asked, "namespace": namespace, "name": name},
            }
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}

            async def judged(review: dict[str, Any] = review, allowed: bool = allowed) -> bool:
                path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
                return bool((await driver.ask("POST", path, review))["status"]["allowed"]) is allowed

            await eventually(judged, f"{verb} {resource} in {namespace or 'the cluster'}: {allowed}", 3.0)
        reader = ObjectRef(ROLE, team, "reader")
        rbac = {"apiVersion": ROLE.api_version, "kind": ROLE.kind, "rules": [NODES]}
        await driver.create({**rbac, "metadata": {"name": reader.name, "namespace": team}})
        cluster = await world.cluster()
        granter = over(cluster.rights, GrantPolicy.parse((f"{team}/reader",), ("view",), ""))
        id = world.name("named")
        await granter.grant(Grant(id, team, "runner", (AskedRole(team, "reader"),), (AskedRole("", "view"),)))
        assert len((await granter.grants()).made_for(id)) == 3
        await granter.revoke(id, "")
        assert await world.read(ObjectRef(ROLE_BINDING, team, f"arbora.{id}.reader")) is None
        await granter.grant(Grant(id, team, "runner", (AskedRole(team, "reader"),), (AskedRole("", "view"),)))
        await cluster.rights.write(await cluster.rights.ledger(), {id: None})
        await granter.revoke(id, "")
        for ref in (
            ObjectRef(ROLE_BINDING, team, f"arbora.{id}.reader"),
            ObjectRef(CLUSTER_ROLE_BINDING, "", f"arbora.{id}.view"),
        ):
            assert await world.read(ref) is None


async def test_a_member_that_was_replaced_is_refused(granting: Granting) -> None:
    with pytest.raises(Unavailable, match="another cluster"):
        await granting.client.tokens.create("real", granting.team, "runner", cluster_uid="the-one-before")
