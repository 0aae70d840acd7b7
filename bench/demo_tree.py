"""`make demo-tree`: a tree of hubs on real parts: four hub processes, twelve simulated members, mutual TLS.

    root -- eu -- paris      python -m bench.demo_tree
      \\---- us

Exit code 0 when every step held; nothing is left running.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from arbora.cli.tree_view import tree_lines
from arbora.client import HubClient
from arbora.errors import Conflict
from arbora.manifests.objects import ref_of
from arbora.manifests.selectors import parse_selector
from arbora.v1 import member_pb2, workload_pb2
from arbora.workloads.model import State
from arbora_agent.cluster.simulated import SimulatedCluster
from bench import cast, story
from bench.stage import Stage
from bench.tree_hubs import Node, below, root, until_online

MEMBERS = {
    "": {"core-1": "4x8xH100"},
    "/eu": {"oslo": "2x8xA100", "bonn": "2x8xA100", "rome": "4x1xL4"},
    "/eu/paris": {"lab": "2x8xH100", "edge-7": "2x1xL4", "edge-8": "2x1xL4"},
    "/us": {
        "ohio": "4x8xH100",
        "texas": "2x8xA100",
        "oregon": "2x8xA100",
        "edge-1": "2x1xL4",
        "edge-2": "2x1xL4",
    },
}
"""Simulated clusters by the hub that they join."""
EDGE = "/eu/paris/edge-7"
LAB = "/eu/paris/lab"
REPLICAS = 60
GPUS_OF_JOB = 4
WAIT_SECONDS = 30.0
ANYWHERE = parse_selector("")


async def play(folder: Path, stage: Stage) -> None:
    """The story. Raises ArboraError if a step fails."""
    async with AsyncExitStack() as stack:
        hubs, members = await _grow(stack, folder, stage)
        top = hubs[""].client
        stage.chapter("2  The whole tree, asked at the root")
        await stage.step("every member's GPUs are known at the root", _until_sums(top, hubs))
        await _show_tree(stage, top)

        stage.chapter("3  One Deployment, divided over three levels")
        served = await stage.step(
            f"{REPLICAS} replicas with one GPU each, submitted at the root, all available",
            _serve(top),
            lambda one: f"{len(_standing(one))} members run it",
        )
        stage.show(_parts_table(served))

        stage.chapter("4  A member two hubs down, by its path")
        await stage.step(f"{LAB} gets the label tier=gold", _labelled(top))
        await stage.step(
            "a Job for tier=gold, submitted at the root, finds it",
            _train(top),
            lambda one: ", ".join(_paths(one)),
        )
        await stage.step(
            f"token for default/default in {EDGE}",
            top.tokens.create(EDGE, "default", "default"),
            lambda token: (
                f"{len(token.secret.reveal())} characters; root, eu and paris passed on what they can't read"
            ),
        )

        stage.chapter("5  The hub eu is killed, and comes back")
        before, job = _standing(await top.workloads.get("serve")), _job_uid(members[LAB])
        await hubs["/eu"].process.kill()
        await stage.step("the root notices", story.until_member(top, "/eu", member_pb2.LIVENESS_SUSPECT))
        await _show_tree(stage, top, depth=1)
        config = _config_map("while-away")
        await stage.step(
            f"meanwhile a workload for {EDGE} is submitted: it waits at the root",
            top.workloads.apply("while-away", [config], members=[EDGE]),
        )
        await stage.step("below it paris still serves its own clients", _served_locally(hubs["/eu/paris"]))
        await hubs["/eu"].process.start()
        await stage.step("eu is started again, and back", _back(hubs))
        await stage.step("what waited has arrived, through both hubs", _arrived(top))
        await stage.step(
            "every replica is where it was, the finished Job is finished",
            _nothing_lost(top, before),
            lambda count: f"{count} replicas{'' if _job_uid(members[LAB]) == job else '; the Job was run again'}",
        )

        stage.chapter("6  And tidied up")
        await stage.step("workloads withdrawn, their objects deleted", story.withdraw(top))
    stage.summary()


async def _grow(
    stack: AsyncExitStack, folder: Path, stage: Stage
) -> tuple[dict[str, Node], dict[str, cast.Member]]:
    """The hubs and the members, by path."""
    stage.chapter("1  Hubs that dial out to hubs, members that dial out to them")
    hubs = {"": await stage.step("root up", root(stack, folder))}
    for parent, name in (("", "eu"), ("", "us"), ("/eu", "paris")):
        path = f"{parent}/{name}"
        hubs[path] = await stage.step(
            f"hub {name} joins {parent or 'the root'} with a one-time token",
            below(stack, folder, hubs[parent], name, labels={"region": name} if not parent else {"site": name}),
            lambda node: node.path,
        )
    members: dict[str, cast.Member] = {}
    for path, fleets in MEMBERS.items():
        joined: dict[str, cast.Member] = await stage.step(
            f"{len(fleets)} member{'s join' if len(fleets) > 1 else ' joins'} {path or 'the root'}",
            _join_all(stack, folder, hubs[path], fleets),
            lambda those: ", ".join(one.name for one in those.values()),
        )
        members |= joined
    return hubs, members


async def _join_all(
    stack: AsyncExitStack, folder: Path, hub: Node, fleets: dict[str, str]
) -> dict[str, cast.Member]:
    joined: dict[str, cast.Member] = {}
    place = folder / f"members{hub.path.replace('/', '-')}"
    for name, fleet in fleets.items():
        made = await hub.client.join_tokens.create(name)
        joined[f"{hub.path}/{name}"] = await story.join(
            stack,
            hub.client,
            place,
            name,
            made.join_address,
            made.token,
            {"simulate": fleet},
            f"{hub.path}/{name}",
        )
    return joined


async def _until_sums(top: HubClient, hubs: dict[str, Node]) -> None:
    """The root's own children tell of all GPUs below them."""
    wanted = {
        path: sum(
            _gpus(fleet)
            for at, fleets in MEMBERS.items()
            if f"{at}/".startswith(f"{path}/")
            for fleet in fleets.values()
        )
        for path in ("/eu", "/us")
    }

    async def seen() -> None:
        known: dict[str, int] = {}
        async for change in top.members.watch():
            one = change.member
            known[one.path] = sum(row.free for sketch in one.sketches for row in sketch.rows)
            if wanted.items() <= known.items():
                return

    await story.in_time(seen, WAIT_SECONDS, "the root did not hear of all GPUs")


