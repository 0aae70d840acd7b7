"""ClusterProperty objects of a real API server, in whatever version it serves them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from arbora_agent.cluster.port import Cluster
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver, KubernetesWorld
from tests.envtest.installed import install, settings
from tests.support.eventually import eventually

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = "clusterproperties.about.k8s.io"


def crd(version: str) -> dict[str, Any]:
    """As the About API has it (KEP-2149): cluster-scoped, spec.value a string."""
    value = {"type": "object", "properties": {"value": {"type": "string", "maxLength": 128_000}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": value}}}
    names = {"kind": "ClusterProperty", "plural": "clusterproperties", "singular": "clusterproperty"}
    approved = {"api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/tree/master/keps/2149"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "annotations": approved},
        "spec": {
            "group": "about.k8s.io",
            "scope": "Cluster",
            "names": {**names, "listKind": "ClusterPropertyList"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }


@asynccontextmanager
async def about_api(driver: Driver, version: str) -> AsyncIterator[None]:
    """The CRD while the block lasts."""

    async def gone() -> bool:
        return not await driver.ask("GET", f"{CRDS}/{NAME}", missing_is_fine=True)

    async def served() -> bool:
        return "items" in await driver.ask("GET", f"/apis/about.k8s.io/{version}/clusterproperties", **FINE)

    await driver.ask("POST", CRDS, crd(version))
    try:
        await eventually(served, "the API server serves it")
        yield
    finally:
        await driver.ask("DELETE", f"{CRDS}/{NAME}")
        await eventually(gone, "the CRD is gone")


FINE: Mapping[str, Any] = {"missing_is_fine": True}


async def say(driver: Driver, version: str, name: str, value: str) -> None:
    body = {"apiVersion": f"about.k8s.io/{version}", "kind": "ClusterProperty", "metadata": {"name": name}}
    path = f"/apis/about.k8s.io/{version}/clusterproperties"
    await driver.ask("POST", path, {**body, "spec": {"value": value}})


@asynccontextmanager
async def installed(plane: ControlPlane, driver: Driver, folder: Path) -> AsyncIterator[Cluster]:
    """An adapter with no more rights than the manifest gives."""
    async with KubernetesWorld(driver) as world:
        world.access = await install(plane, driver, folder, settings(namespace=world.name("arbora")))
        yield await world.cluster()


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
async def test_properties_are_reported_word_for_word_and_followed(
    plane: ControlPlane, driver: Driver, tmp_path: Path, version: str
) -> None:
    async with about_api(driver, version), asyncio.timeout(15):
        await say(driver, version, "region.example.org", " eu \n")
        async with installed(plane, driver, tmp_path) as cluster:
            assert cluster.facts().properties == (("region.example.org", " eu \n"),)
            assert not cluster.facts().properties_pending
            await say(driver, version, "zone.example.org", "x" * 100_000)
            await eventually(lambda: cluster.facts().properties_left_out == ("zone.example.org",))
            path = f"/apis/about.k8s.io/{version}/clusterproperties/region.example.org"
            await driver.ask("DELETE", path)
            await eventually(lambda: cluster.facts().properties == ())


async def test_a_cluster_without_the_kind_has_none(plane: ControlPlane, driver: Driver, tmp_path: Path) -> None:
    async with installed(plane, driver, tmp_path) as cluster:
        assert (cluster.facts().properties, cluster.facts().properties_pending) == ((), False)
