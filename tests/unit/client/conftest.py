from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from arbora.client import HubClient
from tests.support.fake_hub import FakeHub


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        yield fake


@pytest.fixture
async def client(hub: FakeHub) -> AsyncIterator[HubClient]:
    async with HubClient.from_context(hub.context) as connected:
        yield connected
