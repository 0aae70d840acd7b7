"""kubectl, a real client-go, reaches a real API server that nobody can dial but its agent: through hubs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from arbora.client.kubeconfig import kubeconfig, proxy_url
from arbora.secret import Secret
from arbora.v1 import enrollment_pb2
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver, KubernetesWorld
from tests.envtest.installed import install, running, settings
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, running_hub

GATEWAY = {"gateway_address": "127.0.0.1:0"}
PLUGIN = (sys.executable, "-m", "arbora", "credential-plugin")


@dataclass
class Reached:
    """A member of a real cluster behind hubs, and what a user needs."""

    plane: ControlPlane
    driver: Driver
    root: RunningHub
    owner: RunningHub
    path: str
    namespace: str
    folder: Path

    async def config(self, path: str = "", account: str = "reader") -> Path:
        """A kubeconfig of the root's gateway."""
        member = path or self.path
        made = await self.root.admin.connect_tokens.create(member)
        found = await self.root.admin.members.get(self.path)
        hub_config = self.root.hub.settings.data_dir / "admin.yaml"
        command = [*PLUGIN, "--member", self.path, "--service-account", f"{self.namespace}/{account}"]
        data = kubeconfig(
            "m",
            proxy_url(made.user, Secret(made.token), made.gateway),
            found.status.api_ca_pem + made.ca_pem,
            [*command, "--hub-config", str(hub_config)],
            self.namespace,
        )
        file = self.folder / f"{made.name}.yaml"
        file.write_text(yaml.safe_dump(data))
        file.chmod(0o600)
        return file

    async def kubectl(self, config: Path, *arguments: str, seconds: float = 15.0) -> tuple[int, str]:
        assert self.plane.kubectl is not None
        environ = {**os.environ, "HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")}
        process = await asyncio.create_subprocess_exec(
            str(self.plane.kubectl),
            f"--kubeconfig={config}",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environ,
        )
        try:
            printed, _ = await asyncio.wait_for(process.communicate(), seconds)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, printed.decode()


@asynccontextmanager
async def reached(
    plane: ControlPlane, driver: Driver, folder: Path, between: Sequence[str] = (), **agent_settings: Any
) -> AsyncIterator[Reached]:
    """between: names of the hubs between the root and the hub that the agent dials, from above."""
    if plane.kubectl is None:
        pytest.skip("no kubectl beside the kube-apiserver")
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(KubernetesWorld(driver))
        pod = folder / "pod"
        pod.mkdir()
        account = f"{world.namespace}/reader"
        access = await install(
            plane, driver, pod, settings(namespace=world.name("arbora"), allow_tokens=(account,))
        )
        root = await stack.enter_async_context(running_hub(folder / "root", **GATEWAY))
        owner, path = root, ""
        for name in between:
            made = await owner.admin.join_tokens.create(name, kind=enrollment_pb2.CHILD_KIND_HUB)
            above = {"parent": owner.hub.join_address, "join_token": Secret(made.token), "name": name}
            owner = await stack.enter_async_context(running_hub(folder / name, **above))
            path = f"{path}/{name}"
            await eventually(lambda it=owner: it.hub.uplink.connected, f"{name} has joined")  # type: ignore[misc]
        token = (await owner.admin.join_tokens.create("real")).token
        agent = await stack.enter_async_context(
            running(owner.hub, access, folder / "agent", token, allow_tokens=(account,), **agent_settings)
        )
        await eventually(lambda: agent.online, "it has joined")
        await owner.until_reported("real")
        await driver.create(_account(world.namespace, "reader"))
        for each in _rights(world.namespace, "reader"):
            await driver.create(each)
        yield Reached(plane, driver, root, owner, f"{path}/real", world.namespace, folder)


def _account(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def _rights(namespace: str, account: str) -> Sequence[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["get", "list", "watch", "create"]}
    ]
    named = {"metadata": {"name": account, "namespace": namespace}, "apiVersion": f"{group}/v1"}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    reference = {"apiGroup": group, "kind": "Role", "name": account}
    return (
        {**named, "kind": "Role", "rules": rules},
        {**named, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]},
    )


async def test_kubectl_lists_pods_of_a_member_as_its_service_account(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with reached(plane, driver, tmp_path) as it:
        await driver.pod(it.namespace, "hello", gpus=0)
        config = await it.config()
        code, printed = await it.kubectl(config, "get", "pods", "-o", "json")
        assert code == 0, printed
        assert [pod["metadata"]["name"] for pod in json.loads(printed)["items"]] == ["hello"]
        code, printed = await it.kubectl(config, "get", "secrets")
        assert code == 1
        assert f"system:serviceaccount:{it.namespace}:reader" in printed


async def test_a_member_two_hubs_away_is_reached_that_no_hub_can_dial(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with reached(plane, driver, tmp_path, ("eu", "paris")) as it:
        assert it.path == "/eu/paris/real"
        config = await it.config()
        manifest = tmp_path / "map.yaml"
        manifest.write_text(yaml.safe_dump(_map("sent", word="hello")))
        code, printed = await it.kubectl(config, "create", "-f", str(manifest))
        assert code == 0, printed
        code, printed = await it.kubectl(config, "get", "configmap", "sent", "-o", "jsonpath={.data.word}")
        assert (code, printed) == (0, "hello")


def _map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_a_watch_goes_on_for_as_long_as_the_way_is_open_and_ends_with_its_token(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with reached(plane, driver, tmp_path) as it:
        config = await it.config()
        assert plane.kubectl is not None
        process = await asyncio.create_subprocess_exec(
            str(plane.kubectl),
            f"--kubeconfig={config}",
            *("get", "configmaps", "-w", "-o", "name"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(10):
                assert b"kube-root-ca.crt" in await process.stdout.readline()
                for name in ("one", "two"):
                    await driver.create({**_map(name), "metadata": {"name": name, "namespace": it.namespace}})
                    assert name.encode() in await process.stdout.readline()
                await it.root.admin.access.revoke(config.stem)
                await process.stdout.read()
            code, printed = await it.kubectl(config, "get", "configmaps")
            assert code == 1
            assert "Proxy Authentication Required" in printed or "not known" in printed, printed
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def test_a_token_opens_the_way_to_its_own_member_only(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with reached(plane, driver, tmp_path) as it:
        config = await it.config()
        text = config.read_text()
        config.write_text(text.replace("https://real:", "https://other:"))
        code, printed = await it.kubectl(config, "get", "pods")
        assert code == 1
        assert "this token opens the way to real, not to other" in printed


async def test_a_member_that_lets_nobody_in_says_so(plane: ControlPlane, driver: Driver, tmp_path: Path) -> None:
    async with reached(plane, driver, tmp_path, tunnels=False) as it:
        assert not (await it.root.admin.members.get("real")).status.reachable
        code, printed = await it.kubectl(await it.config(), "get", "pods")
        assert code == 1
        assert "this member lets nobody in" in printed
