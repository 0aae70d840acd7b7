"""The reconciler over a simulated cluster: order, pruning, generations, refusals, reports."""

from __future__ import annotations

from arbora.workloads.model import AssignmentStatus, ObjectStatus, State
from arbora_agent.workloads.reconciler import WORKERS
from tests.unit.agent.stage import (
    Stage,
    assignment,
    config_map,
    deployment,
    job,
    quiet,
    ref,
    thing,
    until,
)


async def test_what_others_stand_on_is_applied_first() -> None:
    manifests = [
        deployment("serve"),
        thing("Service", "front", spec={"ports": [{"port": 80}]}),
        config_map(),
        thing("ServiceAccount", "runner"),
        thing("Namespace", "team"),
    ]
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(*manifests))
        await until(lambda: stage.last() is not None)
    assert stage.cluster.requests == [
        "apply Namespace team",
        "apply ServiceAccount runner",
        "apply ConfigMap settings",
        "apply Service front",
        "apply Deployment serve",
    ]


async def test_independent_objects_go_together_but_only_a_few_at_a_time() -> None:
    async with Stage().running() as stage:
        stage.cluster.gate.clear()
        stage.reconciler.desired(assignment(*(config_map(f"c-{number}") for number in range(20))))
        await until(lambda: stage.cluster.running == 4)
        await quiet()
        assert stage.cluster.running == 4
        stage.cluster.gate.set()
        await until(lambda: stage.state() is State.AVAILABLE)


async def test_only_so_many_workloads_are_worked_on_at_the_same_time() -> None:
    async with Stage().running() as stage:
        stage.cluster.gate.clear()
        for number in range(30):
            stage.reconciler.desired(assignment(config_map(f"c-{number}"), uid=f"w-{number}"))
        await until(lambda: stage.cluster.running == WORKERS)
        await quiet()
        assert stage.cluster.running == WORKERS
        stage.cluster.gate.set()
        await until(lambda: len(stage.reports) == 30)


async def test_the_first_report_comes_with_the_apply_and_not_a_moment_later() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map()))
        await until(lambda: bool(stage.reports))
    part = ObjectStatus(ref("ConfigMap", "settings"), State.AVAILABLE)
    assert stage.reports == [AssignmentStatus("w", 1, State.AVAILABLE, (part,))]
    assert stage.clock.monotonic() == 0


async def test_changes_right_after_a_report_are_gathered_into_one() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(deployment("serve", replicas=3)))
        await until(lambda: bool(stage.reports))
        await quiet()
        assert [each.state for each in stage.reports] == [State.APPLIED]
        await stage.pass_time(0.05)
        assert [each.state for each in stage.reports] == [State.APPLIED, State.AVAILABLE]


async def test_nothing_is_reported_while_nothing_changes() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map()))
        await until(lambda: bool(stage.reports))
        await stage.pass_time(3_600)
        stage.reconciler.desired(assignment(config_map()))
        await stage.pass_time(1)
    assert len(stage.reports) == 1
    assert stage.cluster.requests == ["apply ConfigMap settings"]


async def test_a_job_is_followed_to_its_completion() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(job(seconds=30), config_map()))
        await stage.pass_time(1)
        assert stage.state() is State.PROGRESSING
        assert sum(node.requested for node in stage.cluster.gpus()) == 1
        await stage.pass_time(30)
    assert stage.state() is State.COMPLETE
    assert sum(node.requested for node in stage.cluster.gpus()) == 0


async def test_a_job_that_waits_for_gpus_says_so() -> None:
    async with Stage("1x8xH100").running() as stage:
        stage.reconciler.desired(assignment(job(gpus=16)))
        await stage.pass_time(1)
        found = stage.last()
    assert found is not None
    assert found.state is State.PROGRESSING
    assert "0 of 1 completed, 0 running, 1 waiting" in found.message


