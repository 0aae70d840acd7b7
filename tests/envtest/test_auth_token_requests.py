"""AuthTokenRequests on real API servers: a request at the hub's becomes a token that works in the member's."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from arbora.errors import Refused
from arbora_agent.app import Agent
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import ApiAnswer, Driver, KubernetesWorld
from tests.envtest.installed import install, running, settings
from tests.envtest.published import Published, condition, hub_below, hub_with_face, installed_face, published
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, running_agent

ROLE = {
    "name": "see-pods",
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
}
CEILING = "token-ceiling"
"""In the member: what roles with rules may hold at most."""


@dataclass
class Asked:
    """A hub with a face, a real member, and a request's way between them."""

    plane: ControlPlane
    driver: Driver
    """Of the hub's API server."""
    member: Driver
    """Of the member's; so is the next."""
    home: str
    """A namespace for the account."""
    it: Published
    root: RunningHub
    owner: RunningHub
    agent: Agent
    profile: str
    folder: Path

    @property
    def path(self) -> str:
        return f"/apis/arbora.dev/v1/namespaces/{self.it.namespace}/authtokenrequests"

    async def ask(self, name: str = "work", **spec: Any) -> None:
        body = {
            "apiVersion": "arbora.dev/v1",
            "kind": "AuthTokenRequest",
            "metadata": {"name": name, "namespace": self.it.namespace},
            "spec": {
                "targetClusterProfile": {"name": self.profile},
                "serviceAccountName": "work",
                "serviceAccountNamespace": self.home,
                "roles": [{"namespace": self.home, **ROLE}],
                **spec,
            },
        }
        await self.driver.ask("POST", self.path, body)

    async def request(self, name: str = "work") -> dict[str, Any]:
        """Empty: there is none."""
        return await self.driver.ask("GET", f"{self.path}/{name}", missing_is_fine=True)

    async def annotate(self, uid: str) -> None:
        """Accept a cluster, which has the hub look at the request, too."""
        patch = {"metadata": {"annotations": {"arbora.dev/accept-cluster-uid": uid}}}
        await self.driver.merge(f"{self.path}/work", patch)

    async def until(self, status: str, reason: str, name: str = "work", seconds: float = 10.0) -> str:
        """Wait for the condition Ready; returns its message."""

        async def there() -> tuple[str, str, str] | None:
            found = condition((await self.request(name)).get("status", {}), "Ready")
            return found if found[:2] == (status, reason) else None

        try:
            return (await eventually(there, f"{name} is {status} {reason}", seconds))[2]
        except AssertionError as error:
            raise AssertionError(f"{error}: {(await self.request(name)).get('status')}") from error

    async def secret(self, name: str = "work") -> dict[str, str]:
        """What is in it, decoded; empty: there is none."""
        path = f"/api/v1/namespaces/{self.it.namespace}/secrets/{name}"
        found = await self.driver.ask("GET", path, missing_is_fine=True)
        return {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}

    async def kubectl(self, secret: dict[str, str], *arguments: str) -> tuple[int, str]:
        """A real client with the Secret's kubeconfig: it reaches the member through the hub's gateway."""
        assert self.plane.kubectl is not None
        file = self.folder / "kubeconfig"
        file.write_text(secret["kubeconfig"])
        file.chmod(0o600)
        environ = {**os.environ, "HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")}
        process = await asyncio.create_subprocess_exec(
            str(self.plane.kubectl),
            f"--kubeconfig={file}",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environ,
        )
        async with asyncio.timeout(15):
            printed, _ = await process.communicate()
        return process.returncode or 0, printed.decode()


@pytest.fixture(scope="module")
def member_plane() -> Any:
    """The member's own control plane, beside the hub's."""
    plane = ControlPlane()
    with asyncio.Runner() as runner:
        runner.run(plane.start())
    yield plane
    with asyncio.Runner() as runner:
        runner.run(plane.stop())


