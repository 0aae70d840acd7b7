"""The way in: from what the operator wrote to a store that is ready."""

from __future__ import annotations

import asyncio
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from arbora.errors import InvalidInput
from arbora_hub.store.port import Store
from arbora_hub.store.schema import prepare
from arbora_hub.store.sqlite import SqliteStore


async def open_store(target: str | Path, *, max_bytes: int | None = None) -> Store:
    """Open the store, made anew where there is none, its schema brought up to date.

    target: a path, or a URL `sqlite:///<path>`. max_bytes: how large it may become (the log beside it not
    counted); writes beyond fail with StorageFailed until something is removed.
    Raises InvalidInput (no such kind of store, not a hub's database, a newer schema), StorageFailed
    (directory not writable, disk full), StoreDamaged.
    """
    path = _path(target)
    await asyncio.to_thread(prepare, path)
    store = SqliteStore(path, max_bytes=max_bytes)
    store.start()
    return store


def _path(target: str | Path) -> Path:
    if isinstance(target, str) and "://" in target:
        try:
            url = sa.make_url(target)
        except ArgumentError as error:
            raise InvalidInput(f"{target!r} is no URL", field="store", hint="Write a path.") from error
        if url.get_backend_name() != "sqlite":
            raise InvalidInput(
                f"a store of the kind {url.get_backend_name()} is not supported",
                field="store",
                hint="Write a path, or sqlite:///<path>.",
            )
        target = url.database or ""
    if str(target) in ("", ":memory:"):
        raise InvalidInput("the store needs a file", field="store", hint="Write a path, or sqlite:///<path>.")
    return Path(target)