async def test_a_completed_job_that_is_cleaned_up_does_not_run_again() -> None:
    stage = Stage()
    async with stage.running():
        stage.reconciler.desired(assignment(job(seconds=1)))
        await stage.pass_time(2)
        stage.simulation.remove(ref("Job", "train"))
        await stage.pass_time(600)
        assert stage.state() is State.COMPLETE
        assert not stage.exists("Job", "train")
    after = Stage(simulation=stage.simulation)
    async with after.running():
        after.reconciler.desired(assignment(job(seconds=1)), stage.last())
        await after.pass_time(600)
        assert after.state() is State.COMPLETE
        assert after.cluster.requests == []


async def test_what_left_the_workload_is_deleted_after_the_rest_is_applied() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map("a"), deployment("b"), deployment("c")))
        await until(lambda: stage.last() is not None)
        stage.cluster.requests.clear()
        stage.reconciler.desired(assignment(deployment("c"), config_map("d"), generation=2))
        await stage.pass_time(1)
    assert stage.cluster.requests == [
        "apply ConfigMap d",
        "apply Deployment c",
        "delete Deployment b",
        "delete ConfigMap a",
    ]
    found = stage.last()
    assert found is not None
    assert (found.state, found.generation) == (State.AVAILABLE, 2)
    assert [str(each.ref) for each in found.objects] == ["Deployment default/c", "ConfigMap default/d"]


async def test_nothing_is_deleted_while_an_object_of_the_new_generation_is_refused() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(deployment("old")))
        await until(lambda: stage.last() is not None)
        lost = deployment("new")
        lost["metadata"]["namespace"] = "nowhere"
        stage.reconciler.desired(assignment(lost, generation=2))
        await stage.pass_time(1)
        found = stage.last()
        assert stage.exists("Deployment", "old")
        assert found is not None
        assert 'namespaces "nowhere" not found' in found.message
        assert "1 objects that left the workload stay until every object is applied" in found.message
        stage.simulation.create(thing("Namespace", "nowhere"))
        await stage.pass_time(301)
        assert not stage.exists("Deployment", "old")
        assert stage.exists("Deployment", "new", "nowhere")
        assert stage.state() is State.AVAILABLE


async def test_nothing_is_deleted_while_the_api_server_is_away() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map("old")))
        await until(lambda: stage.last() is not None)
        stage.simulation.fail_api()
        stage.reconciler.desired(assignment(config_map("new"), generation=2))
        await stage.pass_time(5)
        assert stage.state() is State.PENDING
        stage.simulation.restore_api()
        await stage.pass_time(31)
        assert stage.exists("ConfigMap", "new")
        assert not stage.exists("ConfigMap", "old")


async def test_a_refused_object_is_reported_in_the_api_servers_words_and_the_rest_applied() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map("Bad_Name"), config_map("good")))
        await stage.pass_time(1)
        found = stage.last()
        assert found is not None
        bad, good = found.objects
        assert (found.state, bad.state, good.state) == (State.DEGRADED, State.DEGRADED, State.AVAILABLE)
        assert 'ConfigMap "Bad_Name" is invalid: metadata.name' in bad.message
        assert "Bad_Name" in found.message
        assert stage.reasons() == ["ObjectRejected"]
        await stage.pass_time(1_000)
        assert stage.cluster.requests.count("apply ConfigMap Bad_Name") == 4
        assert stage.cluster.requests.count("apply ConfigMap good") == 1
        assert stage.reasons() == ["ObjectRejected"]


async def test_two_manifests_of_the_same_object_degrade_the_second_only() -> None:
    twin = config_map(colour="red")
    twin["metadata"]["namespace"] = "default"
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map(colour="green"), twin))
        await until(lambda: stage.last() is not None)
        stored = stage.simulation.read(ref("ConfigMap", "settings"))
    found = stage.last()
    assert stored is not None
    assert found is not None
    assert stored["data"] == {"colour": "green"}
    assert [each.state for each in found.objects] == [State.AVAILABLE, State.DEGRADED]
    assert "manifests[1] names the same object as manifests[0]" in found.objects[1].message


async def test_a_manifest_without_a_name_degrades_itself_only() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment({"kind": "ConfigMap"}, config_map()))
        await until(lambda: stage.last() is not None)
    found = stage.last()
    assert found is not None
    assert [each.state for each in found.objects] == [State.DEGRADED, State.AVAILABLE]
    assert "manifests[0]" in found.objects[0].message


