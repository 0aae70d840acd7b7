"""Where a store under test lives, and the smallest write and read."""

from __future__ import annotations

from typing import Protocol

from arbora_hub.store.port import ReadTx, Store, WriteTx


class Home(Protocol):
    """Where one store's data lives."""

    async def open(self) -> Store:
        """A store over what is there. The test closes it."""


async def put_setting(store: Store, key: str, value: bytes = b"x") -> None:
    async def write(tx: WriteTx) -> None:
        await tx.settings.put(key, value)

    await store.write(write)


async def setting(store: Store, key: str) -> bytes | None:
    async def read(tx: ReadTx) -> bytes | None:
        return await tx.settings.get(key)

    return await store.read(read)
