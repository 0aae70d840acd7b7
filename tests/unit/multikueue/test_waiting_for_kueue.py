"""Without Kueue its absence is said once, and everything begins when it is there."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from arbora.clock import ManualClock
from arbora.kubernetes.api import ApiServer
from arbora_hub.kubernetes.multikueue.feature import LOOK_SECONDS, MultiKueue
from tests.support.eventually import eventually
from tests.support.kueue_fleets import Findings, PlainFleets, PlainWorkers, member
from tests.unit.kubernetes.scripted_api import ScriptedApi


async def test_that_kueue_is_missing_is_said_once_and_looked_for_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    installed = False
    kinds = {
        "/apis/arbora.dev/v1": ["AuthTokenRequest"],
        "/apis/kueue.x-k8s.io/v1beta2": [
            *("MultiKueueCluster", "MultiKueueConfig", "AdmissionCheck", "ResourceFlavor"),
            *("ClusterQueue", "LocalQueue", "Workload"),
        ],
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            await asyncio.Event().wait()
        if request.path in kinds and (installed or "arbora" in request.path):
            resources = [
                {"kind": kind, "name": f"{kind.lower()}s", "namespaced": False} for kind in kinds[request.path]
            ]
            return web.json_response({"resources": resources})
        if installed and request.method == "GET":
            return web.json_response({"metadata": {"resourceVersion": "1", "uid": "here"}, "items": []})
        return web.json_response({"metadata": {}}, status=201 if request.method == "POST" else 404)

    clock, fleets, findings = ManualClock(), PlainFleets(), Findings()
    fleets.put("training", {}, member("/a"))
    async with ScriptedApi(answer) as server:
        api = ApiServer(server.access())
        task = asyncio.create_task(
            MultiKueue(api, fleets, PlainWorkers(), findings.say, clock, lambda: 1e9).run()
        )
        try:
            finding = await eventually(lambda: findings.get("training"), "a finding")
            assert finding.reason == "KueueMissing"
            assert "no kind MultiKueueCluster in kueue.x-k8s.io/v1beta2" in finding.message
            for _ in range(3):
                asked = len(server.asked)
                await eventually(clock.next_moment, "it waits")
                clock.advance(LOOK_SECONDS)
                await eventually(lambda before=asked: len(server.asked) > before, "it looks again")
            assert capsys.readouterr().out.count("no_kueue") == 1
            assert not any(each["method"] == "POST" for each in server.asked)
            installed = True
            await eventually(clock.next_moment, "it waits")
            clock.advance(LOOK_SECONDS)
            await eventually(lambda: any(each["method"] == "POST" for each in server.asked), "it begins")
        finally:
            task.cancel()
            await asyncio.wait([task])
            await api.close()
