"""What this hub had members make for requests, kept in its own store: users can write into the requests.

A row is written before a member is asked, and goes once the member has let go. So whatever becomes of the request
(its status forged, its finalizer taken off, the object deleted while the hub was down), what was made is found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import structlog

from arbora_hub.store.port import ReadTx, Store, WriteTx

log = structlog.get_logger(__name__)

PREFIX = "kubernetes/grant/"


@dataclass(frozen=True, slots=True)
class Kept:
    """One request's grant."""

    namespace: str
    name: str
    path: str
    """Where the cluster stood when it was asked last; so is the next."""
    cluster_uid: str
    released: bool = False
    """The member has let go; that it once was this cluster still counts."""


class KeptGrants:
    """By uid of the request. Writes raise StorageFailed, and then nothing is changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: dict[str, Kept] = {}

    async def load(self) -> None:
        """Read them; what can't be read is left out and logged."""

        async def read(tx: ReadTx) -> dict[str, bytes]:
            return dict(await tx.settings.items(PREFIX))

        for key, value in (await self._store.read(read)).items():
            try:
                self._rows[key.removeprefix(PREFIX)] = Kept(**json.loads(value))
            except (ValueError, TypeError):
                log.warning("a kept grant can't be read", key=key)

    def get(self, uid: str) -> Kept | None:
        """What was made for this request; None: nothing."""
        return self._rows.get(uid)

    def __iter__(self) -> Iterator[tuple[str, Kept]]:
        return iter(tuple(self._rows.items()))

    async def put(self, uid: str, kept: Kept) -> None:
        """Durable when it returns; a repetition costs nothing."""
        if self._rows.get(uid) == kept:
            return
        value = json.dumps(asdict(kept)).encode()

        async def write(tx: WriteTx) -> None:
            await tx.settings.put(f"{PREFIX}{uid}", value)

        await self._store.write(write)
        self._rows[uid] = kept

    async def drop(self, uid: str) -> None:
        """Nothing is left of it."""
        if uid not in self._rows:
            return

        async def write(tx: WriteTx) -> None:
            await tx.settings.delete(f"{PREFIX}{uid}")

        await self._store.write(write)
        self._rows.pop(uid, None)
