"""Hubs below hubs, each a process of its own, for the parts of `tree` and for its demo.

    top = await root(stack, folder)
    eu = await below(stack, folder, top, "eu")          `arbora hub serve --parent ... ` with a one-time token

Each returns when the hub is online at its parent. Ends nothing but what it started, with the stack.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from arbora.client import HubClient
from arbora.errors import Unavailable
from arbora.v1 import enrollment_pb2
from bench.processes import HubProcess
from bench.watching import online, seen_members

WAIT_SECONDS = 30.0
ATTEMPTS, PAUSE_SECONDS = 100, 0.05


@dataclass(frozen=True, slots=True)
class Node:
    """A hub of the tree."""

    process: HubProcess
    client: HubClient
    """With the rights of this hub's own admin."""
    path: str
    """From the root; empty for the root itself, so that `path + "/name"` is a child's."""


async def root(stack: AsyncExitStack, folder: Path, arguments: Sequence[str] = ()) -> Node:
    """A hub without a parent. arguments: further ones of `arbora hub serve`."""
    return await _started(stack, HubProcess(folder, "root", arguments), "")


async def below(
    stack: AsyncExitStack,
    folder: Path,
    parent: Node,
    name: str,
    arguments: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
) -> Node:
    """A child hub of `parent`, when the parent says that it is online. labels: what its parent calls it by."""
    made = await parent.client.join_tokens.create(name, kind=enrollment_pb2.CHILD_KIND_HUB, labels=labels)
    process = HubProcess(
        folder,
        f"hub-{name}",
        ("--parent", parent.process.join_address, *arguments),
        {"ARBORA_JOIN_TOKEN": made.token},
    )
    node = await _started(stack, process, f"{parent.path}/{name}")
    await until_online(parent.client, node.path)
    return node


async def chain(stack: AsyncExitStack, folder: Path, hubs: int, arguments: Sequence[str] = ()) -> list[Node]:
    """A root and hubs one below the other, `hubs` in all, the root first. arguments: of all but the root."""
    nodes = [await root(stack, folder)]
    for number in range(1, hubs):
        nodes.append(await below(stack, folder, nodes[-1], f"level-{number}", arguments))
    return nodes


async def until_online(client: HubClient, path: str, seconds: float = WAIT_SECONDS) -> None:
    """Return when the hub of `client` says that its child `path` is online. Raises DeadlineExceeded."""
    async with seen_members(client) as members:
        await members.until(lambda: online(members.now.get(path)), seconds)


async def _started(stack: AsyncExitStack, process: HubProcess, path: str) -> Node:
    stack.push_async_callback(process.stop)
    await process.start()
    await process.answers()
    client = await stack.enter_async_context(process.client())
    await _serves(client)
    return Node(process, client, path)


async def _serves(client: HubClient) -> None:
    """Return when the hub answers a call: its port is open a moment before. Raises Unavailable."""
    for _ in range(ATTEMPTS):
        try:
            await client.info()
        except Unavailable:
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return
    await client.info()
