"""What ten child hubs cost the root, whether 10,000 or 100 members stand below them: part `width`.

    tree_fleet.py, 10 x 1,000 members  ->  one root    \\
                                                         at the same time, on the same cores
    tree_fleet.py, 10 x 10 members     ->  another one /

Both are real hubs in processes of their own; the child hubs are emulated, their sessions and records are not.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from arbora.v1 import enrollment_pb2, member_pb2
from bench import proc
from bench.processes import Running, scratch
from bench.report import Report
from bench.tree_fleet import COALESCE_SECONDS, KINDS, PRODUCTS
from bench.tree_hubs import Node, root
from bench.watching import Seen, schedulable, seen_members

HUBS = 10
MANY, FEW = 10_000, 100
"""Members below all of them."""
SETTLE_SECONDS = 10.0
SECONDS = 40.0
RATIO = 1.2
WAIT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A root with its child hubs."""

    node: Node
    fleet: Running


async def run(report: Report) -> None:
    """Both roots side by side for the same minute, so that whatever else the machine does hits both."""
    async with AsyncExitStack() as stack:
        many, few = [await _loaded(report, stack, members) for members in (MANY, FEW)]
        report.say(f"width: {SECONDS:g} s of changes")
        await asyncio.sleep(SETTLE_SECONDS)
        before = [proc.cpu_seconds(each.node.process.pid) for each in (many, few)]
        await asyncio.sleep(SECONDS)
        cpu = [
            (proc.cpu_seconds(each.node.process.pid) - was) / SECONDS
            for each, was in zip((many, few), before, strict=True)
        ]
        rss = [proc.memory(each.node.process.pid).rss * 1024 / 1e6 for each in (many, few)]
        for each in (many, few):
            each.fleet.check()
    how = (
        f"{HUBS} child hubs emulated by a load generator with the real dialing and aggregation code, summary "
        f"export; {len(PRODUCTS)} classes in {len(KINDS)} rows each, every class record of every hub sent anew "
        f"each {COALESCE_SECONDS * 1000:.0f} ms; both roots side by side over the same {SECONDS:g} s"
    )
    for members, used, kept in zip((MANY, FEW), cpu, rss, strict=True):
        report.figure(f"width.cpu.{members}_members", used, "cores", f"of the root; {how}")
        report.figure(f"width.memory.{members}_members", kept, "MB", f"VmRSS of the root; {how}")
    against = f"{MANY:,} members against {FEW}; {how}"
    report.figure("width.cpu.ratio", cpu[0] / cpu[1], "ratio", f"CPU of the root, {against}", at_most=RATIO)
    report.figure("width.memory.ratio", rss[0] / rss[1], "ratio", f"VmRSS of the root, {against}", at_most=RATIO)


async def _loaded(report: Report, stack: AsyncExitStack, members: int) -> Loaded:
    folder = stack.enter_context(scratch())
    node = await root(stack, folder)
    report.say(f"width: {HUBS} emulated hubs with {members} members join")
    made = await node.client.join_tokens.create(kind=enrollment_pb2.CHILD_KIND_HUB, uses=HUBS)
    fleet = _fleet(folder, node, members // HUBS, made.token)
    stack.push_async_callback(fleet.stop)
    await fleet.start()
    async with seen_members(node.client) as seen:
        await seen.until(lambda: _known(seen) == members, WAIT_SECONDS)
    return Loaded(node, fleet)


def _fleet(folder: Path, node: Node, members: int, token: str) -> Running:
    arguments = ("--hub", node.process.join_address, "--hubs", str(HUBS), "--members", str(members))
    return Running(arguments, folder / "fleet.log", {"ARBORA_JOIN_TOKEN": token}, "bench.tree_fleet")


def _known(seen: Seen[member_pb2.Member]) -> int:
    """Members that the child hubs have told of."""
    return sum(each.status.subtree.members for each in seen.now.values() if schedulable(each))
