"""A hub's GPUs over a store of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from arbora_hub.store.opening import open_store
from arbora_hub.store.port import Store
from tests.unit.hub_gpus.world import World


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_store(tmp_path / "hub.db")
    yield store
    await store.close()


@pytest.fixture
async def world(store: Store) -> World:
    return World(store, asyncio.get_running_loop().time())
