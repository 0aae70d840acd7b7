"""What every adapter of the port `Store` does, as tests over a `Home`.

For: the adapters' own test modules. Each of them derives a class from `StoreContract` and gives a fixture
`home`: a place where a store can be opened, closed and opened again. The tests never look at how an adapter
works.

    class TestSqliteStore(StoreContract):
        @pytest.fixture
        def home(self, tmp_path: Path) -> Home: ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from arbora_hub.store.port import Store
from tests.contract.store_gpu_history import GpuHistoryContract
from tests.contract.store_home import Home
from tests.contract.store_nouns import NounContract
from tests.contract.store_timelines import TimelineContract
from tests.contract.store_transactions import TransactionContract


class StoreContract(NounContract, TimelineContract, GpuHistoryContract, TransactionContract):
    """The contract."""

    @pytest.fixture
    async def store(self, home: Home) -> AsyncIterator[Store]:
        store = await home.open()
        yield store
        await store.close()
