"""Workloads from a client to simulated clusters and back, with restarts of either side in between."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from arbora.clock import ManualClock
from arbora.errors import Conflict, InvalidInput, NotFound
from arbora.manifests.objects import Gvk, ObjectRef
from arbora.manifests.selectors import Selector
from arbora.v1 import member_pb2, workload_pb2
from arbora_agent.cluster.port import OwnedObject
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_hub.inventory.liveness import Liveness
from tests.support.eventually import eventually
from tests.support.hub import RunningAgent, RunningHub, config_map, job, ports_of, running_agent, running_hub

AVAILABLE = workload_pb2.WORKLOAD_STATE_AVAILABLE
PROGRESSING = workload_pb2.WORKLOAD_STATE_PROGRESSING
COMPLETE = workload_pb2.WORKLOAD_STATE_COMPLETE


def cm(name: str) -> ObjectRef:
    return ObjectRef(Gvk("v1", "ConfigMap"), "default", name)


def data(agent: RunningAgent, name: str) -> dict[str, str] | None:
    """Of the ConfigMap in the agent's cluster."""
    body = agent.simulation.read(cm(name))
    return dict(body["data"]) if body is not None else None


async def start(stack: AsyncExitStack, hub: RunningHub, folder: Path, *names: str) -> list[RunningAgent]:
    agents = [await stack.enter_async_context(running_agent(hub, folder, name)) for name in names]
    for agent in agents:
        await agent.until_online()
    return agents


def paths(workload: workload_pb2.Workload) -> list[str]:
    return [part.path for part in workload.assignments if not part.withdrawn]


async def placed(hub: RunningHub, name: str, *wanted: str) -> None:
    async def there() -> bool:
        return paths(await hub.admin.workloads.get(name)) == [f"/{one}" for one in wanted]

    await eventually(there, f"{name} on {wanted}")


