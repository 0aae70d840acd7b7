"""Random trees of hubs and members, thousands of random steps: whatever happens, work ends up where it belongs.

In every other tree hubs also move to other parents.

A failure prints the seed and what was done. More of it: ARBORA_TREE_SEEDS=100 ARBORA_TREE_STEPS=4000, from
ARBORA_TREE_FIRST_SEED on.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from arbora.v1 import workload_pb2 as pb
from tests.support.placing import deployment, gang
from tests.support.virtual_time import in_virtual_time
from tests.tree.truth import check_always, check_settled
from tests.tree.world import World, attempt

FIRST = int(os.environ.get("ARBORA_TREE_FIRST_SEED", "0"))
SEEDS = int(os.environ.get("ARBORA_TREE_SEEDS", "5"))
STEPS = int(os.environ.get("ARBORA_TREE_STEPS", "120"))
REST_EVERY = 60
"""Steps after which everything is mended and must come to rest."""
HUBS, MEMBERS, WORKLOADS = 5, 8, 10
DEEPEST = 4


class Walk:
    """One random walk."""

    def __init__(self, world: World, *, moves: bool) -> None:
        self.world = world
        self.chance = world.chance
        self.moves = moves
        self.submitted: dict[str, tuple[str, str, int]] = {}
        """Workload -> hub, mode ("" for one place), GPUs of a pod."""
        self.names = 0

    async def grow(self) -> None:
        """A tree with the root h0."""
        world, chance = self.world, self.chance
        await world.add_hub("h0")
        for number in range(1, HUBS):
            possible = [name for name in world.hubs if len(world.above(name)) < DEEPEST - 1]
            await world.add_hub(f"h{number}", chance.choice(possible))
        for number in range(MEMBERS):
            nodes = [chance.choice((2, 4, 8)) for _ in range(chance.randint(1, 3))]
            await world.add_member(f"m{number}", chance.choice(list(world.hubs)), *nodes)
        await world.pass_time(5.0)

    async def step(self) -> None:
        """Something happens, then some time passes."""
        steps: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self.submit, 4),
            (self.scale, 4),
            (self.delete, 2),
            (self.change_gpus, 2),
            (self.cut, 2),
            (self.mend, 3),
            (self.restart, 1),
            (self.restart_member, 1),
        ]
        if self.moves:
            steps.append((self.move, 1))
        (doing,) = self.chance.choices([one for one, _ in steps], [weight for _, weight in steps])
        await doing()
        await self.world.pass_time(self.chance.choice((0.0, 0.01, 0.3, 2.0, 10.0, 45.0)))
        check_always(self.world)

    async def submit(self) -> None:
        up = [name for name, node in self.world.hubs.items() if node.up]
        if len(self.submitted) >= WORKLOADS or not up:
            return
        self.names += 1
        mode = self.chance.choice(("available", "pack", "spread", ""))
        gpus = 1 if mode else self.chance.choice((1, 2))
        # most of them at the root, from where all of the tree can be reached
        hub = self.chance.choice(up) if "h0" not in up or self.chance.random() < 0.3 else "h0"
        name = f"w{self.names}"
        self.submitted[name] = (hub, mode, gpus)
        await self._apply(name)

    async def scale(self) -> None:
        names = [name for name, (hub, mode, _) in self.submitted.items() if mode and self.world.hubs[hub].up]
        if names:
            await self._apply(self.chance.choice(names))

    async def _apply(self, name: str) -> None:
        hub, mode, gpus = self.submitted[name]
        placement = pb.Placement()
        placement.selector.SetInParent()
        if mode:
            placement.division.mode = mode
            manifest = deployment(name, self.chance.randint(1, 20), gpus)
        else:  # all of it in one member
            placement.clusters = 1
            manifest = gang(name, self.chance.randint(1, 4), gpus)
        assert await attempt(self.world.apply(hub, name, manifest, placement))

    async def delete(self) -> None:
        names = [name for name, (hub, _, _) in self.submitted.items() if self.world.hubs[hub].up]
        if names:
            name = self.chance.choice(names)
            hub, _, _ = self.submitted.pop(name)
            await self.world.delete(hub, name)

    async def change_gpus(self) -> None:
        member = self.chance.choice(list(self.world.members.values()))
        if self.chance.random() < 0.1:
            member.grow(self.chance.choice((2, 4)))
        else:
            node = self.chance.randrange(len(member.nodes))
            member.turn(node, on=node in member.off)

    async def cut(self) -> None:
        name = self.chance.choice(list(self.world.parent))
        if not self.world.is_cut(name):
            self.world.cut(name, silently=self.chance.random() < 0.4)

    async def mend(self) -> None:
        names = [name for name in self.world.parent if self.world.is_cut(name)]
        if names:
            self.world.mend(self.chance.choice(names))

    async def restart(self) -> None:
        name = self.chance.choice(list(self.world.hubs))
        if self.world.hubs[name].up:
            await self.world.kill(name)
            await self.world.pass_time(self.chance.choice((0.0, 1.0, 20.0, 60.0)))
        if not self.world.hubs[name].up:
            await self.world.start(name)

    async def restart_member(self) -> None:
        member = self.chance.choice(list(self.world.members.values()))
        await member.stop()
        await self.world.pass_time(self.chance.choice((0.0, 5.0)))
        await member.start()

    async def move(self) -> None:
        hubs = self.world.hubs
        name = self.chance.choice([name for name in hubs if name != "h0"])
        below = {other for other in hubs if name in self.world.above(other)}
        possible = [other for other in hubs if other != name and other not in below and hubs[other].up]
        possible = [
            other
            for other in possible
            if other != self.world.parent[name] and len(self.world.above(other)) < DEEPEST - 1
        ]
        if hubs[name].up and possible:
            await attempt(self.world.move(name, self.chance.choice(possible)))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
@pytest.mark.timeout(max(20, STEPS * 0.15))
def test_whatever_happens_to_a_tree_its_work_ends_up_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    async def main() -> None:
        world = World(tmp_path, monkeypatch, seed)
        walk = Walk(world, moves=seed % 2 == 1)
        try:
            await walk.grow()
            for number in range(STEPS):
                await walk.step()
                if (number + 1) % REST_EVERY == 0:
                    await world.heal()
                    await world.until_quiet()
                    check_always(world)
                    check_settled(world)
        except BaseException:
            print(f"seed {seed}:", *world.story[-150:], sep="\n  ")  # noqa: T201
            raise
        finally:
            await world.close()

    in_virtual_time(main)
