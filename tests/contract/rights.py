"""What every adapter of the port `Rights` does, as tests over a `World`.

For: the adapters' own test modules, as `cluster.py`. Agents under test may make roles with CEILING at most.
"""

from __future__ import annotations

from typing import Any

import pytest

from arbora.manifests.objects import Gvk, ObjectRef
from arbora_agent.cluster.port import ClusterUnavailable, ObjectRejected
from arbora_agent.cluster.rights import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    GRANT_LEDGER,
    LABEL_GRANT,
    NAMESPACE,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    Page,
)
from tests.contract.cluster_world import World

CEILING = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create"]}]
READING = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]


def thing(gvk: Gvk, name: str, namespace: str = "", **rest: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": {LABEL_GRANT: "ci"}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": metadata, **rest}


def bound(kind: str, role: str, account: str, namespace: str) -> dict[str, Any]:
    return {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def every_kind(world: World) -> list[dict[str, Any]]:
    """One object of each kind in the order of a grant."""
    role, inside = world.name("reader"), world.namespace
    return [
        thing(NAMESPACE, world.name("home")),
        thing(SERVICE_ACCOUNT, "runner", inside),
        thing(ROLE, role, inside, rules=READING),
        thing(CLUSTER_ROLE, role, rules=READING),
        thing(ROLE_BINDING, f"arbora.ci.{role}", inside, **bound("Role", role, "runner", inside)),
        thing(CLUSTER_ROLE_BINDING, f"arbora.ci.{role}", **bound("ClusterRole", role, "runner", inside)),
    ]


def reference(manifest: dict[str, Any]) -> ObjectRef:
    metadata = manifest["metadata"]
    return ObjectRef(
        Gvk(manifest["apiVersion"], manifest["kind"]), metadata.get("namespace", ""), metadata["name"]
    )


class RightsContract:
    """The tests. A subclass is named Test* and gives the fixture `world`."""

    async def test_every_kind_is_made_found_and_removed(self, world: World) -> None:
        rights = (await world.cluster()).rights
        made = every_kind(world)
        for manifest in made:
            ref = reference(manifest)
            assert await rights.look(ref) is None
            standing = await rights.make(manifest)
            found = await rights.look(ref)
            assert found is not None
            assert (found.uid, found.grant) == (standing.uid, "ci")
            stored = await world.read(ref)
            assert stored is not None
            assert stored["metadata"]["uid"] == found.uid
            for field in ("rules", "roleRef"):
                assert found.body.get(field) == stored.get(field)
        for manifest in reversed(made[1:]):
            ref = reference(manifest)
            found = await rights.look(ref)
            assert found is not None
            await rights.remove(ref, found.uid)
            assert await rights.look(ref) is None
            await rights.remove(ref, found.uid)

    async def test_what_is_there_is_not_made_over(self, world: World) -> None:
        rights = (await world.cluster()).rights
        theirs = thing(SERVICE_ACCOUNT, "theirs", world.namespace)
        del theirs["metadata"]["labels"]
        await world.create(theirs)
        before = await rights.look(reference(theirs))
        with pytest.raises(ClusterUnavailable, match="exists"):
            await rights.make(thing(SERVICE_ACCOUNT, "theirs", world.namespace))
        after = await rights.look(reference(theirs))
        assert after == before
        assert after is not None
        assert after.grant == ""

    async def test_what_somebody_made_anew_under_the_name_is_not_removed(self, world: World) -> None:
        rights = (await world.cluster()).rights
        account = thing(SERVICE_ACCOUNT, "again", world.namespace)
        first = await rights.make(account)
        await world.remove(reference(account))
        await world.create(account)
        await rights.remove(reference(account), first.uid)
        assert await world.read(reference(account)) is not None

    async def test_bindings_are_found_by_the_grant_on_their_label_in_every_namespace(self, world: World) -> None:
        rights, id = (await world.cluster()).rights, world.name("found")
        made = every_kind(world)
        for manifest in made:
            manifest["metadata"]["labels"] = {LABEL_GRANT: id}
        home = made[0]["metadata"]["name"]
        binding = bound("ClusterRole", made[3]["metadata"]["name"], "runner", world.namespace)
        elsewhere = thing(ROLE_BINDING, "elsewhere", home, **binding)
        elsewhere["metadata"]["labels"] = {LABEL_GRANT: f"{id}-2"}
        standing = {reference(each): await rights.make(each) for each in (*made, elsewhere)}
        found = await rights.bindings(id)
        assert {ref: each.uid for ref, each in found.items()} == {
            reference(each): standing[reference(each)].uid for each in made[-2:]
        }
        for ref, each in found.items():
            assert (each.grant, each.body["kind"]) == (id, ref.gvk.kind)
        assert set(await rights.bindings(f"{id}-2")) == {reference(elsewhere)}
        assert not await rights.bindings(f"{id}-3")
        for manifest in (elsewhere, *reversed(made[1:])):
            await rights.remove(reference(manifest), standing[reference(manifest)].uid)

    async def test_a_namespace_that_is_not_there_is_a_rejection(self, world: World) -> None:
        rights = (await world.cluster()).rights
        with pytest.raises(ObjectRejected, match='namespaces "nowhere" not found'):
            await rights.make(thing(SERVICE_ACCOUNT, "lost", "nowhere"))
        assert await rights.look(ObjectRef(SERVICE_ACCOUNT, "nowhere", "lost")) is None

    async def test_a_name_that_leads_elsewhere_is_a_rejection(self, world: World) -> None:
        rights = (await world.cluster()).rights
        for name in ("..", "a/b", "a%2Fb"):
            with pytest.raises(ObjectRejected):
                await rights.make(thing(ROLE, name, world.namespace, rules=READING))

    async def test_the_ledger_is_written_key_by_key(self, world: World) -> None:
        rights, key = (await world.cluster()).rights, world.name("grant")
        page = await rights.ledger()
        written = await rights.write(page, {key: "one", f"{key}-b": "two"})
        assert {key: "one", f"{key}-b": "two"}.items() <= written.data.items()
        changed = await rights.write(written, {key: None, f"{key}-b": "three"})
        assert key not in changed.data
        assert await (await world.cluster()).rights.ledger() == changed
        assert changed.data[f"{key}-b"] == "three"
        await rights.write(changed, {f"{key}-b": None})

    async def test_a_ledger_that_somebody_else_changed_is_read_again_first(self, world: World) -> None:
        one, other = (await world.cluster()).rights, (await world.cluster()).rights
        key = world.name("grant")
        page = await one.ledger()
        newer = await other.write(page, {key: "theirs"})
        for stale in (page, Page({}, "")):
            with pytest.raises(ClusterUnavailable):
                await one.write(stale, {key: "mine"})
        assert (await one.ledger()).data[key] == "theirs"
        await one.write(newer, {key: None})

    async def test_the_ledger_is_in_the_agents_namespace(self, world: World) -> None:
        cluster = await world.cluster()
        key = world.name("grant")
        page = await cluster.rights.write(await cluster.rights.ledger(), {key: "x"})
        stored = await world.read(ObjectRef(Gvk("v1", "ConfigMap"), cluster.namespace, GRANT_LEDGER))
        assert stored is not None
        assert stored["data"] == page.data
        await cluster.rights.write(page, {key: None})
