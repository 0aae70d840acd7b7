"""What is due for one assignment, moment by moment, where the reconciler's own tests don't reach."""

from __future__ import annotations

from typing import Any

from arbora.manifests.objects import ref_of
from arbora.workloads.model import State
from arbora_agent.cluster.port import OwnedObject
from arbora_agent.workloads.plan import Identity
from arbora_agent.workloads.progress import RETRY_REJECTED, Progress, by_identity
from tests.unit.agent.stage import assignment, config_map

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
}
WIDGET = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}}


def live(manifest: dict[str, Any], *, generation: int = 1, version: str = "1", **fields: Any) -> OwnedObject:
    return OwnedObject(ref_of(manifest), "w", generation, "uid", version, {**manifest, **fields})


def due_names(progress: Progress, owned: list[OwnedObject], now: float) -> list[str]:
    return [item.ref.name for group in progress.due(by_identity(owned), now).apply for item in group]


def test_a_refused_object_is_tried_again_when_a_definition_becomes_ready() -> None:
    progress = Progress(assignment(CRD, WIDGET))
    definition, widget = progress.items
    assert due_names(progress, [], 0) == ["widgets.example.com", "one"]
    progress.applied(definition, live(CRD), 0)
    progress.rejected(widget, "no kind Widget", 0)
    waiting = progress.due(by_identity([live(CRD)]), 1)
    assert (waiting.apply, waiting.look_at) == ((), RETRY_REJECTED)
    established = live(CRD, status={"conditions": [{"type": "Established", "status": "True"}]})
    assert due_names(progress, [established], 2) == ["one"]
    progress.rejected(widget, "no kind Widget", 2)
    assert due_names(progress, [established], 3) == []


def test_only_new_words_of_a_refusal_are_news() -> None:
    progress = Progress(assignment(WIDGET))
    (widget,) = progress.items
    assert progress.rejected(widget, "no kind Widget", 0)
    assert not progress.rejected(widget, "no kind Widget", 300)
    assert progress.rejected(widget, "forbidden", 600)


def test_what_could_not_be_reached_does_not_keep_the_rest_of_its_class_waiting() -> None:
    progress = Progress(assignment(config_map("a"), config_map("b")))
    progress.missed(progress.items[0])
    assert due_names(progress, [], 0) == ["b", "a"]


def test_an_object_that_a_newer_agent_applied_is_not_fought_over() -> None:
    manifest = config_map("a", colour="green")
    progress = Progress(assignment(manifest))
    progress.applied(progress.items[0], live(manifest), 0)
    newer = live({**manifest, "data": {"colour": "blue"}}, generation=2, version="2")
    assert due_names(progress, [newer], 1) == []


def test_an_object_of_this_generation_counts_after_a_restart_even_before_it_is_applied_again() -> None:
    progress = Progress(assignment(config_map("a"), config_map("b"), generation=4))
    present = [live(config_map("a"), generation=4), live(config_map("b"), generation=3)]
    assert [each.state for each in progress.status(present).objects] == [State.AVAILABLE, State.PENDING]


def test_a_workload_without_manifests_says_so() -> None:
    status = Progress(assignment()).status([])
    assert status.state is State.PENDING
    assert "no manifests" in status.message


def test_the_message_of_the_whole_names_the_worst_part() -> None:
    progress = Progress(assignment(config_map("a"), WIDGET))
    ok, bad = progress.items
    progress.applied(ok, live(config_map("a")), 0)
    progress.rejected(bad, "x" * 5_000, 0)
    status = progress.status([live(config_map("a"))])
    assert status.message.startswith("Widget one: xxx")
    assert len(status.message) <= 1_024
    assert Identity.of(status.objects[0].ref) == ok.identity


def test_a_refused_deletion_is_shown_and_tried_again_later() -> None:
    progress = Progress(assignment(generation=2, withdrawn=True))
    target = live(config_map("a"))
    assert progress.to_delete([target], 0) == ((target,),)
    progress.deleting(target, 0, "a webhook says no")
    assert progress.to_delete([target], 1) == ()
    assert progress.delete_again_at([target]) == RETRY_REJECTED
    assert progress.delete_again_at([]) is None
    assert progress.status([target]).message == "ConfigMap a: a webhook says no"
    assert progress.to_delete([target], RETRY_REJECTED) == ((target,),)
