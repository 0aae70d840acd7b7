"""What a hub adds to a request of kubectl: part `kubectl` of the topic `reach`.

The same kubectl, the same token, the same kube-apiserver; in turn directly and through a hub's gateway, so that
whatever the machine does meanwhile counts for both. Each run is a process that connects anew.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import yaml

from arbora.client.kubeconfig import SERVER, kubeconfig, proxy_url
from arbora.errors import Unavailable
from arbora.secret import Secret
from bench.processes import HubProcess, agent, free_ports, scratch
from bench.report import Report, quantile
from bench.watching import seen_members
from tests.envtest import assets
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver

NAME = "real"
NAMESPACE = "bench"
AUDIENCE = "https://kubernetes.default.svc.cluster.local"
"""The API server's own, as the test control plane is started with."""
RUNS = 60
UNMEASURED = 5
WAIT_SECONDS = 30.0
IDS = ("kubectl.direct.p50", "kubectl.through_hub.p50", "kubectl.added.p50")


async def run(report: Report) -> None:
    """Measure it, or say why that can't be done here."""
    found = assets.find()
    if found is None or found.kubectl is None:
        for id in IDS:
            report.missing(id, "ms", assets.MISSING, at_most=5 if id == IDS[-1] else None)
        return
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        report.say("kubectl: a control plane starts")
        plane = await stack.enter_async_context(ControlPlane())
        driver = await stack.enter_async_context(Driver(plane))
        await driver.namespace(NAMESPACE)
        (port,) = free_ports(1)
        one = HubProcess(folder, arguments=("--gateway-address", f"127.0.0.1:{port}"))
        stack.push_async_callback(one.stop)
        await one.start()
        await one.answers()
        client = await stack.enter_async_context(one.client())
        members = await stack.enter_async_context(seen_members(client))
        where = ("--kubeconfig", str(plane.kubeconfig))
        worker = agent(folder, NAME, one.join_address, (await client.join_tokens.create(NAME)).token, where)
        stack.push_async_callback(worker.stop)
        await worker.start()
        await members.until(
            lambda: f"/{NAME}" in members.now and members.now[f"/{NAME}"].status.reachable, WAIT_SECONDS
        )
        token = (await driver.token(NAMESPACE, "default", AUDIENCE)).reveal()
        made = await client.connect_tokens.create(NAME)
        authorities = members.now[f"/{NAME}"].status.api_ca_pem + made.ca_pem
        through = kubeconfig(NAME, proxy_url(made.user, Secret(made.token), made.gateway), authorities, ["none"])
        direct = kubeconfig(NAME, "", authorities, ["none"])
        direct["clusters"][0]["cluster"] |= {"server": plane.server}
        del direct["clusters"][0]["cluster"]["proxy-url"]
        files = [_file(folder, name, data, token) for name, data in (("direct", direct), ("through", through))]
        report.say(f"kubectl: {RUNS} times `get --raw /version`, each way in turn")
        samples: tuple[list[float], list[float]] = ([], [])
        for number in range(-UNMEASURED, RUNS):
            for times, file in zip(samples, files, strict=True):
                took = await _version(str(plane.kubectl), file, folder)
                if number >= 0:
                    times.append(took)
        how = (
            f"`kubectl get --raw /version` as a process, {RUNS} times each way in turn, a token in the file, "
            f"server {SERVER}"
        )
        report.quantile("kubectl.direct", samples[0], 0.5, "ms", f"{how}; to the kube-apiserver itself")
        report.quantile("kubectl.through_hub", samples[1], 0.5, "ms", f"{how}; through the gateway of one hub")
        added = quantile(samples[1], 0.5) - quantile(samples[0], 0.5)
        report.figure("kubectl.added.p50", added, "ms", f"difference of the two medians; {how}", at_most=5)


def _file(folder: Path, name: str, data: dict[str, Any], token: str) -> Path:
    data["users"][0]["user"] = {"token": token}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(data))
    file.chmod(0o600)
    return file


async def _version(kubectl: str, file: Path, home: Path) -> float:
    """Milliseconds. Raises Unavailable."""
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        kubectl,
        f"--kubeconfig={file}",
        *("get", "--raw", "/version"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "HOME": str(home)},
    )
    printed, _ = await process.communicate()
    took = (time.perf_counter() - begun) * 1000
    if process.returncode or b"gitVersion" not in printed:
        raise Unavailable(f"kubectl ended with {process.returncode}: {printed.decode()[-400:]}")
    return took
