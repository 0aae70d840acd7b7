"""The contract over SQLite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from arbora_hub.store.opening import open_store
from arbora_hub.store.port import Store
from tests.contract.store import StoreContract


@dataclass(frozen=True)
class SqliteHome:
    path: Path

    async def open(self) -> Store:
        return await open_store(self.path)


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def home(self, tmp_path: Path) -> SqliteHome:
        return SqliteHome(tmp_path / "hub.db")
