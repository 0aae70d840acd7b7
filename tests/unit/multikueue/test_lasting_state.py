"""What the controller keeps from one pass to the next: which cluster is its own, and what was said to a Fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import web

from arbora.clock import ManualClock
from arbora.kubernetes.api import ApiServer
from arbora_hub.kubernetes.collection import Collection
from arbora_hub.kubernetes.kinds import FLEET
from arbora_hub.kubernetes.multikueue.controller import OWN_SECONDS, PACE, FleetQueues
from arbora_hub.kubernetes.multikueue.feature import mirrors
from arbora_hub.kubernetes.multikueue.here import FleetViews
from arbora_hub.kubernetes.multikueue.kinds import MULTIKUEUE_CLUSTER
from arbora_hub.kubernetes.multikueue.members import Finding, FleetView
from arbora_hub.kubernetes.objects import Objects
from tests.support.eventually import eventually
from tests.support.kueue_fleets import Findings, PlainFleets, PlainWorkers, member
from tests.unit.kubernetes.scripted_api import ScriptedApi

OWN = "/api/v1/namespaces/kube-system"


class Manager:
    """The cluster of Kueue's manager: it takes every object, and says which cluster it is unless it is `shy`."""

    def __init__(self, *, shy: int = 0) -> None:
        self.shy = shy
        """Status of the answer to the question; 0: it is answered."""
        self.asked = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            await asyncio.Event().wait()
        if request.path == OWN:
            self.asked += 1
            if self.shy:
                return web.json_response({"message": "not now"}, status=self.shy)
            return web.json_response({"metadata": {"name": "kube-system", "uid": "uid-/own"}})
        if request.method == "GET":
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        body: dict[str, Any] = await request.json()
        if request.method != "DELETE":
            body["metadata"] |= {"uid": f"uid-{body['metadata']['name']}", "resourceVersion": "2"}
        return web.json_response(body)


class Reborn(PlainFleets):
    """Fleets of one uid that changes."""

    uid = "first"

    def view(self, fleet: str) -> FleetView | None:
        """With the uid."""
        view = super().view(fleet)
        return None if view is None else replace(view, uid=self.uid)


class Counted(Findings):
    """Everything that was said, too."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Finding] = []

    async def say(self, fleet: str, finding: Finding) -> None:
        """Keep all of it."""
        self.said.append(finding)
        await super().say(fleet, finding)


@asynccontextmanager
async def controller(
    manager: Manager, fleets: PlainFleets, findings: Findings, clock: ManualClock
) -> AsyncIterator[None]:
    async with ScriptedApi(manager.answer) as server:
        api = ApiServer(server.access())
        mirrored = mirrors(api)
        queues = FleetQueues(
            mirrored, Objects(api), fleets, PlainWorkers(), findings.say, clock, lambda: 1e9 + clock.monotonic()
        )
        tasks = [asyncio.create_task(each.run()) for each in mirrored.values()]
        tasks.append(asyncio.create_task(queues.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await api.close()


@contextmanager
def time_passes(clock: ManualClock, seconds: float) -> Iterator[None]:
    """Soon, in steps, while the block waits for what comes of it."""

    async def pass_on() -> None:
        while True:
            await eventually(clock.next_moment, "somebody waits")
            clock.advance(seconds)

    task = asyncio.create_task(pass_on())
    try:
        yield
    finally:
        task.cancel()


async def until_ready(findings: Findings) -> Finding:
    """What is said once members take jobs."""

    await eventually(lambda: "training" in findings and findings["training"].ready, "members take jobs")
    return findings["training"]


@pytest.mark.parametrize("status", [500, 403, 404])
async def test_the_manager_is_no_member_of_its_own_once_it_is_known_which_cluster_it_is(
    status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, fleets, findings, manager = ManualClock(), PlainFleets(), Findings(), Manager(shy=status)

    def told(words: str) -> bool:
        return words in findings["training"].message

    fleets.put("training", {}, member("/own"), member("/eu/a"))
    async with controller(manager, fleets, findings, clock):
        assert "2 members take jobs" in (await until_ready(findings)).message
        with time_passes(clock, OWN_SECONDS):
            await eventually(lambda: manager.asked >= 3, "it asks again although nothing has changed")
            manager.shy = 0
            await eventually(lambda: told("/own is left out: it is the cluster of Kueue's manager"), "it goes")
            asked = manager.asked
            fleets.put("training", {}, member("/own"), member("/eu/a"), member("/eu/b"))
            await eventually(lambda: told("2 members take jobs"), "another pass")
    assert manager.asked == asked
    assert capsys.readouterr().out.count("own_cluster_not_known") == 1


async def test_a_fleet_that_was_made_anew_is_told_again_what_was_said_of_the_one_before() -> None:
    clock, fleets, findings = ManualClock(), Reborn(), Counted()
    fleets.put("training", {}, member("/eu/a"))
    async with controller(Manager(), fleets, findings, clock):
        finding = await until_ready(findings)
        said = findings.said.count(finding)
        with time_passes(clock, PACE):
            fleets.put("training", {"namespace": 7}, member("/eu/a"))
            await eventually(lambda: findings["training"].reason == "InvalidSettings", "a pass")
            fleets.put("training", {}, member("/eu/a"))
            await eventually(lambda: findings["training"] == finding, "a pass")
            assert findings.said.count(finding) == said + 1
            fleets.uid = "second"
            fleets.put("training", {}, member("/eu/a"))
            await eventually(lambda: findings.said.count(finding) == said + 2, "the new one is told")


def test_a_fleet_is_known_by_its_uid() -> None:
    api, nothing = cast(ApiServer, None), cast(Any, ())
    fleets, clusters = Collection(api, FLEET), Collection(api, MULTIKUEUE_CLUSTER)
    fleets.put({"metadata": {"name": "training", "uid": "first", "resourceVersion": "1"}})
    view = FleetViews(fleets, nothing, nothing, clusters, nothing, nothing).view("training")
    assert view is not None
    assert view.uid == "first"
