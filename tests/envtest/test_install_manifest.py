"""The rendered manifest on a real API server: it applies, and its pod is admitted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from arbora_agent.manifest.agent import render
from arbora_agent.manifest.names import NAME
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver
from tests.envtest.installed import install, settings


async def kubectl(plane: ControlPlane, *arguments: str, given: str = "") -> tuple[int, str]:
    assert plane.kubectl is not None
    process = await asyncio.create_subprocess_exec(
        str(plane.kubectl),
        f"--kubeconfig={plane.kubeconfig}",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate(given.encode())
    return process.returncode or 0, printed.decode()


async def test_kubectl_applies_it_twice_and_its_pod_is_admitted(plane: ControlPlane, driver: Driver) -> None:
    if plane.kubectl is None:
        pytest.skip("no kubectl beside the kube-apiserver")
    await driver.namespace("shop")
    objects = render(settings(name="edge-7", allow_tokens=("shop/reader",), namespace="arbora-install"))
    text = yaml.safe_dump_all(objects)
    code, printed = await kubectl(plane, "apply", "-f", "-", given=text)
    assert code == 0, printed
    code, again = await kubectl(plane, "apply", "-f", "-", given=text)
    assert code == 0, again
    changed = [line for line in again.splitlines() if not line.endswith(" unchanged")]
    assert not changed, changed
    # The ReplicaSet controller makes the pod only if Pod Security (restricted) admits it.
    await driver.until("/api/v1/namespaces/arbora-install/pods", bool)
    deployment = await driver.ask("GET", f"/apis/apps/v1/namespaces/arbora-install/deployments/{NAME}")
    assert deployment["spec"]["strategy"]["type"] == "Recreate"


async def test_a_node_with_gpus_gets_a_node_agent_and_others_none(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    await driver.runtime_class("nvidia")
    linux = {"kubernetes.io/os": "linux"}
    await driver.node("gpu-node-of-install", gpus=8, product="NVIDIA-H100-80GB-HBM3", labels=linux)
    switched_off = {**linux, "arbora.dev/node-agent": "off"}
    await driver.node("off-node-of-install", gpus=8, product="NVIDIA-H100-80GB-HBM3", labels=switched_off)
    plain = {"name": "cpu-node-of-install", "labels": linux}
    await driver.create({"apiVersion": "v1", "kind": "Node", "metadata": plain})
    await install(plane, driver, tmp_path, settings(namespace="arbora-nodes", mark_nodes=("taint",)))
    where = "/api/v1/namespaces/arbora-nodes/pods?labelSelector=app.kubernetes.io/name=arbora-node-agent"

    def nodes(pods: Sequence[Any]) -> set[str]:
        terms = [pod["spec"]["affinity"]["nodeAffinity"] for pod in pods]
        rules = [term["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] for term in terms]
        return {rule[0]["matchFields"][0]["values"][0] for rule in rules}

    pods = await driver.until(where, lambda pods: "gpu-node-of-install" in nodes(pods))
    assert not {"cpu-node-of-install", "off-node-of-install"} & nodes(pods)


RIGHTS = [
    ("list", "", "nodes", "", True),
    ("patch", "apps", "deployments", "", True),
    ("update", "apps", "deployments", "", False),
    ("delete", "", "nodes", "", False),
    ("get", "", "secrets", "", False),
    ("list", "", "secrets", "", False),
    ("create", "", "pods", "exec", False),
    ("create", "", "serviceaccounts", "token", False),
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings", "", False),
    ("impersonate", "", "users", "", False),
    ("create", "authentication.k8s.io", "tokenreviews", "", True),
    ("patch", "", "nodes", "", False),
    ("patch", "", "nodes", "status", False),
]


async def test_the_installed_agent_may_do_exactly_this(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    await install(plane, driver, tmp_path, settings(namespace="arbora-rights"))
    for verb, group, resource, subresource, allowed in RIGHTS:
        asked = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:arbora-rights:{NAME}",
                "resourceAttributes": {**asked, "namespace": "default"},
            },
        }
        answer = await driver.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        assert answer["status"]["allowed"] is allowed, asked