def _gpus(fleet: str) -> int:
    nodes, each, _product = fleet.split("x")
    return int(nodes) * int(each)


async def _show_tree(stage: Stage, top: HubClient, depth: int = 0) -> None:
    text = Text(no_wrap=True, overflow="ellipsis")
    for line in tree_lines(await top.members.tree(depth=depth)):
        text.append("  ")
        for part, style in line:
            text.append(part, style or None)
        text.append("\n")
    text.rstrip()
    stage.show(text)


async def _serve(top: HubClient) -> workload_pb2.Workload:
    await top.workloads.apply(
        "serve", [_deployment()], selector=ANYWHERE, placement={"division": {"mode": "available"}}
    )
    return await _until(
        top, "serve", lambda one: one.state == State.AVAILABLE.value and _replicas(one) == REPLICAS
    )


async def _until(
    top: HubClient, name: str, wanted: Callable[[workload_pb2.Workload], bool]
) -> workload_pb2.Workload:
    """The workload with its parts below child hubs, which a watch leaves out, once it is as `wanted`."""

    async def seen() -> workload_pb2.Workload:
        async for change in top.workloads.watch(name):
            if not change.synced and not change.gone and wanted(whole := await top.workloads.get(name)):
                return whole
        raise Conflict("the watch ended")

    return await story.in_time(seen, WAIT_SECONDS, f"workload {name} did not get there")


