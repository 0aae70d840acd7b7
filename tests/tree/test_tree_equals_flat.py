"""The operator's property for a whole tree: cut into hubs, the same members take the same number of replicas."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from arbora.v1 import workload_pb2 as pb
from tests.support.placing import deployment
from tests.support.virtual_time import in_virtual_time
from tests.tree.truth import check_always, check_settled, given
from tests.tree.world import World

REGION = "region"
Fleet = Mapping[str, tuple[tuple[int, ...], Mapping[str, str]]]
"""Member -> GPUs of its nodes, labels."""


def some_fleet(chance: random.Random) -> Fleet:
    return {
        f"m{number}": (
            tuple(chance.choice((1, 2, 4, 8)) for _ in range(chance.randint(1, 3))),
            {REGION: chance.choice(("eu", "us"))},
        )
        for number in range(6)
    }


async def flat(world: World, fleet: Fleet) -> None:
    await world.add_hub("h0")
    for name, (nodes, labels) in fleet.items():
        await world.add_member(name, "h0", *nodes, labels=dict(labels))


async def tree(world: World, fleet: Fleet, chance: random.Random) -> None:
    await world.add_hub("h0")
    for number in range(1, 5):
        await world.add_hub(f"h{number}", chance.choice([f"h{one}" for one in range(number)]))
    for name, (nodes, labels) in fleet.items():
        await world.add_member(name, chance.choice(list(world.hubs)), *nodes, labels=dict(labels))


async def placed(world: World, mode: str, replicas: int, gpus: int, region: str) -> int:
    """Replicas that run in the end."""
    placement = pb.Placement()
    placement.selector.SetInParent()
    if region:
        placement.selector.match_labels[REGION] = region
    placement.division.mode = mode
    await world.pass_time(5.0)
    await world.apply("h0", "web", deployment("web", replicas, gpus), placement)
    await world.until_quiet()
    check_always(world)
    (record,) = list(world.hubs["h0"].hub.workloads)
    running = sum(work.running for member in world.members.values() for work in member.works.values())
    assert sum(given(record).values()) == running
    return running


@pytest.mark.parametrize("seed", range(4))
def test_a_tree_places_as_many_replicas_as_one_hub_over_the_same_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    fleet = some_fleet(chance)
    mode, gpus = chance.choice(("available", "pack", "spread")), chance.choice((1, 2, 4))
    region = chance.choice(("", "eu", "us"))
    fit = sum(
        sum(node // gpus for node in nodes) for nodes, labels in fleet.values() if region in ("", labels[REGION])
    )
    # sometimes more than there is room for
    replicas = max(1, fit + chance.randint(-4, 4))

    async def main() -> None:
        found = []
        for shape in ("flat", "tree"):
            with monkeypatch.context() as patch:
                world = World(tmp_path / shape, patch, seed)
                try:
                    await (flat(world, fleet) if shape == "flat" else tree(world, fleet, chance))
                    found.append(await placed(world, mode, replicas, gpus, region))
                    if not region:
                        check_settled(world)
                finally:
                    await world.close()
        assert found == [min(replicas, fit)] * 2, (
            f"{mode}, {replicas} of {gpus} GPUs in {region or 'all'}: {fleet}"
        )

    in_virtual_time(main)


def test_deciding_again_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)

    async def main() -> None:
        world = World(tmp_path, monkeypatch, 7)
        try:
            await tree(world, some_fleet(chance), chance)
            await placed(world, "available", 9, 1, "")
            before = world.network.records.copy()
            where = {name: given(record) for name in world.hubs for record in world.hubs[name].hub.workloads}
            for node in world.hubs.values():
                for child in node.hub.inventory:
                    node.hub.workloads.child_changed(child)
            await world.until_quiet()
            assert world.network.records == before
            again = {name: given(record) for name in world.hubs for record in world.hubs[name].hub.workloads}
            assert again == where
            check_settled(world)
        finally:
            await world.close()

    in_virtual_time(main)