async def test_a_workload_is_applied_changed_and_left_alone_when_nothing_changed(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_agent(hub, tmp_path, "a") as agent:
        await agent.until_online()
        apply = hub.admin.workloads.apply
        created = await apply("app", [config_map("app", v="1")], members=["a"])
        assert created.outcome == workload_pb2.APPLY_OUTCOME_CREATED
        workload = await hub.until_workload("app", AVAILABLE)
        assert data(agent, "app") == {"v": "1"}
        assert [one.name for one in workload.assignments[0].status.objects] == ["app"]

        same = await apply("app", [config_map("app", v="1")], members=["a"])
        assert (same.outcome, same.workload.generation) == (workload_pb2.APPLY_OUTCOME_UNCHANGED, 1)

        changed = await apply("app", [config_map("app", v="2")], members=["a"])
        assert (changed.outcome, changed.workload.generation) == (workload_pb2.APPLY_OUTCOME_CHANGED, 2)
        await hub.until_workload("app", AVAILABLE, generation=2)
        assert data(agent, "app") == {"v": "2"}


async def test_what_left_a_workload_is_deleted_in_the_member(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_agent(hub, tmp_path, "a") as agent:
        await agent.until_online()
        await hub.admin.workloads.apply("app", [config_map("one"), config_map("two")], members=["a"])
        await hub.until_workload("app", AVAILABLE)
        await hub.admin.workloads.apply("app", [config_map("two")], members=["a"])
        await eventually(lambda: data(agent, "one") is None, "one is gone")
        assert data(agent, "two") is not None


async def test_a_job_takes_gpus_runs_and_completes(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running_hub(tmp_path / "hub") as hub:
        simulation = Simulation("1x8xH100", name="a", clock=clock)
        async with running_agent(hub, tmp_path, "a", simulation=simulation) as agent:
            await agent.until_online()
            await hub.admin.workloads.apply("train", [job("train", gpus=8, seconds=100)], members=["a"])
            await hub.until_workload("train", PROGRESSING)

            async def used() -> int:
                member = await hub.admin.members.get("a")
                return sum(row.used for sketch in member.sketches for row in sketch.rows)

            async def all_used() -> bool:
                return await used() == 8

            async def none_used() -> bool:
                return await used() == 0

            await eventually(all_used, "8 GPUs are used")
            clock.advance(101)
            await hub.until_workload("train", COMPLETE)
            await eventually(none_used, "they are free again")


async def test_a_rejected_object_is_reported_in_the_api_servers_words_and_the_rest_is_applied(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_agent(hub, tmp_path, "a") as agent:
        await agent.until_online()
        nowhere = config_map("lost")
        nowhere["metadata"]["namespace"] = "nowhere"
        await hub.admin.workloads.apply("app", [config_map("good"), nowhere], members=["a"])
        workload = await hub.until_workload("app", workload_pb2.WORKLOAD_STATE_DEGRADED)
        by_name = {one.name: one for one in workload.assignments[0].status.objects}
        assert by_name["good"].state == AVAILABLE
        assert by_name["lost"].state == workload_pb2.WORKLOAD_STATE_DEGRADED
        assert 'namespaces "nowhere" not found' in by_name["lost"].message
        assert data(agent, "good") is not None
        assert "WorkloadDegraded" in await hub.reasons("workload/app")


async def test_placement_by_list_and_selector_is_their_union(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, AsyncExitStack() as stack:
        await start(stack, hub, tmp_path, "a", "b", "c")
        await hub.admin.members.label("b", {"gpu": "h100"})
        answer = await hub.admin.workloads.apply(
            "app", [config_map("app")], members=["a", "nobody"], selector=Selector({"gpu": "h100"})
        )
        assert paths(answer.workload) == ["/a", "/b"]
        assert answer.warnings == ["nobody is not a member of this hub"]


async def test_a_label_moves_a_workload(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, AsyncExitStack() as stack:
        a, b = await start(stack, hub, tmp_path, "a", "b")
        await hub.admin.members.label("a", {"gpu": "h100"})
        await hub.admin.workloads.apply("app", [config_map("app")], selector=Selector({"gpu": "h100"}))
        await hub.until_workload("app", AVAILABLE)
        await hub.admin.members.label("b", {"gpu": "h100"})
        await eventually(lambda: data(b, "app") is not None, "b has it")
        await hub.admin.members.label("a", remove=["gpu"])
        await eventually(lambda: data(a, "app") is None, "a has given it up")
        await placed(hub, "app", "b")


async def test_cordons_and_taints_keep_new_work_away_and_leave_what_runs(tmp_path: Path) -> None:
    taint = member_pb2.Taint(key="repair", value="disk", effect=member_pb2.TAINT_EFFECT_NO_SCHEDULE)
    async with running_hub(tmp_path / "hub") as hub, AsyncExitStack() as stack:
        await start(stack, hub, tmp_path, "a", "b")
        everywhere = Selector({})
        await hub.admin.workloads.apply("old", [config_map("old")], selector=everywhere)
        await hub.until_workload("old", AVAILABLE)
        await hub.admin.members.cordon("a")
        await hub.admin.members.taint("b", set=[taint])
        answer = await hub.admin.workloads.apply("new", [config_map("new")], selector=everywhere)
        assert paths(answer.workload) == []
        assert sorted(answer.warnings) == ["a is cordoned", "b has the taint repair=disk:NoSchedule"]
        await placed(hub, "old", "a", "b")
        await hub.admin.members.cordon("a", False)
        await hub.admin.members.taint("b", remove=[member_pb2.Taint(key="repair")])
        await placed(hub, "new", "a", "b")


async def test_a_deleted_workload_is_withdrawn_and_then_forgotten(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, AsyncExitStack() as stack:
        a, b = await start(stack, hub, tmp_path, "a", "b")
        await hub.admin.workloads.apply("app", [config_map("app")], members=["a", "b"])
        await hub.until_workload("app", AVAILABLE)
        await hub.admin.workloads.delete("app")

        async def gone() -> bool:
            return [one async for one in hub.admin.workloads.list()] == []

        await eventually(gone, "the workload is forgotten")
        assert data(a, "app") is None
        assert data(b, "app") is None
        with pytest.raises(NotFound):
            await hub.admin.workloads.get("app")
        again = await hub.admin.workloads.apply("app", [config_map("app")], members=["a"])
        assert again.outcome == workload_pb2.APPLY_OUTCOME_CREATED


async def test_a_deletion_waits_for_a_member_that_is_away_unless_it_is_orphaned(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_agent(hub, tmp_path, "a") as here:
        await here.until_online()
        async with running_agent(hub, tmp_path, "b") as away:
            await away.until_online()
            for name in ("one", "two"):
                await hub.admin.workloads.apply(name, [config_map(name)], members=["a", "b"])
                await hub.until_workload(name, AVAILABLE)
        await hub.until("b", Liveness.SUSPECT)
        await hub.admin.workloads.delete("one")
        await eventually(lambda: data(here, "one") is None, "deleted where it can be")
        waiting = await hub.admin.workloads.get("one")
        assert waiting.deleting
        assert "waiting for" in waiting.message
        with pytest.raises(Conflict, match="being deleted"):
            await hub.admin.workloads.apply("one", [config_map("one")], members=["a"])

        await hub.admin.workloads.delete("two", orphan=True)

        async def left() -> list[str]:
            return [one.name async for one in hub.admin.workloads.list()]

        async def only_one() -> bool:
            return await left() == ["one"]

        await eventually(only_one, "two is forgotten")
        # the member that was away hears of it when it is back
        async with running_agent(hub, tmp_path, "b", simulation=away.simulation) as back:
            await back.until_online()
            await eventually(lambda: data(back, "one") is None, "deleted there, too")

            async def none() -> bool:
                return await left() == []

            await eventually(none, "one is forgotten")
            assert data(back, "two") is not None


async def test_a_dry_run_says_what_would_happen_and_does_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_agent(hub, tmp_path, "a") as agent:
        await agent.until_online()
        answer = await hub.admin.workloads.apply("app", [config_map("app")], members=["a", "b"], dry_run=True)
        assert answer.outcome == workload_pb2.APPLY_OUTCOME_CREATED
        assert list(answer.warnings) == ["b is not a member of this hub"]
        with pytest.raises(NotFound):
            await hub.admin.workloads.get("app")
        await hub.admin.workloads.apply("app", [config_map("app", v="1")], members=["a"])
        await hub.until_workload("app", AVAILABLE)
        changed = await hub.admin.workloads.apply("app", [config_map("app", v="2")], members=["a"], dry_run=True)
        assert changed.outcome == workload_pb2.APPLY_OUTCOME_CHANGED
        assert (await hub.admin.workloads.get("app")).generation == 1
        assert data(agent, "app") == {"v": "1"}


WRONG = {
    "a name that is none": ("App!", [config_map("x")], ["a"], "metadata.name"),
    "nothing to run": ("app", [], ["a"], "spec.manifests"),
    "no placement": ("app", [config_map("x")], [], "spec.placement"),
    "a path that is none": ("app", [config_map("x")], ["/a/B!"], "spec.placement.members[0]"),
    "an object twice": ("app", [config_map("x"), config_map("x")], ["a"], "spec.manifests[1]"),
    "an object without a kind": ("app", [{"metadata": {"name": "x"}}], ["a"], "spec.manifests[0]"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_workload_is_refused_with_the_field_and_nothing_is_kept(tmp_path: Path, wrong: str) -> None:
    name, manifests, members, field = WRONG[wrong]
    async with running_hub(tmp_path / "hub") as hub:
        with pytest.raises(InvalidInput) as refused:
            await hub.admin.workloads.apply(name, manifests, members=members)
        assert refused.value.field.startswith(field)
        assert [one async for one in hub.admin.workloads.list()] == []


async def test_a_watch_sends_everything_once_then_changes_and_coalesces(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await hub.admin.workloads.apply("app", [config_map("app", v="0")], members=["nobody"])
        async with aclosing(hub.admin.workloads.watch()) as changes:
            first = await anext(changes)
            assert first.workload.name == "app"
            assert (await anext(changes)).synced
            for v in range(1, 60):
                await hub.admin.workloads.apply("app", [config_map("app", v=str(v))], members=["nobody"])
            seen = [await anext(changes)]
            while seen[-1].workload.generation < 60:
                seen.append(await anext(changes))
            generations = [one.workload.generation for one in seen]
            assert generations == sorted(generations)
            await hub.admin.workloads.delete("app")
            while not (last := await anext(changes)).gone:
                pass
            assert last.workload.name == "app"


async def test_an_evicted_member_drops_its_part(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, AsyncExitStack() as stack:
        await start(stack, hub, tmp_path, "a", "b")
        await hub.admin.workloads.apply("app", [config_map("app")], members=["a", "b"])
        await hub.until_workload("app", AVAILABLE)
        await hub.admin.members.evict("b")
        await placed(hub, "app", "a")
        assert (await hub.admin.workloads.get("app")).state == AVAILABLE


class CountingCluster(SimulatedCluster):
    """The simulated cluster; counts what is asked of it, and can keep the answers of applies back."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self.applied: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def apply(self, manifest: object, *, workload_uid: str, generation: int) -> OwnedObject:
        owned = await super().apply(manifest, workload_uid=workload_uid, generation=generation)  # type: ignore[arg-type]
        self.applied.append(f"{owned.ref.name}@{generation}")
        await self.answers.wait()
        return owned


async def test_a_restarted_hub_shows_the_last_status_as_stale_and_nothing_is_applied_again(
    tmp_path: Path,
) -> None:
    simulation = Simulation("1x8xH100", name="a", clock=ManualClock())
    cluster = CountingCluster(simulation)
    async with AsyncExitStack() as outer:
        async with running_hub(tmp_path / "hub") as hub:
            agent = await outer.enter_async_context(
                running_agent(hub, tmp_path, "a", simulation=simulation, cluster=cluster)
            )
            await agent.until_online()
            await hub.admin.workloads.apply("app", [config_map("app")], members=["a"])
            await hub.until_workload("app", AVAILABLE)
            await hub.until_reported("a")
        # admission is closed at first, so that the hub can be looked at before the agent is back
        async with running_hub(tmp_path / "hub", **ports_of(hub), max_children=0) as hub:
            workload = await hub.admin.workloads.get("app")
            assert workload.state == AVAILABLE
            assert workload.assignments[0].stale
            member = await hub.admin.members.get("a")
            assert member.stale
            assert member.liveness == member_pb2.LIVENESS_SUSPECT
            assert member.status.nodes == 1
        async with running_hub(tmp_path / "hub", **ports_of(hub)) as hub:
            await agent.until_online(times=2, seconds=15.0)

            async def fresh() -> bool:
                workload = await hub.admin.workloads.get("app")
                return not workload.assignments[0].stale and not (await hub.admin.members.get("a")).stale

            await eventually(fresh, "it is not stale any more")
            assert (await hub.admin.workloads.get("app")).generation == 1
            assert cluster.applied == ["app@1"]


async def test_an_agent_that_starts_without_a_hub_goes_on_from_its_journal(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_agent(hub, tmp_path, "a") as agent:
        await agent.until_online()
        await hub.admin.workloads.apply("app", [config_map("app")], members=["a"])
        await hub.until_workload("app", AVAILABLE)
    # the hub is gone; the member's cluster is empty, as after a restore
    fresh = Simulation("1x8xH100", name="a", clock=ManualClock())
    async with running_agent(None, tmp_path, "a", simulation=fresh) as alone:
        await eventually(lambda: data(alone, "app") is not None, "it applies what it was told before")
        assert not alone.online()


async def test_an_agent_killed_between_apply_and_report_reports_after_its_restart(tmp_path: Path) -> None:
    simulation = Simulation("1x8xH100", name="a", clock=ManualClock())
    cluster = CountingCluster(simulation)
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "a", simulation=simulation, cluster=cluster) as agent:
            await agent.until_online()
            cluster.answers.clear()
            await hub.admin.workloads.apply("app", [config_map("app")], members=["a"])
            await eventually(lambda: cluster.applied == ["app@1"], "it is applied, the answer on its way")
            await agent.kill()
        assert (await hub.admin.workloads.get("app")).state == workload_pb2.WORKLOAD_STATE_PENDING
        uid = simulation.read(cm("app"))["metadata"]["uid"]  # type: ignore[index]
        async with running_agent(hub, tmp_path, "a", simulation=simulation) as agent:
            await agent.until_online()
            await hub.until_workload("app", AVAILABLE)
        body = simulation.read(cm("app"))
        assert body is not None
        assert body["metadata"]["uid"] == uid
