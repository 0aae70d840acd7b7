"""The hub's face in Kubernetes: what fails in it takes the face down, and nothing else of the hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from arbora.errors import InvalidInput
from arbora.kubernetes.api import ApiServer
from arbora_hub.journal import WARNING, Journal
from arbora_hub.kubernetes.face import Face, Part
from arbora_hub.settings import HubSettings
from arbora_hub.store.port import Store
from tests.support.eventually import eventually

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
"""


class Waits:
    """A part that runs until it is cancelled."""

    def __init__(self, last_words: Exception | None = None) -> None:
        self.running = False
        self._last_words = last_words

    async def run(self) -> None:
        self.running = True
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.running = False
            if self._last_words is not None:
                raise self._last_words


class Fails:
    """A part that fails once it is told to."""

    def __init__(self, error: Exception) -> None:
        self.now = asyncio.Event()
        self._error = error

    async def run(self) -> None:
        await self.now.wait()
        raise self._error


class World:
    """A face whose parts a test plays, and the events that were written."""

    def __init__(self, folder: Path, *parts: Part, **settings: Any) -> None:
        file = folder / "kubeconfig"
        file.write_text(KUBECONFIG)
        self.journal = Journal(cast(Store, None), 100)
        self.apis: list[ApiServer] = []

        def features(api: ApiServer) -> tuple[Part, ...]:
            self.apis.append(api)
            return parts

        self.settings = HubSettings(data_dir=folder, **{"kubeconfig": str(file), **settings})
        self.face = Face(self.settings, self.journal, features)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[asyncio.Task[None]]:
    """Its face, which is cancelled at the end."""
    task = asyncio.create_task(world.face.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled(), "cancellation cancels"


@pytest.mark.parametrize("error", [KeyError("spec"), InvalidInput("a failure inside")], ids=["bug", "ours"])
async def test_a_part_that_fails_takes_the_face_down_and_says_so(tmp_path: Path, error: Exception) -> None:
    waits, fails = Waits(), Fails(error)
    world = World(tmp_path, waits, fails)
    with capture_logs() as logs, world.journal.watch() as watcher:
        async with running(world) as task:
            await eventually(lambda: waits.running, "it runs")
            assert world.face.present is True
            fails.now.set()
            event, _ = await asyncio.wait_for(watcher.take(), 5)
            assert (event.severity, event.reason, event.subject) == (WARNING, "FaceFailed", "hub/kubernetes")
            assert str(error) in event.message
            assert "Fails" in event.message
            assert world.face.present is False
            await eventually(lambda: world.face.parts == (), "the others are gone")
            assert not waits.running
            assert not task.done(), "the rest of the hub would end with it"
    (said,) = [entry for entry in logs if entry["event"] == "kubernetes_face_failed"]
    assert (said["part"], said["log_level"], said["exc_info"]) == ("Fails", "error", True)


async def test_its_connections_are_closed_when_it_goes_down(tmp_path: Path) -> None:
    fails = Fails(RuntimeError("a mistake"))
    world = World(tmp_path, fails)
    async with running(world):
        await eventually(lambda: world.apis, "it runs")
        fails.now.set()
        await eventually(lambda: world.apis[0]._session.closed, "they are closed")


async def test_parts_that_fail_together_are_each_in_the_log(tmp_path: Path) -> None:
    one, other = Fails(KeyError("a")), Waits(last_words=RuntimeError("b"))
    world = World(tmp_path, one, other)
    with capture_logs() as logs, world.journal.watch() as watcher:
        async with running(world):
            await eventually(lambda: other.running, "it runs")
            one.now.set()
            event, _ = await asyncio.wait_for(watcher.take(), 5)
            assert "KeyError" in event.message
    assert [entry["part"] for entry in logs if entry["event"] == "kubernetes_face_failed"] == ["Fails", "Waits"]


async def test_a_part_that_fails_while_the_hub_ends_does_not_keep_it(tmp_path: Path) -> None:
    waits = Waits(last_words=RuntimeError("while it ended"))
    world = World(tmp_path, waits)
    async with running(world):
        await eventually(lambda: waits.running, "it runs")


async def test_features_that_can_not_be_made_take_only_the_face_down(tmp_path: Path) -> None:
    world = World(tmp_path)

    def features(api: ApiServer) -> tuple[Part, ...]:
        raise RuntimeError("a mistake")

    world.face = Face(world.settings, world.journal, features)
    with world.journal.watch() as watcher:
        async with running(world):
            event, _ = await asyncio.wait_for(watcher.take(), 5)
            assert event.reason == "FaceFailed"


async def test_settings_that_the_features_refuse_end_the_start(tmp_path: Path) -> None:
    def features(api: ApiServer) -> tuple[Part, ...]:
        raise InvalidInput("a name that can't be a label")

    world = World(tmp_path)
    with pytest.raises(InvalidInput, match="label"):
        await Face(world.settings, world.journal, features).run()


async def test_a_kubeconfig_that_was_named_and_can_not_be_used_ends_the_start(tmp_path: Path) -> None:
    world = World(tmp_path, kubeconfig=str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match=r"kubeconfig .*nowhere can't be used"):
        await asyncio.wait_for(world.face.run(), 5)