async def _labelled(top: HubClient) -> None:
    """The label is set by the hub paris, and known in the sums of the hubs above it."""
    await top.members.label(LAB, {"tier": "gold"})

    async def seen() -> None:
        async for change in top.members.watch():
            if any(row.labels.get("tier") == "gold" for sketch in change.member.sketches for row in sketch.rows):
                return

    await story.in_time(seen, WAIT_SECONDS, "the root did not hear of the label")


async def _train(top: HubClient) -> workload_pb2.Workload:
    await top.workloads.apply("train", [_job()], selector=parse_selector("tier=gold"), placement={"clusters": 1})
    done = await _until(top, "train", lambda one: one.state == State.COMPLETE.value)
    if _paths(done) != [LAB]:
        raise Conflict(f"train ran in {', '.join(_paths(done))}, not in {LAB}")
    return done


async def _served_locally(paris: Node) -> None:
    one = await paris.client.members.get("edge-7")
    if one.liveness != member_pb2.LIVENESS_ONLINE:
        raise Conflict(f"{EDGE} is not online at its own hub")


async def _back(hubs: dict[str, Node]) -> None:
    await hubs["/eu"].process.answers()
    await until_online(hubs[""].client, "/eu")
    await until_online(hubs["/eu"].client, "/eu/paris")


async def _arrived(top: HubClient) -> None:
    there = (State.APPLIED.value, State.AVAILABLE.value)
    await _until(top, "while-away", lambda one: one.state in there and _paths(one) == [EDGE])


async def _nothing_lost(top: HubClient, before: dict[str, int]) -> int:
    """Every replica is where it was, and the Job that was complete is so still."""
    await _until(top, "train", lambda one: one.state == State.COMPLETE.value and _paths(one) == [LAB])
    after = await _until(top, "serve", lambda one: _standing(one) == before)
    return _replicas(after)


def _job_uid(member: cast.Member) -> str:
    """Of the object in the simulated cluster: one that is made anew has another."""
    cluster = member.agent.cluster
    assert isinstance(cluster, SimulatedCluster)
    body = cluster.simulation.read(ref_of(_job()))
    return str(body["metadata"]["uid"]) if body is not None else ""


def _parts(workload: workload_pb2.Workload) -> list[workload_pb2.MemberAssignment]:
    """Those of members; a hub's own part sums up what is below it."""
    paths = [part.path for part in workload.assignments]
    return sorted(
        (
            part
            for part in workload.assignments
            if not part.withdrawn and not any(path.startswith(f"{part.path}/") for path in paths)
        ),
        key=lambda part: part.path.split("/"),
    )


def _standing(workload: workload_pb2.Workload) -> dict[str, int]:
    return {part.path: part.replicas for part in _parts(workload)}


def _replicas(workload: workload_pb2.Workload) -> int:
    return sum(_standing(workload).values())


def _paths(workload: workload_pb2.Workload) -> list[str]:
    return sorted(_standing(workload))


def _parts_table(workload: workload_pb2.Workload) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    table.add_column("part")
    table.add_column("replicas", justify="right")
    table.add_column("state")
    for part in _parts(workload):
        table.add_row(part.path, str(part.replicas), State(part.status.state).name.capitalize())
    return table


def _job() -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "busybox:1.36",
        "resources": {"limits": {"nvidia.com/gpu": str(GPUS_OF_JOB)}},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "arbora-demo-train",
            "namespace": "default",
            "annotations": {"arbora.dev/simulated-seconds": "1"},
        },
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def _deployment() -> dict[str, Any]:
    container = {"name": "main", "image": "busybox:1.36", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "arbora-demo-serve"},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": "serve"}},
            "template": {"metadata": {"labels": {"app": "serve"}}, "spec": {"containers": [container]}},
        },
    }


def _config_map(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"arbora-demo-{name}"},
        "data": {"sent": "while eu was dead"},
    }


def main() -> int:
    """Returns the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    code = story.tell(console, play)
    if code:
        return code
    console.print("\nnext: [bold]docs/how-to/topologies.md[/bold] builds such a tree step by step.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
