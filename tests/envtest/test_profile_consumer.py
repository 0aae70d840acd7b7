"""A consumer of ClusterProfiles, as KEP-5339 has it: the profile, a plugin, and a real client-go."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml

from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver, KubernetesWorld
from tests.envtest.installed import install, running, settings
from tests.envtest.published import hub_below, hub_with_face, published
from tests.support.eventually import eventually

PROVIDER = "arbora-test"


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("admitted", [True, False], ids=["from an admitted network", "from another network"])
async def test_a_consumer_lists_pods_two_hubs_away_with_nothing_but_the_profile_and_the_plugin(
    plane: ControlPlane, driver: Driver, tmp_path: Path, admitted: bool
) -> None:
    if plane.kubectl is None:
        pytest.skip("no kubectl beside the kube-apiserver")
    network = "127.0.0.0/8" if admitted else "10.0.0.0/8"
    async with AsyncExitStack() as stack:
        it = await stack.enter_async_context(published(driver))
        world = await stack.enter_async_context(KubernetesWorld(driver))
        pod = tmp_path / "pod"
        pod.mkdir()
        account = f"{world.namespace}/reader"
        access = await install(
            plane, driver, pod, settings(namespace=world.name("arbora"), allow_tokens=(account,))
        )
        root = await stack.enter_async_context(hub_with_face(plane, tmp_path / "root", gateway_admit=(network,)))
        eu = await stack.enter_async_context(hub_below(root, tmp_path, "eu"))
        token = await eu.join_token("real")
        agent = await stack.enter_async_context(
            running(eu.hub, access, tmp_path / "agent", token, allow_tokens=(account,))
        )
        await eventually(lambda: agent.online, "the member is online")
        await driver.create(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "reader", "namespace": world.namespace},
            }
        )
        await it.apply_fleet()
        profile = await it.until("eu-real", lambda body: body.get("status", {}).get("accessProviders"))
        (provider,) = profile["status"]["accessProviders"]
        assert provider["name"] == PROVIDER
        config = _config(provider["cluster"], account, root.hub.settings.data_dir)
        code, printed = await _kubectl(plane.kubectl, tmp_path, config, "get", "pods")
        assert code == 1
        expected = f"serviceaccount:{world.namespace}:reader" if admitted else "clients from here need one"
        assert expected in printed, printed


def _config(cluster: dict[str, object], account: str, hub: Path) -> dict[str, object]:
    """As the shared library makes it: the profile's cluster, and the consumer's own plugin."""
    arguments = ["-m", "arbora", "credential-plugin", "--service-account", account]
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [*arguments, "--hub-config", str(hub / "admin.yaml")],
        "interactiveMode": "Never",
        "provideClusterInfo": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "m", "cluster": cluster}],
        "users": [{"name": "m", "user": {"exec": plugin}}],
        "contexts": [{"name": "m", "context": {"cluster": "m", "user": "m"}}],
        "current-context": "m",
    }


async def _kubectl(kubectl: Path, home: Path, config: dict[str, object], *arguments: str) -> tuple[int, str]:
    file = home / "consumer.yaml"
    file.write_text(yaml.safe_dump(config))
    file.chmod(0o600)
    environ = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    process = await asyncio.create_subprocess_exec(
        str(kubectl),
        f"--kubeconfig={file}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environ,
    )
    async with asyncio.timeout(20):
        printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()
