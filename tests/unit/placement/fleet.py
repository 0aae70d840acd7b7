"""Small fleets for the placement tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import sketch
from arbora_hub.placement.decide import Decision, decide
from arbora_hub.placement.demand import Demand, GpuWish, PodGroup
from arbora_hub.placement.policy import Division, Policy, Request
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.rows import Place, Row
from arbora_hub.placement.snapshot import Snapshot

H100 = GpuClass("nvidia", "H100")
A100 = GpuClass("nvidia", "A100")
T4 = GpuClass("nvidia", "nvidia-tesla-t4")
ANY = GpuWish()


def row(free: Sequence[int], gpu_class: GpuClass = H100, *, size: int = 8, **more: Any) -> Row:
    """One member's nodes by their free GPUs; each node has `size`."""
    nodes = [
        NodeGpus(
            f"n{index}",
            gpu_class,
            max(size, each),
            max(size, each),
            max(size, each) - each,
            True,
            64_000,
            512_000,
        )
        for index, each in enumerate(free)
    ]
    return Row(gpu_class, sketch(nodes, {})[gpu_class], **more)


def member(
    name: str, free: Sequence[int] = (), gpu_class: GpuClass = H100, **more: Any
) -> tuple[Place, list[Row]]:
    return Place(name, **more), [row(free, gpu_class)] if free else []


def fleet(**free: Sequence[int]) -> Snapshot:
    return Snapshot(member(name, each) for name, each in free.items())


def pods(replicas: int, gpus: int = 1, wish: GpuWish = ANY, **more: Any) -> Demand:
    return Demand((PodGroup("workers", replicas, gpus, wish if gpus else None),), **more)


DIVIDED = Policy(division=Division())


def ask(demand: Demand, policy: Policy = DIVIDED, uid: str = "uid", **more: Any) -> Request:
    return Request(uid, policy, demand, **more)


def place(
    request: Request,
    snapshot: Snapshot,
    previous: Mapping[str, int] | None = None,
    reservations: Reservations | None = None,
    now: float = 0.0,
    **more: Any,
) -> Decision:
    return decide(request, snapshot, previous or {}, reservations or Reservations(), now, **more)
