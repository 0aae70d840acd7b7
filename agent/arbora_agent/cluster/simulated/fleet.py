"""The nodes of a simulated cluster, and the spec they are made from, such as `4x8xH100,2x4xT4`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from arbora.capacity.gpus import GpuClass
from arbora.errors import InvalidInput

GPU_RESOURCE = "nvidia.com/gpu"
"""What pods ask for here."""
PRODUCT_LABEL = "nvidia.com/gpu.product"
HOSTNAME_LABEL = "kubernetes.io/hostname"

MAX_NODES = 5_000
"""Nodes in one simulated cluster at most: what Kubernetes itself supports."""
MAX_GPUS_PER_NODE = 64
CPU_MILLIS_PER_GPU = 16_000
MEMORY_MIB_PER_GPU = 131_072

_GROUP = re.compile(r"(?P<nodes>\d{1,9})x(?P<gpus>\d{1,9})x(?P<product>.+)")
_PRODUCT = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,49}[A-Za-z0-9])?")
_HINT = "Write <nodes>x<GPUs per node>x<product>, several joined by commas, such as 4x8xH100,2x4xT4."


@dataclass(frozen=True, slots=True)
class SimulatedNode:
    """One node with GPUs of one product."""

    name: str
    product: str
    gpus: int
    cordoned: bool = False
    ready: bool = True
    tainted: bool = False
    """Marked by the agent because of its GPUs."""
    conditions: tuple[tuple[str, str], ...] = ()
    """Of GPU health: (type, status)."""

    @property
    def gpu_class(self) -> GpuClass:
        """The class of its GPUs."""
        return GpuClass("nvidia", self.product)

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels that a nodeSelector can name."""
        return {HOSTNAME_LABEL: self.name, PRODUCT_LABEL: self.product, "nvidia.com/gpu.count": str(self.gpus)}


def parse_fleet(spec: str, *, taken: Iterable[str] = ()) -> tuple[SimulatedNode, ...]:
    """Read a fleet spec; an empty one has no nodes. Raises InvalidInput.

    Nodes are named after their product and numbered from 0 (`h100-0`), passing over names in `taken`, so that
    the same spec always gives the same nodes.
    """
    names = set(taken)
    nodes: list[SimulatedNode] = []
    for group in spec.split(",") if spec.strip() else []:
        count, gpus, product = _parse_group(group.strip())
        if len(names) + count > MAX_NODES:
            raise InvalidInput(f"more than {MAX_NODES} nodes", field="simulate", hint="Use several members.")
        stem = re.sub(r"[^a-z0-9]+", "-", product.lower()).strip("-")
        number = 0
        for _ in range(count):
            while f"{stem}-{number}" in names:
                number += 1
            names.add(f"{stem}-{number}")
            nodes.append(SimulatedNode(f"{stem}-{number}", product, gpus))
    return tuple(nodes)


def _parse_group(group: str) -> tuple[int, int, str]:
    match = _GROUP.fullmatch(group)
    if match is None:
        raise InvalidInput(f"{group!r} is not a group of GPU nodes", field="simulate", hint=_HINT)
    count, gpus, product = int(match["nodes"]), int(match["gpus"]), match["product"]
    if count < 1:
        raise InvalidInput(f"{group!r} has no nodes", field="simulate", hint=_HINT)
    if not 1 <= gpus <= MAX_GPUS_PER_NODE:
        raise InvalidInput(
            f"{group!r}: a node has 1 to {MAX_GPUS_PER_NODE} GPUs, not {gpus}", field="simulate", hint=_HINT
        )
    if not _PRODUCT.fullmatch(product):
        raise InvalidInput(
            f"{product!r} is not a product name (up to 51 letters, digits, '-', '_' and '.')",
            field="simulate",
            hint=_HINT,
        )
    return count, gpus, product
