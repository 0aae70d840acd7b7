"""How a workload ends: withdrawn, out of date, forgotten, or never assigned here."""

from __future__ import annotations

from arbora.workloads.model import AssignmentStatus, State
from tests.unit.agent.stage import (
    Stage,
    assignment,
    config_map,
    deployment,
    quiet,
    ref,
    until,
)


async def test_a_withdrawn_workload_is_deleted_in_reverse_and_reported_gone_once_it_is() -> None:
    async with Stage().running() as stage:
        held = config_map("held")
        held["metadata"]["finalizers"] = ["example.com/hold"]
        stage.reconciler.desired(assignment(held, deployment("serve")))
        await stage.pass_time(1)
        stage.cluster.requests.clear()
        stage.reconciler.desired(assignment(generation=2, withdrawn=True))
        await stage.pass_time(1)
        assert stage.cluster.requests == ["delete Deployment serve", "delete ConfigMap held"]
        found = stage.last()
        assert found is not None
        assert (found.state, [str(each.ref) for each in found.objects]) == (
            State.DELETING,
            ["ConfigMap default/held"],
        )
        assert "example.com/hold" in found.message
        stage.simulation.change(ref("ConfigMap", "held"), {"metadata": {"finalizers": None}})
        await stage.pass_time(1)
        assert stage.last() == AssignmentStatus("w", 2, State.DELETED)
        assert not stage.exists("Deployment", "serve")


async def test_a_withdrawn_workload_that_has_nothing_here_is_deleted_at_once() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(withdrawn=True))
        await until(lambda: stage.state() is State.DELETED)


async def test_nothing_is_called_deleted_before_the_cluster_has_been_looked_at() -> None:
    before = Stage()
    async with before.running():
        before.reconciler.desired(assignment(config_map()))
        await until(lambda: before.last() is not None)
    stage = Stage(simulation=before.simulation)
    stage.simulation.fail_api()
    stage.reconciler.desired(assignment(generation=2, withdrawn=True))
    async with stage.running(synced=False):
        await stage.pass_time(60)
        assert stage.reports == []
        stage.simulation.restore_api()
        await stage.pass_time(1)
        assert stage.state() is State.DELETED
        assert not stage.exists("ConfigMap", "settings")


async def test_an_object_of_a_newer_generation_is_left_alone() -> None:
    async with Stage().running() as stage:
        newer = config_map("newer")
        await stage.cluster.apply(newer, workload_uid="w", generation=7)
        await stage.cluster.apply(config_map("older"), workload_uid="w", generation=2)
        stage.reconciler.desired(assignment(generation=3, withdrawn=True))
        await stage.pass_time(1)
        assert stage.state() is State.DELETED
        assert stage.exists("ConfigMap", "newer")
        assert not stage.exists("ConfigMap", "older")


async def test_workloads_that_nobody_assigned_are_named_once_and_never_deleted() -> None:
    async with Stage().running() as stage:
        await stage.cluster.apply(config_map("left"), workload_uid="lost", generation=1)
        await quiet()
        assert stage.events == []
        stage.reconciler.absent([])
        stage.reconciler.absent([])
        stage.simulation.change(ref("ConfigMap", "left"), {"data": {"x": "y"}})
        await stage.pass_time(600)
        assert [(reason, subject) for _, reason, subject, _ in stage.events] == [("Orphaned", "workload/lost")]
        assert "ConfigMap default/left" in stage.events[0][3]
        assert stage.exists("ConfigMap", "left")


async def test_an_assignment_that_is_gone_without_withdrawal_leaves_its_objects() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map(), uid="kept"))
        stage.reconciler.desired(assignment(config_map("other"), uid="gone"))
        await until(lambda: len(stage.reports) == 2)
        stage.reconciler.absent(["kept"])
        stage.simulation.remove(ref("ConfigMap", "other"))
        stage.simulation.create(config_map("other"))
        await stage.pass_time(600)
        assert stage.forgotten == ["gone"]
        assert stage.exists("ConfigMap", "other")
        assert len(stage.reports) == 2


async def test_deleted_workloads_are_forgotten_without_an_orphan() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map()))
        await until(lambda: stage.last() is not None)
        stage.reconciler.desired(assignment(generation=2, withdrawn=True))
        await stage.pass_time(1)
        stage.reconciler.absent([])
        await stage.pass_time(1)
    assert stage.forgotten == ["w"]
    assert stage.events == []