@asynccontextmanager
async def asked(
    plane: ControlPlane, driver: Driver, member_plane: ControlPlane, folder: Path, between: Sequence[str] = ()
) -> AsyncIterator[Asked]:
    """between: names of the hubs between the root, which has the face, and the agent."""
    async with AsyncExitStack() as stack:
        it = await stack.enter_async_context(published(driver))
        member = await stack.enter_async_context(Driver(member_plane))
        world = await stack.enter_async_context(KubernetesWorld(member))
        pod = folder / "pod"
        pod.mkdir()
        await _ceiling(member)
        allowed = {
            "allow_tokens": (f"{world.namespace}/*",),
            "allow_cluster_roles": ("view",),
            "allow_rules_of": CEILING,
        }
        access = await install(member_plane, member, pod, settings(namespace=world.name("arbora"), **allowed))
        root = await stack.enter_async_context(
            hub_with_face(plane, folder / "root", kubeconfig=str(await installed_face(plane, driver, folder)))
        )
        owner, profile = root, "real"
        for name in between:
            owner = await stack.enter_async_context(hub_below(owner, folder, name))
        if between:
            profile = f"{'-'.join(between)}-real"
        token = await owner.join_token("real")
        stack.enter_context(suppress(Refused))  # by a test that evicts it
        agent = await stack.enter_async_context(running(owner.hub, access, folder / "agent", token, **allowed))
        await eventually(lambda: agent.online, "the member is online")
        await owner.until_reported("real")
        await it.apply_fleet()
        await it.until(profile, lambda body: body.get("status", {}).get("accessProviders"))
        yield Asked(plane, driver, member, world.namespace, it, root, owner, agent, profile, folder)


async def _ceiling(member: Driver) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["*"]}]
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": CEILING},
        "rules": rules,
    }
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{CEILING}?fieldManager=test&force=true"
    await member.ask("PATCH", path, body, content_type="application/apply-patch+yaml")


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("between", [(), ("eu", "paris")], ids=["one hub", "three hubs"])
async def test_a_request_becomes_a_secret_whose_token_may_do_exactly_what_was_asked(
    plane: ControlPlane, driver: Driver, member_plane: ControlPlane, tmp_path: Path, between: tuple[str, ...]
) -> None:
    async with asked(plane, driver, member_plane, tmp_path, between) as it:
        await it.member.pod(it.home, "hello", gpus=0)
        await it.ask()
        await it.until("True", "Issued")
        secret = await it.secret()
        assert set(secret) == {"token", "ca.crt", "server", "proxy-url", "kubeconfig"}
        code, printed = await it.kubectl(secret, "get", "pods", "-n", it.home, "-o", "name")
        assert (code, printed.strip()) == (0, "pod/hello")
        for forbidden in (
            ("get", "pods", "-n", "kube-system"),
            ("delete", "pod", "hello", "-n", it.home),
            ("get", "secrets", "-n", it.home),
            ("get", "configmaps", "-n", it.home),
            ("get", "nodes"),
        ):
            code, printed = await it.kubectl(secret, *forbidden)
            assert code == 1, (forbidden, printed)
            assert "orbidden" in printed, printed
        status = (await it.request())["status"]
        kinds = {one["type"] for one in status["conditions"] if one["status"] == "True"}
        assert kinds == {
            "ServiceAccountFoundOrCreated",
            "RoleFoundOrCreated",
            "ClusterRoleFoundOrCreated",
            "RoleBindingCreated",
            "ClusterRoleBindingCreated",
            "ServiceAccountTokenRetrieved",
            "Ready",
        }
        assert status["tokenResponse"] == {"kind": "Secret", "name": "work"}
        audited = [(entry.actor, entry.action, entry.outcome) for entry in await it.root.audit()]
        assert (f"kubernetes/{it.it.namespace}/work", "CreateToken", "OK") in audited


