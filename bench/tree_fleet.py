"""The load generator of part `width`: a process that stands for child hubs, each with many members below.

    ARBORA_JOIN_TOKEN=arb1... python -m bench.tree_fleet --hub 127.0.0.1:7444 --hubs 10 --members 1000

There are no hubs: each is an identity of kind hub, an Exchange and a Link, the dialing code of the real uplink.
What it puts are the very records of a real hub: invented members go through the hub's own aggregation (`Below`).
Every coalescing time one member of each class and zone changes, so every class record goes up anew: the most that
a hub ever sends in summary export, whatever stands below it. Ended by who started it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
from collections import defaultdict
from itertools import product

from arbora.capacity.aggregate import TreeRow, class_rows_to_wire, record_keys
from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import sketch
from arbora.capacity.wire import sketch_to_wire
from arbora.identity import join_token
from arbora.identity.names import Kind
from arbora.mirror.exchange import Exchange
from arbora.session import enroll
from arbora.session.link import Introduction, Link, LinkEvents
from arbora.v1 import member_pb2
from arbora.version import __version__
from arbora_hub.tree.below import Below
from arbora_hub.tree.subtree import AGENT, Branch
from bench.fleet import MemoryStore

PRODUCTS = ("H100", "H200", "A100", "L40S", "L4")
ZONES = ("a", "b")
KINDS = tuple(product(PRODUCTS, ZONES))
"""Of members: ten, so that ten members have as many classes and rows as ten thousand."""
NODES, GPUS_PER_NODE = 4, 8
COALESCE_SECONDS = 0.25
"""A real hub's default."""


class EmulatedHub:
    """One child hub that is nothing but its records."""

    def __init__(self, name: str, members: int) -> None:
        self.name = name
        self.hub_id = secrets.token_hex(16)
        self._below = Below()
        self._used = [number % GPUS_PER_NODE for number in range(members)]
        self._turn = 0
        for number in range(members):
            self._member(number)

    def change(self) -> None:
        """One member of each class and zone has another number of free GPUs."""
        round_, self._turn = self._turn * len(KINDS), self._turn + 1
        for kind in range(len(KINDS)):
            number = (round_ + kind) % len(self._used)
            self._used[number] = (self._used[number] + 1) % GPUS_PER_NODE
            self._member(number)

    def sketches(self) -> dict[str, bytes]:
        """The records `sketch/<class>`."""
        by_class: defaultdict[GpuClass, list[TreeRow]] = defaultdict(list)
        for row in self._below.rows():
            by_class[row.gpu_class].append(row)
        return {
            key: class_rows_to_wire(gpu_class, by_class[gpu_class]).SerializeToString(deterministic=True)
            for gpu_class, key in record_keys(by_class).items()
        }

    def status(self) -> bytes:
        """The record `status`."""
        status = member_pb2.ClusterStatus(
            agent_version=__version__,
            cluster_uid=self.hub_id,
            api_healthy=True,
            subtree=self._below.status(self.hub_id, 1, lines=False),
        )
        return status.SerializeToString(deterministic=True)

    def _member(self, number: int) -> None:
        gpu_product, zone = KINDS[number % len(KINDS)]
        node = NodeGpus(
            "n",
            GpuClass("nvidia", gpu_product),
            GPUS_PER_NODE,
            GPUS_PER_NODE,
            self._used[number],
            True,
            48_000,
            400_000,
        )
        sketches = {
            f"sketch/{each.key}": sketch_to_wire(each, row) for each, row in sketch([node] * NODES, {}).items()
        }
        name = f"member-{number:05d}"
        self._below.replace(
            name, Branch(name, AGENT, f"{self.hub_id}-{number}", {"zone": zone}, sketches=sketches)
        )


async def run(one: EmulatedHub, hub: str, token: join_token.JoinToken) -> None:
    """Join and hold the session, with changes for ever."""
    store = MemoryStore()
    credential = await enroll.enroll(
        hub, token, store, kind=Kind.HUB, name=one.name, cluster_uid=one.hub_id, version=__version__
    )
    link = Link(
        credential,
        store,
        Exchange(secrets.randbits(62) + 1),
        Introduction(Kind.HUB, secrets.token_hex(8), one.hub_id, lambda: (one.hub_id,)),
        LinkEvents(applied=lambda applied: None),
        random.Random(secrets.randbits(64)),
    )
    link.put("status", one.status())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(link.run())
        while True:
            for key, value in one.sketches().items():
                link.put(key, value)
            await asyncio.sleep(COALESCE_SECONDS)
            one.change()


async def _main(hub: str, hubs: int, members: int, token: join_token.JoinToken) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(hubs):
            tasks.create_task(run(EmulatedHub(f"hub-{number}", members), hub, token))


def main() -> None:
    """Until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hub", required=True)
    parser.add_argument("--hubs", type=int, required=True)
    parser.add_argument("--members", type=int, required=True, help="below each hub")
    given = parser.parse_args()
    token = join_token.parse(os.environ["ARBORA_JOIN_TOKEN"])
    asyncio.run(_main(given.hub, given.hubs, given.members, token))


if __name__ == "__main__":
    main()
