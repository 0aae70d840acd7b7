"""Decisions about names of profiles, kept in the hub's store so that a restart decides nothing anew."""

from __future__ import annotations

import json

import structlog

from arbora_hub.store.port import ReadTx, Store, WriteTx

log = structlog.get_logger(__name__)

KEY = "kubernetes/profile-names"


class KeptNames:
    """One value in the store; it holds clashes only, so it is small."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._saved: dict[str, str] = {}

    async def load(self) -> dict[str, str]:
        """`<namespace>/<name>` -> path. Raises StorageFailed."""

        async def read(tx: ReadTx) -> bytes | None:
            return await tx.settings.get(KEY)

        text = await self._store.read(read)
        try:
            found = json.loads(text) if text else {}
        except ValueError:
            log.warning("kept names can't be read", key=KEY)
            found = {}
        self._saved = {str(name): str(path) for name, path in found.items()} if isinstance(found, dict) else {}
        return dict(self._saved)

    async def save(self, kept: dict[str, str]) -> None:
        """Keep these; does nothing if they are kept already. Raises StorageFailed."""
        if kept == self._saved:
            return
        now = dict(kept)

        async def write(tx: WriteTx) -> None:
            await tx.settings.put(KEY, json.dumps(now, sort_keys=True).encode())

        await self._store.write(write)
        self._saved = now
