"""A program that writes until it is killed and says which writes were acknowledged; see test_kill.py.

Arguments: the store's path, a prefix for the ids. It prints `ack <id>` once a write is durable.
"""

from __future__ import annotations

import asyncio
import sys

from arbora_hub.store.opening import open_store
from arbora_hub.store.port import Store, WriteTx
from arbora_hub.store.rows import ChildRow

WRITERS = 8


async def write_on(store: Store, prefix: str, writer: int) -> None:
    number = 0
    while True:
        number += 1
        name = f"{prefix}-{writer}-{number}"

        async def write(tx: WriteTx, name: str = name) -> None:
            await tx.children.put(ChildRow(name, "agent", last_status=name.encode() * 20))
            await tx.settings.put(name, b"x")

        await store.write(write)
        sys.stdout.write(f"ack {name}\n")
        sys.stdout.flush()


async def main() -> None:
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    store = await open_store(sys.argv[1])
    async with asyncio.TaskGroup() as group:
        for writer in range(WRITERS):
            group.create_task(write_on(store, sys.argv[2], writer))


asyncio.run(main())
