"""Drift: what counts as one, how it is put right, and when we give way."""

from __future__ import annotations

import pytest

from arbora.workloads.model import State
from arbora_agent.cluster.port import ANNOTATION_GENERATION, LABEL_WORKLOAD
from arbora_agent.workloads.drift import LONGEST_DELAY, QUIET, Repairs, differences, remember
from tests.unit.agent.stage import Stage, assignment, config_map, deployment, ref, until

MARKS = {"labels": {LABEL_WORKLOAD: "w"}, "annotations": {ANNOTATION_GENERATION: "1"}}


def test_what_the_server_filled_in_or_normalised_is_no_drift() -> None:
    manifest = {"kind": "Service", "spec": {"ports": [{"port": 80}], "cpu": "1000m"}}
    stored = {
        "metadata": MARKS,
        "spec": {"ports": [{"port": 80, "protocol": "TCP"}], "cpu": "1", "clusterIP": "10.0.0.1"},
    }
    later = {**stored, "spec": {**stored["spec"], "clusterIP": "10.0.0.2"}, "status": {"x": 1}}
    assert differences(remember(manifest, stored), later) == ()


def test_a_changed_path_is_named() -> None:
    manifest = {"spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "a", "image": "one"}]}}}}
    stored = {"metadata": MARKS, **manifest}
    later = {"metadata": MARKS, "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "two"}]}}}}
    expectation = remember(manifest, stored)
    assert differences(expectation, later) == ("spec.replicas", "spec.template.spec.containers[a].image")


def test_a_container_that_somebody_injects_is_no_drift_and_one_that_is_gone_is() -> None:
    manifest = {"spec": {"containers": [{"name": "a", "image": "one"}]}}
    stored = {"metadata": MARKS, **manifest}
    injected = {"metadata": MARKS, "spec": {"containers": [{"name": "mesh"}, {"name": "a", "image": "one"}]}}
    replaced = {"metadata": MARKS, "spec": {"containers": [{"name": "mesh"}]}}
    assert differences(remember(manifest, stored), injected) == ()
    assert differences(remember(manifest, stored), replaced) == ("spec.containers",)


def test_an_item_more_in_a_list_of_values_is_drift() -> None:
    manifest = {"spec": {"args": ["a"]}}
    expectation = remember(manifest, {"metadata": MARKS, **manifest})
    assert differences(expectation, {"metadata": MARKS, "spec": {"args": ["a", "b"]}}) == ("spec.args",)


def test_our_own_marks_are_held_on_to_and_other_metadata_is_not() -> None:
    manifest = {"metadata": {"name": "x", "labels": {"app": "x"}}}
    stored = {"metadata": {**MARKS, "labels": {"app": "x", **MARKS["labels"]}, "resourceVersion": "1"}}
    relabelled = {"metadata": {**stored["metadata"], "annotations": {}, "resourceVersion": "2"}}
    touched = {"metadata": {**stored["metadata"], "resourceVersion": "2", "finalizers": ["x"]}}
    assert differences(remember(manifest, stored), relabelled) == (
        f"metadata.annotations.{ANNOTATION_GENERATION}",
    )
    assert differences(remember(manifest, stored), touched) == ()


def test_a_secret_written_as_text_is_held_on_to_as_data() -> None:
    manifest = {"kind": "Secret", "stringData": {"key": "value"}}
    expectation = remember(manifest, {"metadata": MARKS, "data": {"key": "dmFsdWU="}})
    assert differences(expectation, {"metadata": MARKS, "data": {"key": "b3RoZXI="}}) == ("data.key",)


def test_repairs_come_slower_and_slower_until_it_is_quiet() -> None:
    repairs, now, waits = Repairs(), 1_000.0, []
    for _ in range(12):
        now = max(now, repairs.due())
        repairs = repairs.made(now)
        waits.append(repairs.due() - now)
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == LONGEST_DELAY
    assert repairs.made(now + QUIET + 1).count == 1


async def test_a_changed_object_is_put_back_and_told() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(deployment("serve", replicas=2)))
        await stage.pass_time(1)
        stage.simulation.change(ref("Deployment", "serve"), {"spec": {"replicas": 9}})
        await stage.pass_time(0)
        stored = stage.simulation.read(ref("Deployment", "serve"))
        assert stored is not None
        assert stored["spec"]["replicas"] == 2
    assert [event[:3] for event in stage.events] == [("normal", "DriftRepaired", "workload/name-of-w")]
    assert "Deployment default/serve was changed from outside (spec.replicas); put back" in stage.events[0][3]


async def test_what_others_add_is_left_alone() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map()))
        await until(lambda: stage.last() is not None)
        theirs = {"metadata": {"annotations": {"their.tool": "x"}}, "data": {"theirs": "x"}}
        stage.simulation.change(ref("ConfigMap", "settings"), theirs)
        await stage.pass_time(600)
        stored = stage.simulation.read(ref("ConfigMap", "settings"))
    assert stored is not None
    assert stored["data"] == {"colour": "green", "theirs": "x"}
    assert stage.events == []


async def test_a_vanished_object_is_created_again() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map()))
        await until(lambda: stage.last() is not None)
        stage.simulation.remove(ref("ConfigMap", "settings"))
        await stage.pass_time(0.1)
        assert stage.exists("ConfigMap", "settings")
        assert stage.state() is State.AVAILABLE
    assert stage.reasons() == ["DriftRepaired"]


async def test_drift_made_while_the_api_server_was_away_is_put_right_afterwards() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map()))
        await until(lambda: stage.last() is not None)
        stage.simulation.fail_api(seconds=120)
        stage.simulation.change(ref("ConfigMap", "settings"), {"data": {"colour": "red"}})
        await stage.pass_time(60)
        assert stage.cluster.requests == ["apply ConfigMap settings"]
        await stage.pass_time(61)
        stored = stage.simulation.read(ref("ConfigMap", "settings"))
    assert stored is not None
    assert stored["data"] == {"colour": "green"}


async def test_somebody_who_keeps_changing_an_object_is_answered_less_and_less_often() -> None:
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(config_map()))
        await stage.pass_time(1)
        for _ in range(300):
            stage.simulation.change(ref("ConfigMap", "settings"), {"data": {"colour": "red"}})
            await stage.pass_time(1)
        found = stage.last()
        assert found is not None
        assert found.state is State.DEGRADED
        assert "again and again: data.colour" in found.message
    assert 8 <= stage.reasons().count("DriftRepaired") <= 10


@pytest.mark.parametrize("finalizer", [None, "example.com/hold"])
async def test_an_object_that_somebody_deletes_comes_back_once_it_is_gone(finalizer: str | None) -> None:
    manifest = config_map()
    if finalizer:
        manifest["metadata"]["finalizers"] = [finalizer]
    async with Stage().running() as stage:
        stage.reconciler.desired(assignment(manifest))
        await stage.pass_time(1)
        before = stage.simulation.read(ref("ConfigMap", "settings"))
        stage.simulation.remove(ref("ConfigMap", "settings"))
        await stage.pass_time(1)
        if finalizer:
            assert stage.state() is State.PROGRESSING
            stage.simulation.change(ref("ConfigMap", "settings"), {"metadata": {"finalizers": None}})
            await stage.pass_time(1)
        after = stage.simulation.read(ref("ConfigMap", "settings"))
        assert before is not None
        assert after is not None
        assert before["metadata"]["uid"] != after["metadata"]["uid"]
        assert stage.state() is State.AVAILABLE
