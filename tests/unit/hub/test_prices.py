"""Prices come from a file or an endpoint, are kept while it fails, and age."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from arbora.capacity.gpus import GpuClass
from arbora_hub.journal import Journal
from arbora_hub.placement.cost import KEPT_SECONDS
from arbora_hub.store.opening import open_store
from arbora_hub.workloads.prices import Prices

H100 = GpuClass("nvidia", "H100")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    store = await open_store(tmp_path / "hub.db")
    yield Journal(store, 100)
    await store.close()


@pytest.fixture
def endpoint() -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"prices": {"H100": 2.5, "oslo/H100": 1.5}}).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/prices"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_an_endpoint_gives_prices_and_a_members_own_win(journal: Journal, endpoint: str) -> None:
    prices = Prices(endpoint, journal, lambda: 0.0)
    assert prices.of("paris", H100) is None
    await prices.fetch()
    assert prices.of("paris", H100) == 2.5
    assert prices.of("oslo", H100) == 1.5


async def test_the_last_good_prices_are_kept_until_they_are_too_old(journal: Journal, tmp_path: Path) -> None:
    now = [100.0]
    file = tmp_path / "prices.json"
    file.write_text('{"H100": 2.5}')
    prices = Prices(str(file), journal, lambda: now[0])
    changes: list[None] = []
    prices.on_change(lambda: changes.append(None))
    await prices.fetch()
    await prices.fetch()
    assert len(changes) == 1, "the same prices again are no change"
    with journal.watch() as watcher:
        file.write_text("nonsense")
        now[0] += 60.0
        await prices.fetch()
        row, _ = await watcher.take()
    assert row.reason == "PricesUnavailable"
    assert prices.of("paris", H100) == 2.5
    assert prices.age() == 60.0
    now[0] += KEPT_SECONDS
    assert prices.of("paris", H100) is None


async def test_without_a_source_nothing_is_known(journal: Journal) -> None:
    prices = Prices("", journal, lambda: 0.0)
    await prices.fetch()
    assert prices.of("paris", H100) is None
    assert prices.age() is None
