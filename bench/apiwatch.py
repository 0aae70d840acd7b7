"""A raw watch of one collection of a Kubernetes API server: notes the moment at which each object appears.

One chunked HTTP response, read line by line, open before what it waits for is begun; no library's cache or
resync stands between the API server and the note.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from arbora.errors import DeadlineExceeded
from tests.envtest.controlplane import ControlPlane


class Appearances:
    """When objects were first seen, by name; `time.perf_counter`."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._changed = asyncio.Event()

    def note(self, name: str, moment: float) -> None:
        """An object is there."""
        self._seen.setdefault(name, moment)
        self._changed.set()

    async def of(self, name: str, seconds: float) -> float:
        """When `name` appeared; waits for it. Raises DeadlineExceeded."""
        try:
            async with asyncio.timeout(seconds):
                while name not in self._seen:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise DeadlineExceeded(f"{name} did not appear in {seconds:g} s") from error
        return self._seen[name]


@asynccontextmanager
async def appearances(plane: ControlPlane, collection: str) -> AsyncIterator[Appearances]:
    """Watch `collection` (a path) from now on, for the length of the block."""
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    context.load_cert_chain(plane.folder / "admin.crt", plane.folder / "admin.key")
    found = Appearances()
    url = plane.server + collection
    forever = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), timeout=forever) as session:
        async with session.get(url) as listed:
            listed.raise_for_status()
            version = (await listed.json())["metadata"]["resourceVersion"]
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "1800"}
        async with session.get(url, params=query) as stream:
            stream.raise_for_status()
            reading = asyncio.create_task(_read(stream.content, found))
            try:
                yield found
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def _read(content: aiohttp.StreamReader, found: Appearances) -> None:
    while line := await content.readline():
        moment = time.perf_counter()
        event = json.loads(line)
        if event["type"] == "ADDED":
            found.note(event["object"]["metadata"]["name"], moment)