@pytest.mark.timeout(60, func_only=True)
async def test_a_token_is_renewed_while_a_client_keeps_working_and_all_is_gone_after_deletion(
    plane: ControlPlane, driver: Driver, member_plane: ControlPlane, tmp_path: Path
) -> None:
    async with asked(plane, driver, member_plane, tmp_path) as it:
        await it.ask(expirationSeconds=600)
        await it.until("True", "Issued")
        first = await it.secret()
        requests = next(one for one in it.root.hub.face.parts if type(one).__name__ == "AuthTokenRequests")
        requests._wall = lambda: time.time() + 0.82 * 600  # type: ignore[attr-defined]
        await it.annotate("x")

        async def renewed() -> dict[str, str]:
            second = await it.secret()
            return second if second.get("token") != first["token"] else {}

        second = await eventually(renewed, "the token was renewed")
        assert second["proxy-url"] == first["proxy-url"]
        for secret in (first, second):
            code, printed = await it.kubectl(secret, "get", "pods", "-n", it.home)
            assert code == 0, printed
        await it.driver.ask("DELETE", f"{it.path}/work")

        async def gone() -> bool:
            return not await it.request() and not await it.secret()

        await eventually(gone, "request and Secret are gone")
        accounts = f"/api/v1/namespaces/{it.home}/serviceaccounts/work"
        assert not await it.member.ask("GET", accounts, missing_is_fine=True)
        roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{it.home}"
        assert not await it.member.ask("GET", f"{roles}/roles/see-pods", missing_is_fine=True)
        bindings = await it.member.ask("GET", f"{roles}/rolebindings?labelSelector=arbora.dev/grant")
        assert not bindings["items"]
        code, printed = await it.kubectl(second, "get", "pods", "-n", it.home)
        assert code == 1
        assert "not known" in printed or "Unauthorized" in printed or "Authentication" in printed, printed


@pytest.mark.timeout(60, func_only=True)
async def test_beyond_the_allow_list_nothing_is_given_and_the_reason_is_said(
    plane: ControlPlane, driver: Driver, member_plane: ControlPlane, tmp_path: Path
) -> None:
    async with asked(plane, driver, member_plane, tmp_path) as it:
        await it.ask("admin", roles=[], clusterRoles=[{"name": "cluster-admin"}])
        message = await it.until("False", "PermissionDenied", "admin")
        assert "cluster-admin" in message and "--allow-cluster-role" in message
        await it.ask(
            "wide",
            roles=[
                {
                    "namespace": it.home,
                    "name": "wide",
                    "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
                }
            ],
        )
        await it.until("False", "PermissionDenied", "wide")
        await it.ask("elsewhere", serviceAccountNamespace="kube-system", roles=[])
        await it.until("False", "PermissionDenied", "elsewhere")
        for name in ("admin", "wide", "elsewhere"):
            assert await it.secret(name) == {}
        with pytest.raises(ApiAnswer, match="expirationSeconds"):
            await it.ask("long", expirationSeconds=10)
        await it.ask("nobody", targetClusterProfile={"name": "ghost"})
        await it.until("False", "ProfileNotFound", "nobody")


@pytest.mark.timeout(60, func_only=True)
async def test_a_cluster_that_takes_the_place_of_another_gets_no_token_until_somebody_accepts_it(
    plane: ControlPlane, driver: Driver, member_plane: ControlPlane, tmp_path: Path
) -> None:
    async with asked(plane, driver, member_plane, tmp_path) as it:
        await it.ask()
        await it.until("True", "Issued")
        await it.owner.admin.members.evict("real")
        async with running_agent(
            it.owner, tmp_path / "other", "real", allow_tokens=(f"{it.home}/*",), allow_rules_of=CEILING
        ) as other:
            await other.until_online()
            message = await it.until("False", "ClusterReplaced")
            assert await it.secret() == {}
            uid = message.rpartition("=")[2]
            await it.annotate(uid)

            async def said() -> bool:
                found = condition((await it.request()).get("status", {}), "Ready")
                return found[1] != "ClusterReplaced"

            await eventually(said, "the new cluster is asked")
