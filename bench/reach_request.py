"""From an AuthTokenRequest to a Secret that can be used: part `request` of the topic `reach`.

Two control planes, the hub's and the member's; a hub with its face in the one, an agent in the other, both
processes. Each request asks for an account and a role of its own, so that the member makes all of it anew:
account, role, binding, token. Ready is what a watch of the requests says.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

from arbora.errors import DeadlineExceeded, Unavailable
from bench.processes import HubProcess, agent, free_ports, scratch
from bench.report import Report
from bench.watching import seen_members
from tests.envtest import assets
from tests.envtest.controlplane import ControlPlane
from tests.envtest.crds import FLEETS, condition, install_crds
from tests.envtest.driver import Driver

NAME = "real"
NAMESPACE = "bench"
CEILING = "bench-ceiling"
RUNS = 100
UNMEASURED = 3
WAIT_SECONDS = 30.0
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
PATH = f"/apis/arbora.dev/v1/namespaces/{NAMESPACE}/authtokenrequests"


async def run(report: Report) -> None:
    """Measure it, or say why that can't be done here."""
    if assets.find() is None:
        report.missing("request.ready.p50", "ms", assets.MISSING)
        report.missing("request.ready.p99", "ms", assets.MISSING, at_most=300)
        return
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        report.say("request: two control planes start")
        planes = [await stack.enter_async_context(ControlPlane()) for _ in range(2)]
        above, below = [await stack.enter_async_context(Driver(plane)) for plane in planes]
        await install_crds(above)
        for driver in (above, below):
            await driver.namespace(NAMESPACE)
        rbac = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": CEILING},
        }
        await below.ask("POST", rbac, {**role, "rules": RULES})
        (port,) = free_ports(1)
        wanted = ("--gateway-address", f"127.0.0.1:{port}", "--kubeconfig", str(planes[0].kubeconfig))
        hub = HubProcess(folder, arguments=wanted)
        stack.push_async_callback(hub.stop)
        await hub.start()
        await hub.answers()
        client = await stack.enter_async_context(hub.client())
        members = await stack.enter_async_context(seen_members(client))
        where = ("--kubeconfig", str(planes[1].kubeconfig), "--allow-rules-of", CEILING)
        token = (await client.join_tokens.create(NAME)).token
        worker = agent(folder, NAME, hub.join_address, token, (*where, "--allow-token", f"{NAMESPACE}/*"))
        stack.push_async_callback(worker.stop)
        await worker.start()
        await members.until(
            lambda: f"/{NAME}" in members.now and members.now[f"/{NAME}"].status.reachable, WAIT_SECONDS
        )
        fleet = {"apiVersion": "arbora.dev/v1", "kind": "Fleet", "metadata": {"name": "all"}}
        await above.ask("POST", FLEETS, {**fleet, "spec": {"paths": ["/**"], "namespaces": [NAMESPACE]}})
        report.say(f"request: {RUNS} AuthTokenRequests, one after the other")
        samples = await _measured(above)
        how = (
            "AuthTokenRequest created -> a watch sees Ready; account, role, binding and token made anew in the "
            "member; two kube-apiservers with etcd and fsync, hub and agent processes"
        )
        report.quantile("request.ready", samples, 0.5, "ms", how)
        report.quantile("request.ready", samples, 0.99, "ms", how, at_most=300)


async def _measured(driver: Driver) -> list[float]:
    """Milliseconds of each. Raises DeadlineExceeded, Unavailable."""
    samples: list[float] = []
    ready: dict[str, asyncio.Future[float]] = {}
    version = (await driver.ask("GET", PATH))["metadata"]["resourceVersion"]

    async def follow() -> None:
        async for event in driver.watch(PATH, version):
            body = event["object"]
            found = condition(body.get("status", {}), "Ready")
            waiting = ready.get(body["metadata"]["name"])
            if waiting is None or waiting.done():
                continue
            if found[0] == "True":
                waiting.set_result(time.perf_counter())
            elif found[1] not in ("", "Asked", "ProfileNotFound"):
                waiting.set_exception(Unavailable(f"{found[1]}: {found[2]}"))

    following = asyncio.create_task(follow())
    try:
        for number in range(-UNMEASURED, RUNS):
            name = f"one-{number + UNMEASURED}"
            ready[name] = asyncio.get_running_loop().create_future()
            began = time.perf_counter()
            await driver.ask("POST", PATH, _request(name))
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    ended = await ready[name]
            except TimeoutError as error:
                said = (await driver.ask("GET", f"{PATH}/{name}")).get("status")
                raise DeadlineExceeded(f"{name} was not ready in {WAIT_SECONDS:g} s: {said}") from error
            if number >= 0:
                samples.append((ended - began) * 1000)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return samples


def _request(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "arbora.dev/v1",
        "kind": "AuthTokenRequest",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "targetClusterProfile": {"name": NAME},
            "serviceAccountName": name,
            "serviceAccountNamespace": NAMESPACE,
            "roles": [{"namespace": NAMESPACE, "name": name, "rules": RULES}],
        },
    }
