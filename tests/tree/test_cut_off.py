"""Life without the hub above: a subtree goes on, and when the link is back only what changed crosses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from arbora.v1 import workload_pb2 as pb
from arbora_hub.inventory.liveness import Liveness
from tests.support.placing import deployment
from tests.support.virtual_time import in_virtual_time
from tests.tree.truth import check_always, check_settled
from tests.tree.world import World

FEW = 12
"""Records: `status` and sums of GPUs both ways, a line for each member; no workload that did not change."""


def anywhere() -> pb.Placement:
    placement = pb.Placement()
    placement.selector.SetInParent()
    placement.division.mode = "available"
    return placement


@asynccontextmanager
async def three_levels(folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """root -> mid -> m1 and m2, and root -> m0, with 20 workloads of the root."""
    world = World(folder, patch, 1)
    try:
        await world.add_hub("root")
        await world.add_hub("mid", "root")
        for name, hub in (("m0", "root"), ("m1", "mid"), ("m2", "mid")):
            await world.add_member(name, hub, 16, 16)
        await world.pass_time(5.0)
        for number in range(20):
            await world.apply("root", f"given-{number}", deployment(f"given-{number}", 2), anywhere())
        await world.until_quiet()
        yield world
    finally:
        await world.close()


def running(world: World) -> dict[str, dict[str, int]]:
    """Workload -> member -> pods that run."""
    found: dict[str, dict[str, int]] = {}
    for name, member in world.members.items():
        for work in member.works.values():
            found.setdefault(work.assignment.name.partition(".")[0], {})[name] = work.running
    return found


@pytest.mark.parametrize("silently", [False, True], ids=["reset", "silent"])
def test_a_subtree_that_is_cut_off_places_its_own_work_and_keeps_what_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silently: bool
) -> None:
    async def main() -> None:
        async with three_levels(tmp_path, monkeypatch) as world:
            before = running(world)
            world.cut("mid", silently=silently)
            await world.pass_time(100.0)
            root = world.hubs["root"].hub.inventory.find("mid")
            assert root is not None and root.liveness is Liveness.LOST
            await world.apply("mid", "own", deployment("own", 5), anywhere())
            await world.pass_time(10.0)
            now = running(world)
            assert sum(now.pop("own").values()) == 5
            assert now == before
            world.network.records.clear()
            world.mend("mid")
            await world.until_quiet()
            assert world.network.records["root", "mid"] <= FEW
            assert {link for link, count in world.network.records.items() if count} <= {("root", "mid")}
            check_settled(world)

    in_virtual_time(main)


def test_a_budget_that_changed_meanwhile_is_followed_when_the_link_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with three_levels(tmp_path, monkeypatch) as world:
            world.cut("mid")
            await world.apply("root", "given-3", deployment("given-3", 1), anywhere())
            await world.delete("root", "given-4")
            await world.pass_time(100.0)
            world.mend("mid")
            await world.until_quiet()
            now = running(world)
            assert sum(now["given-3"].values()) == 1
            assert "given-4" not in now
            check_settled(world)

    in_virtual_time(main)


def test_a_hub_that_starts_again_tells_and_is_told_what_is_so_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with three_levels(tmp_path, monkeypatch) as world:
            before = running(world)
            for name in ("mid", "root"):
                await world.kill(name)
                await world.pass_time(15.0)
                assert running(world) == before
                await world.start(name)
                await world.until_quiet()
                assert running(world) == before
                check_settled(world)

    in_virtual_time(main)


def test_a_hub_that_moves_gives_up_the_old_parents_work_and_takes_the_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with three_levels(tmp_path, monkeypatch) as world:
            await world.add_hub("other")
            await world.apply("other", "new", deployment("new", 3), anywhere())
            await world.apply("mid", "own", deployment("own", 2), anywhere())
            await world.pass_time(5.0)
            check_always(world)
            await world.move("mid", "other")
            await world.evict_moved()
            await world.until_quiet()
            now = running(world)
            assert sum(now.pop("new").values()) == 3
            assert set(now.pop("own")) <= {"m1", "m2"}
            assert all(set(where) == {"m0"} for where in now.values())
            assert sum(sum(where.values()) for where in now.values()) == 32  # as many as m0 has GPUs
            check_settled(world)

    in_virtual_time(main)


def test_a_hub_that_is_cut_off_from_the_new_parent_at_once_runs_nothing_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with three_levels(tmp_path, monkeypatch) as world:
            await world.add_hub("other")
            await world.move("mid", "other")
            world.cut("mid")
            await world.pass_time(120.0)
            assert all(set(where) == {"m0"} for where in running(world).values())
            world.mend("mid")
            await world.evict_moved()
            await world.until_quiet()
            check_settled(world)

    in_virtual_time(main)
