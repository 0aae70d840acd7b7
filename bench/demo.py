"""`make demo`: the whole story on real parts: real mutual TLS, a real store, real processes and sockets.

    python -m bench.demo                          three simulated members, no cluster needed
    python -m bench.demo --kubeconfigs "a b"      the same on real clusters

Exit code 0 when every step held; nothing is left running. What is left in a real cluster is the ConfigMap in
arbora-system in which an agent keeps the kinds it ever applied.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from arbora.cli.gpu_view import Pool
from arbora.client import HubClient
from arbora.errors import Conflict
from arbora.manifests.selectors import Selector
from arbora.v1 import member_pb2, workload_pb2
from arbora.workloads.model import State
from arbora_agent.gpu.reading import Answer, Xid
from arbora_agent.gpu.recorded.form import Entry
from arbora_agent.gpu.recorded.reader import RecordedReader
from bench import cast, story
from bench.gpu_recordings import h100s, steady
from bench.stage import Stage

SIMULATED = {
    "paris": ({"simulate": "4x8xH100"}, {"gpu": "h100", "zone": "eu"}),
    "oslo": ({"simulate": "2x8xA100"}, {"gpu": "a100", "zone": "eu"}),
    "edge-7": ({"simulate": "2x1xL4"}, {"gpu": "l4", "zone": "edge"}),
}
GONE_SECONDS = 2.0
"""How long the cable is out."""


async def play(kubeconfigs: list[str], folder: Path, stage: Stage) -> None:
    """The story. Raises ArboraError if a step fails."""
    cast_list = _members(kubeconfigs)
    simulated = not kubeconfigs
    async with AsyncExitStack() as stack:
        stage.chapter("1  A hub, and members that dial out to it")
        context = await stage.step(
            "hub up: SQLite, three TLS ports", stack.enter_async_context(cast.hub_process(folder))
        )
        hub = await stack.enter_async_context(HubClient.from_context(context))
        members: dict[str, cast.Member] = {}
        for name, (where, labels) in cast_list.items():
            made = await hub.join_tokens.create(name, labels=labels)
            members[name] = await stage.step(
                f"{name} joins with a one-time token",
                story.join(stack, hub, folder, name, made.join_address, made.token, where),
                lambda one: f"/{one.name}",
            )
        stage.chapter("2  Their GPUs, as the hub knows them")
        stage.show(await _gpu_table(hub))

        stage.chapter("3  A Job goes down, its status comes back")
        first = next(iter(cast_list))
        selector = Selector({"gpu": cast_list[first][1]["gpu"]})
        await stage.step(
            f"Job placed by label on {first}, applied in the member",
            _apply(
                hub,
                "train",
                [_job("train", simulated)],
                selector,
                State.PROGRESSING if simulated else State.APPLIED,
            ),
            lambda one: one.message,
        )
        if simulated:
            await stage.step("its GPUs are taken", _until_row(hub, first, "used", 8))
            stage.show(await _gpu_table(hub))
        finished = await stage.step("the Job runs to its end", _complete(hub, "train"), lambda done: done)
        stage.timings[-1] = (f"Job: {finished}", stage.timings[-1][1])

        stage.chapter("4  A short-lived token, minted in the member, readable only here")
        await stage.step(
            f"token for default/default in {first}",
            hub.tokens.create(first, "default", "default"),
            lambda token: f"{len(token.secret.reveal())} characters, sealed on its way through the hub",
        )

        stage.chapter(f"5  The cable of {first} is cut, and put back")
        members[first].cable.cut()
        await stage.step("the hub notices", story.until_member(hub, f"/{first}", member_pb2.LIVENESS_SUSPECT))
        await stage.step(
            "meanwhile a workload is submitted: it waits at the hub",
            hub.workloads.apply("while-away", [_config_map("while-away")], members=[first]),
        )
        await asyncio.sleep(GONE_SECONDS)
        members[first].cable.mend()
        await stage.step(
            "back online by itself", story.until_member(hub, f"/{first}", member_pb2.LIVENESS_ONLINE)
        )
        await stage.step(
            "what waited has arrived, nothing was lost",
            _nothing_lost(hub, first, "train" if simulated else ""),
            lambda told: told,
        )
        if simulated:
            stage.chapter(f"6  A GPU of {first} falls off the bus")
            await _lose_a_gpu(hub, stack, stage, members[first])
        stage.chapter(f"{7 if simulated else 6}  And tidied up")
        await stage.step("workloads withdrawn, their objects deleted", story.withdraw(hub))
    stage.summary()


async def _lose_a_gpu(hub: HubClient, stack: AsyncExitStack, stage: Stage, one: cast.Member) -> None:
    """There are no devices here: what they say is played."""
    reader, node = RecordedReader(steady(), again=True), "h100-0"
    await stack.enter_async_context(cast.node_agent(one, node, reader))
    lost = h100s().gpus[3].uuid
    await stage.step(
        f"the agent of its node {node} reads eight GPUs (a recording)", _until_row(hub, one.name, "observed", 8)
    )
    reader.happen(Entry(0.0, uuid=lost, read={"answer": Answer.LOST}), Entry(0.0, event=Xid(79, lost)))
    await stage.step(
        "XID 79: the hub counts one free GPU less",
        _until_row(hub, one.name, "unhealthy", 1),
        lambda _: f"GPU 3 of {node} is not offered to anybody",
    )


async def _until_row(hub: HubClient, name: str, field: str, count: int) -> None:
    """So many of the member's GPUs are of this kind, as its sketches say."""

    async def seen() -> None:
        async for change in hub.members.watch():
            rows = [row for sketch in change.member.sketches for row in sketch.rows]
            if change.member.path == f"/{name}" and sum(getattr(row, field) for row in rows) == count:
                return

    await story.in_time(seen, 10.0, f"{name} did not report {count} GPUs as {field}")


