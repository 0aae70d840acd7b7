"""The first admin's context file: made at the first start, kept current in address and CAs ever after.

`arbora` on the hub's machine finds it by itself, so a new hub needs no set-up of its clients.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import structlog

from arbora import context
from arbora.errors import InvalidInput, StorageFailed
from arbora.identity.bearer import AccessToken, Role
from arbora.secret import Secret
from arbora_hub.api.access import AccessList
from arbora_hub.enrollment.authority import HubAuthority

log = structlog.get_logger(__name__)

NAME = "admin"


class FirstAdmin:
    """Keeps `admin.yaml` in the data directory."""

    def __init__(self, data_dir: Path, accesses: AccessList, authority: HubAuthority) -> None:
        self._path = data_dir / context.ADMIN_FILE
        self._accesses = accesses
        self._authority = authority
        self._address = ""
        self._changed = asyncio.Event()
        authority.on_change(self._changed.set)

    async def welcome(self, address: str) -> None:
        """Make the first admin if there is no access yet, else refresh its file. address: host:port to dial."""
        self._address = address
        if len(self._accesses):
            await self._refresh()
            return

        async def hand_over(token: AccessToken) -> None:
            made = context.Context(address, self._ca_pem(), Secret(token.text()))
            await asyncio.to_thread(context.write_context, self._path, NAME, made)

        await self._accesses.create(NAME, Role.ADMIN, None, hand_over=hand_over)
        log.info("first admin made", context=str(self._path))

    async def run(self) -> None:
        """Follow the CA's rotation, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            await asyncio.to_thread(self._rewrite, self._ca_pem())
        except (InvalidInput, StorageFailed) as error:
            log.warning("the admin's context is not refreshed", path=str(self._path), error=str(error))

    def _rewrite(self, ca_pem: str) -> None:
        if not self._path.exists():
            return
        kept = context.read_contexts(self._path).contexts.get(NAME)
        if kept is not None and (kept.hub, kept.ca) != (self._address, ca_pem):
            context.write_context(self._path, NAME, replace(kept, hub=self._address, ca=ca_pem))

    def _ca_pem(self) -> str:
        return self._authority.bundle().to_pem().decode()
