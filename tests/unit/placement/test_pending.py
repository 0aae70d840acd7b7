"""Who is woken by a change: exactly those who could use it, the most urgent first."""

from __future__ import annotations

from arbora.manifests.selectors import parse_selector
from arbora_hub.placement.demand import GpuWish
from arbora_hub.placement.pending import Pending
from arbora_hub.placement.policy import Policy, Request
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.snapshot import Snapshot
from tests.unit.placement.fleet import A100, ask, fleet, member, place, pods

ONE = Policy(clusters=1)


def waiting(*requests: Request) -> Pending:
    pending = Pending()
    for number, request in enumerate(requests):
        pending.add(request, float(number))
    return pending


def woken(pending: Pending, name: str, free: list[int], **facts: object) -> list[str]:
    place_, rows = member(name, free, **facts)  # type: ignore[arg-type]
    return [request.uid for request in pending.woken(place_, rows, Reservations(), 0.0)]


def test_only_those_whose_class_size_and_labels_fit_are_woken() -> None:
    pending = waiting(
        ask(pods(1, 8), ONE, "eight"),
        ask(pods(1, 4), ONE, "four"),
        ask(pods(1, 1, GpuWish(product="A100")), ONE, "other-class"),
        ask(pods(1, 1), Policy(selector=parse_selector("tier=gold"), clusters=1), "gold"),
        ask(pods(2, 4, gang=True), ONE, "gang"),
    )
    assert woken(pending, "a", [4]) == ["four"]
    assert woken(pending, "a", [4, 4]) == ["four", "gang"]
    assert woken(pending, "a", [8], labels={"tier": "gold"}) == ["eight", "four", "gold", "gang"]
    assert [one.uid for one in pending.woken(*member("a", [4], A100), Reservations(), 0.0)] == [
        "four",
        "other-class",
    ]
    assert woken(pending, "a", [8], cordoned=True) == []


def test_priority_goes_first_then_who_waits_longest() -> None:
    pending = waiting(
        ask(pods(1), ONE, "first"),
        ask(pods(1), ONE, "second"),
        ask(pods(1), Policy(clusters=1, priority=5), "urgent"),
    )
    assert woken(pending, "a", [8]) == ["urgent", "first", "second"]
    pending.add(ask(pods(1), ONE, "first"), 99.0)
    assert [one.request.uid for one in pending.queue()] == ["urgent", "first", "second"]


def test_a_freed_block_wakes_one_job_and_not_the_queue_behind_it() -> None:
    pending = waiting(*(ask(pods(1, 8), ONE, f"job-{number}") for number in range(50)))
    held, snapshot = Reservations(), fleet(full=[0], freed=[8])
    place_, rows = member("freed", [8])
    decided = []
    for request in pending.woken(place_, rows, held, 0.0):
        decision = place(request, snapshot, reservations=held)
        held.hold(request.uid, request.demand, decision.added, 0.0)
        pending.remove(request.uid)
        decided.append((request.uid, decision.pending))
    assert decided == [("job-0", 0)]
    assert len(pending) == 49


def test_a_snapshot_follows_one_child_without_the_others() -> None:
    snapshot = Snapshot(member(f"m{number}", [8]) for number in range(100))
    request = ask(pods(1, 8), Policy(members=("m7",), clusters=1))
    assert place(request, snapshot).assignments == (("m7", 1),)
    snapshot.replace(*member("m7", [4, 4]))
    assert place(request, snapshot).pending == 1
    for number in range(90):
        snapshot.replace(*member(f"m{number}", [4, 4] if number == 7 else [8], labels={"x": str(number)}))
        snapshot.remove(f"m{number + 10}") if number >= 80 else None
    place_, rows = member("m7", [8])
    snapshot.replace(place_, [*rows, *member("m7", [2], A100)[1]])
    assert place(request, snapshot).assignments == (("m7", 1),)
    assert len(snapshot) == 90
    assert len(list(snapshot)) == 90
