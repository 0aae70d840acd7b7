"""Where this hub keeps its parents: `uplink/` in the data directory, readable by its owner only.

    uplink/parents.json              which there are, which is present, where this hub stands
    uplink/<slot>/identity.json      the certificate and key at one of them, and `pending.key` while it joins

Only reads and writes; what is in there is decided elsewhere (`parents.py`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import structlog

from arbora.errors import StorageFailed
from arbora.files import write_atomic
from arbora.session.credential import CredentialFile
from arbora_hub.tree import parents
from arbora_hub.tree.parents import Parents

log = structlog.get_logger(__name__)


class ParentStore:
    """The files of one hub's uplink."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "uplink"
        self._file = self._folder / "parents.json"

    def identity(self, slot: str) -> CredentialFile:
        """Where the identity at one parent is kept."""
        return CredentialFile(self._folder / slot)

    async def load(self) -> Parents:
        """What was kept; nothing was: a root. Raises InvalidInput, StorageFailed."""
        text = await asyncio.to_thread(self._read)
        return parents.from_json(text) if text is not None else Parents()

    async def save(self, kept: Parents) -> None:
        """Keep it; all or nothing. Raises StorageFailed."""
        await asyncio.to_thread(write_atomic, self._file, parents.to_json(kept).encode(), 0o600)

    async def forget(self, slot: str) -> None:
        """Remove the identity at a parent that was left."""
        try:
            await asyncio.to_thread(shutil.rmtree, self._folder / slot)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("the identity at a former parent is still on disk", error=error.strerror, slot=slot)

    def _read(self) -> str | None:
        try:
            return self._file.read_text()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageFailed(
                f"{self._file} can't be read: {os.strerror(error.errno or 0)}", hint="Check its owner and mode."
            ) from error
