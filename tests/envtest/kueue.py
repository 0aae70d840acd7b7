"""Kueue on a test control plane: its own CRDs, and its manager as a process.

For: `test_multikueue.py`. The manager is the plain upstream one. Its webhooks are not installed, as nothing here
may depend on a process that a test stops; so Jobs are made suspended, as the webhook would make them.

Kueue looks for certificates at a fixed place of the file system unless it makes them itself: so it is given a
Secret to fill, and CRDs into which it can write their CA. In a pod the Secret would be mounted; here any
certificate does, as nobody calls its webhooks.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.envtest.assets import KueueAssets, find_kueue
from tests.envtest.certificates import issue, make_authority
from tests.envtest.controlplane import DIES_WITH_PARENT, POLL, ControlPlane, ControlPlaneFailed, free_ports
from tests.envtest.driver import Driver

NAMESPACE = "kueue-system"
CERTIFICATES = "kueue-webhook-server-cert"
CONVERTED = ("clusterqueues", "cohorts", "localqueues", "multikueueclusters", "workloads")
"""CRDs that Kueue wants to write its CA into."""
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def assets() -> KueueAssets:
    """Kueue, which the caller knows to be there."""
    found = find_kueue()
    assert found is not None
    return found


def _manager() -> Path:
    manager = assets().manager
    assert manager is not None
    return manager


async def install_crds(driver: Driver) -> None:
    """Kueue's own CRDs, with a conversion webhook as its installation has, for versions that nobody uses here."""
    for file in assets().crds:
        definition = json.loads(file.read_text())
        if definition["spec"]["names"]["plural"] in CONVERTED:
            definition["spec"]["conversion"] = {
                "strategy": "Webhook",
                "webhook": {
                    "clientConfig": {"url": "https://127.0.0.1:1/convert"},
                    "conversionReviewVersions": ["v1"],
                },
            }
        await define(driver, definition)


async def define(driver: Driver, definition: Mapping[str, Any]) -> None:
    """One CRD, served on return; one that is there stays."""
    name = definition["metadata"]["name"]
    if not await driver.ask("GET", f"{DEFINITIONS}/{name}", missing_is_fine=True):
        await driver.ask("POST", DEFINITIONS, definition)
    field = f"?fieldSelector=metadata.name={name}"
    await driver.until(DEFINITIONS + field, lambda items: any(map(_established, items)))


def _established(item: Mapping[str, Any]) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


@asynccontextmanager
async def kueue_manager(plane: ControlPlane, driver: Driver, dispatcher: str = "") -> AsyncIterator[None]:
    """Kueue's manager, ready, while the block lasts. dispatcher: who chooses members, if not Kueue."""
    folder = Path(tempfile.mkdtemp(prefix="arbora-kueue-"))
    try:
        await _prepare(driver, folder)
        health, webhook = free_ports(2)
        file = folder / "config.json"
        file.write_text(json.dumps(_configuration(folder, health, webhook, dispatcher)))
        process = _start(file, plane, folder)
        try:
            await _ready(process, health, folder / "kueue.log")
            yield
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(file: Path, plane: ControlPlane, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-S", "-c", DIES_WITH_PARENT, str(_manager())]
    with (folder / "kueue.log").open("ab") as log:
        return subprocess.Popen(
            [*command, f"--config={file}", f"--kubeconfig={plane.kubeconfig}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
        )


async def _prepare(driver: Driver, folder: Path) -> None:
    """Namespace, certificate, and the Secret that the manager keeps its own certificates in."""
    if not await driver.ask("GET", f"/api/v1/namespaces/{NAMESPACE}", missing_is_fine=True):
        await driver.namespace(NAMESPACE)
    issue(make_authority(folder), "tls", "kueue")
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets"
    if not await driver.ask("GET", f"{path}/{CERTIFICATES}", missing_is_fine=True):
        await driver.ask("POST", path, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": CERTIFICATES}})


def _configuration(folder: Path, health: int, webhook: int, dispatcher: str) -> dict[str, Any]:
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": webhook, "certDir": str(folder)},
        "leaderElection": {"leaderElect": False},
        "manageJobsWithoutQueueName": False,
        "integrations": {"frameworks": ["batch/job"]},
        "multiKueue": {
            "gcInterval": "5s",
            "workerLostTimeout": "1m",
            **({"dispatcherName": dispatcher} if dispatcher else {}),
        },
        "featureGates": {"VisibilityOnDemand": False},
    }


async def _ready(process: subprocess.Popen[bytes], port: int, log: Path, deadline: float = 60.0) -> None:
    async with asyncio.timeout(deadline), aiohttp.ClientSession() as session:
        while True:
            if process.poll() is not None:
                raise ControlPlaneFailed(f"kueue ended with {process.returncode}:\n{_end_of(log)}")
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(POLL)


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
