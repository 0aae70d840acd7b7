"""A tree of processes: hubs below hubs, members below them, and what the root and the members say of the work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from arbora.client import HubClient
from arbora.errors import ArboraError
from arbora.v1 import enrollment_pb2, member_pb2
from tests.support.eventually import eventually
from tests.support.processes import AgentProcess, HubProcess

JOIN_SECONDS = 20.0

H = TypeVar("H", bound=HubProcess)
A = TypeVar("A", bound=AgentProcess)


async def child_hub(folder: Path, name: str, parent: HubClient, join_address: str, kind: type[H]) -> H:
    """A hub that joins `parent` as `name` at its first start; join_address: of the parent."""
    token = (await parent.join_tokens.create(name, kind=enrollment_pb2.CHILD_KIND_HUB)).token
    hub = kind(folder, folder / name)
    hub.log = folder / f"{name}.log"
    hub.arguments = (*hub.arguments, "--parent", join_address, "--name", name)
    # not on the command line, where every process of this machine could read it
    hub.environment = {**hub.environment, "ARBORA_JOIN_TOKEN": token}
    return hub


async def member_of(folder: Path, name: str, hub: HubClient, join_address: str, kind: type[A]) -> A:
    """An agent with 16 GPUs that joins `hub`; join_address: of the hub."""
    return kind(folder, name, join_address, (await hub.join_tokens.create(name)).token, fleet="2x8xH100")


def gpus_of(member: member_pb2.Member) -> tuple[int, int]:
    """(in use, free) by what a child told its hub; of a hub: of everything below it."""
    rows = [row for one in member.sketches for row in one.rows if not row.stale]
    return sum(row.used for row in rows), sum(row.free for row in rows)


async def known(client: HubClient, child: str) -> tuple[int, int] | None:
    """(in use, free) below a child, as its hub knows it; None while the child is not online or said nothing."""
    try:
        member = await client.members.get(child)
    except ArboraError:
        return None
    online = member.liveness == member_pb2.LIVENESS_ONLINE and not member.stale and member.sketches
    return gpus_of(member) if online else None


async def until_known(
    client: HubClient, gpus: Mapping[str, tuple[int, int]], seconds: float = JOIN_SECONDS
) -> None:
    """Wait until the hub knows (in use, free) of these children."""

    async def told() -> bool:
        return {child: await known(client, child) for child in gpus} == gpus

    await eventually(told, f"the hub knows {gpus}", seconds)


async def parts(client: HubClient, name: str) -> dict[str, int]:
    """Path -> replicas of a workload's parts that are not withdrawn; a path with a `?` behind it is stale.

    Of a child hub the parts below it stand for its own, as far as it has said where they are.
    """
    told = [one for one in (await client.workloads.get(name)).assignments if not one.withdrawn]
    inner = {one.path for one in told for other in told if other.path.startswith(f"{one.path}/")}
    return {one.path + "?" * one.stale: one.replicas for one in told if one.path not in inner}