async def _apply(
    hub: HubClient, name: str, manifests: list[dict[str, Any]], selector: Selector, state: State
) -> workload_pb2.Workload:
    await hub.workloads.apply(name, manifests, selector=selector)
    return await story.until_workload(hub, name, lambda one: one.state >= state.value)


async def _complete(hub: HubClient, name: str) -> str:
    """A cluster without nodes, or without the image, can't finish a Job: that is told and is no failure."""
    try:
        await story.until_workload(hub, name, lambda one: one.state == State.COMPLETE.value)
    except Conflict:
        one = await hub.workloads.get(name)
        return f"still {State(one.state).name.lower()}: {one.message}"
    return "complete"


async def _nothing_lost(hub: HubClient, first: str, finished: str) -> str:
    await story.until_workload(
        hub, "while-away", lambda one: one.state in (State.AVAILABLE.value, State.APPLIED.value)
    )
    one = await hub.members.get(first)
    if one.stale or not one.HasField("status"):
        raise Conflict(f"what the hub knows of {first} is stale")
    if finished and (await hub.workloads.get(finished)).state != State.COMPLETE.value:
        raise Conflict(f"the hub forgot that {finished} completed")
    return f"session {one.session_epoch}, state of before and after the cut is there"


def _members(kubeconfigs: list[str]) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    if not kubeconfigs:
        return SIMULATED
    return {
        f"cluster-{number}": ({"kubeconfig": path}, {"gpu": f"c{number}"})
        for number, path in enumerate(kubeconfigs, 1)
    }


async def _gpu_table(hub: HubClient) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for heading, justify in (
        ("class", "left"),
        ("free", "right"),
        ("used", "right"),
        ("total", "right"),
        ("", "left"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for row in await hub.gpus.summarize():
        counts = (str(row.free), str(row.used), str(row.total))
        table.add_row(row.name, *counts, f"{Pool(row).bar(True)}  {row.members} member(s)")
    if not table.row_count:
        table.add_row("no GPUs in these clusters", "", "", "", "")
    return table


def _job(name: str, simulated: bool) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": "busybox:1.36", "command": ["sleep", "1"]}
    if simulated:
        container["resources"] = {"limits": {"nvidia.com/gpu": "8"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"arbora-demo-{name}", "annotations": {"arbora.dev/simulated-seconds": "1.5"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def _config_map(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"arbora-demo-{name}"},
        "data": {"sent": "while the cable was out"},
    }


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="Tell the whole story of Arbora live, on real parts.")
    parser.add_argument(
        "--kubeconfigs", default="", help="kubeconfig files of real clusters, separated by spaces"
    )
    arguments = parser.parse_args()
    console = Console()
    kubeconfigs = arguments.kubeconfigs.split()
    code = story.tell(console, lambda folder, stage: play(kubeconfigs, folder, stage))
    if code:
        return code
    console.print("\nnext: [bold]docs/quickstart.md[/bold] does the same step by step, and on your own clusters.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
