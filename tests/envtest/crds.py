"""The custom resources of the hub's face on a test control plane. For tests and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.envtest.driver import Driver
from tests.support.eventually import eventually

CRDS = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes" / "crds"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FLEETS = "/apis/arbora.dev/v1/fleets"
APPLY = "application/apply-patch+yaml"


async def install_crds(driver: Driver, folder: Path = CRDS) -> None:
    """All of `deploy/kubernetes/crds`, or of another folder; they are served on return."""
    for crd in _read(folder):
        path = f"{CRD}/{crd['metadata']['name']}"
        await driver.ask("PATCH", f"{path}?fieldManager=test&force=true", crd, content_type=APPLY)

        async def established(path: str = path) -> bool:
            status = (await driver.ask("GET", path)).get("status") or {}
            return condition(status, "Established")[0] == "True"

        # mypy can't tell which side of `T | Awaitable[T]` is meant
        await eventually(established, f"{crd['metadata']['name']} is served")  # type: ignore[arg-type]


def _read(folder: Path) -> list[dict[str, Any]]:
    return [yaml.safe_load(file.read_text()) for file in sorted(folder.glob("*.yaml"))]


def condition(status: Mapping[str, Any], kind: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition; empty ones if there is none."""
    for one in status.get("conditions") or ():
        if one["type"] == kind:
            return one["status"], one["reason"], one["message"]
    return "", "", ""
