"""The contract of the port `Cluster`, over a real kube-apiserver: as admin, and with the rights as installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from arbora_agent.cluster.kubernetes import from_kubeconfig
from tests.contract.cluster import ClusterContract
from tests.contract.cluster_nodes import ClusterNodesContract
from tests.contract.rights import CEILING as CONTRACT_RULES
from tests.contract.rights import RightsContract
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver, KubernetesWorld
from tests.envtest.installed import CEILING, ceiling, install, settings


class TestAdminsAgent(ClusterContract, ClusterNodesContract, RightsContract):
    @pytest.fixture
    async def world(self, plane: ControlPlane, driver: Driver) -> AsyncIterator[KubernetesWorld]:
        async with KubernetesWorld(driver, from_kubeconfig(plane.kubeconfig)) as world:
            yield world


class TestInstalledAgent(ClusterContract, ClusterNodesContract, RightsContract):
    @pytest.fixture
    async def world(self, plane: ControlPlane, driver: Driver, tmp_path: Path) -> AsyncIterator[KubernetesWorld]:
        async with KubernetesWorld(driver) as world:
            allowed = tuple(f"{world.namespace}/{account}" for account in ("reader", "nobody"))
            await ceiling(driver, *CONTRACT_RULES)
            wanted = settings(allow_tokens=allowed, allow_rules_of=CEILING, mark_nodes=("taint", "condition"))
            world.access = await install(plane, driver, tmp_path, wanted)
            yield world
