"""deploy/kubernetes/hub.yaml on a real API server: every object is valid, and Pod Security admits the pod."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver

HUB = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes" / "hub.yaml"
NAMESPACE = "arbora-hub"


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


async def test_the_api_server_takes_every_object_and_the_pod_is_admitted(
    plane: ControlPlane, driver: Driver
) -> None:
    if plane.kubectl is None:
        pytest.skip("no kubectl beside the kube-apiserver")
    objects = list(yaml.safe_load_all(HUB.read_text()))
    code, printed = await kubectl(plane, "apply", "-f", "-", given=yaml.safe_dump(objects[0]))
    assert code == 0, printed
    code, printed = await kubectl(
        plane, "apply", "--dry-run=server", "--validate=strict", "-f", "-", given=HUB.read_text()
    )
    assert code == 0, printed
    assert "Warning" not in printed, printed
    code, printed = await kubectl(plane, "apply", "-f", "-", given=HUB.read_text())
    assert code == 0, printed
    if not plane.controllers:
        return
    # The ReplicaSet controller makes the pod only if Pod Security (restricted) admits it.
    pods = await driver.until(f"/api/v1/namespaces/{NAMESPACE}/pods", bool)
    assert pods[0]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "arbora-hub"