async def test_a_newer_generation_ends_the_work_on_an_older_one() -> None:
    async with Stage().running() as stage:
        stage.cluster.gate.clear()
        stage.reconciler.desired(assignment(thing("Namespace", "one"), config_map("never")))
        await until(lambda: stage.cluster.running == 1)
        stage.reconciler.desired(assignment(config_map("second"), generation=2))
        stage.cluster.gate.set()
        await stage.pass_time(1)
    assert "apply ConfigMap never" not in stage.cluster.requests
    assert {each.generation for each in stage.reports} == {2}
    assert not stage.exists("Namespace", "one")
    assert stage.exists("ConfigMap", "second")


async def test_an_older_generation_is_ignored() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map(colour="new"), generation=5))
        stage.reconciler.desired(assignment(config_map(colour="old"), generation=4))
        stage.reconciler.desired(assignment(config_map(colour="old"), generation=3, withdrawn=True))
        await stage.pass_time(1)
        stored = stage.simulation.read(ref("ConfigMap", "settings"))
    assert stored is not None
    assert stored["data"] == {"colour": "new"}
    assert stage.cluster.requests == ["apply ConfigMap settings"]


async def test_an_agent_killed_between_apply_and_report_converges_and_changes_nothing() -> None:
    before = Stage()
    parts = [config_map(), deployment("serve"), thing("Service", "front", spec={"ports": [{"port": 80}]})]
    async with before.running():
        before.reconciler.desired(assignment(*parts))
        await before.pass_time(1)
    versions = {each.ref: each.resource_version for each in before.cluster.owned("w")}
    after = Stage(simulation=before.simulation)
    async with after.running():
        after.reconciler.desired(assignment(*parts))
        await until(lambda: after.state() is State.AVAILABLE)
        await after.pass_time(1)
        assert {each.ref: each.resource_version for each in after.cluster.owned("w")} == versions
    assert len(after.reports) == 1
    assert after.events == []


async def test_an_outage_is_reported_and_outlived() -> None:
    async with Stage().running() as stage:
        stage.simulation.fail_api(message="connection refused")
        stage.reconciler.desired(assignment(config_map()))
        await stage.pass_time(60)
        found = stage.last()
        assert found is not None
        assert found.state is State.PENDING
        assert "connection refused" in found.message
        assert 3 < len(stage.cluster.requests) < 15
        stage.simulation.restore_api()
        await stage.pass_time(31)
        assert stage.last() == AssignmentStatus(
            "w", 1, State.AVAILABLE, (ObjectStatus(ref("ConfigMap", "settings"), State.AVAILABLE),)
        )


async def test_a_bug_over_one_workload_does_not_stop_the_others() -> None:
    stage = Stage()
    apply = stage.cluster.apply

    async def broken(manifest: object, *, workload_uid: str, generation: int) -> object:
        if workload_uid == "bad":
            raise RuntimeError("a bug")
        return await apply(manifest, workload_uid=workload_uid, generation=generation)  # type: ignore[arg-type]

    stage.cluster.apply = broken  # type: ignore[assignment,method-assign]
    async with stage.running():
        stage.reconciler.desired(assignment(config_map("a"), uid="bad"))
        stage.reconciler.desired(assignment(config_map("b"), uid="good"))
        await stage.pass_time(1)
        assert stage.state("good") is State.AVAILABLE
        found = stage.last("bad")
        assert found is not None
        assert found.state is State.PENDING
        assert "RuntimeError" in found.message
        assert "a bug" not in found.message


async def test_a_reconciler_that_was_stopped_can_go_on() -> None:
    stage = Stage()
    async with stage.running():
        stage.cluster.gate.clear()
        stage.reconciler.desired(assignment(config_map()))
        await until(lambda: stage.cluster.running == 1)
    stage.cluster.gate.set()
    async with stage.running():
        await until(lambda: stage.state() is State.AVAILABLE)
        assert stage.exists("ConfigMap", "settings")
