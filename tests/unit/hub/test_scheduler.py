"""Placement at run time: what is reserved until a child counts it, and who is woken by which room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from arbora.capacity.gpus import GpuClass
from arbora.mirror.exchange import Exchange
from arbora.v1 import member_pb2
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.placement.decide import Decision
from arbora_hub.placement.policy import Policy, Request, Toleration
from arbora_hub.placement.reservations import TTL
from arbora_hub.store.rows import ChildRow, TaintRow
from arbora_hub.workloads.arrivals import COUNTED_SECONDS
from arbora_hub.workloads.places import place_of, rows_of
from arbora_hub.workloads.scheduler import AGAIN_SECONDS, Scheduler
from tests.unit.placement.fleet import ask, pods

ONE = Policy(clusters=1)
OFF = TaintRow("power", "off", "NoExecute", 100.0)
STAYS = Toleration("power", "Exists", effect="NoExecute", seconds=30.0)


def no_price(child: str, gpu_class: GpuClass) -> None:
    return None


def child(name: str, used: int = 0, nodes: int = 1, **facts: Any) -> Child:
    """A member with nodes of 8 H100, filled one after the other."""
    made = Child(row=ChildRow(name, "agent", **facts), exchange=Exchange(1), liveness=Liveness.ONLINE)
    fill(made, used, nodes)
    return made


def fill(one: Child, used: int, nodes: int = 1) -> None:
    free = [min(8, max(0, 8 * (index + 1) - used)) for index in range(nodes)]
    histogram = [free.count(count) for count in range(17)]
    row = member_pb2.SketchRow(
        members=1,
        total=8 * nodes,
        allocatable=8 * nodes,
        used=used,
        free=8 * nodes - used,
        histogram=histogram,
        best=[sum(each // size for each in free) for size in range(1, 17)],
    )
    gpu_class = member_pb2.GpuClass(vendor="nvidia", product="H100", sharing="exclusive")
    one.sketches = {"sketch/h100": member_pb2.Sketch(gpu_class=gpu_class, rows=[row])}


class Hub:
    """A scheduler that is used as the controller does."""

    def __init__(self, *children: Child) -> None:
        self.scheduler = Scheduler(no_price)
        self.children = {one.name: one for one in children}
        for one in children:
            self.reported(one)

    def reported(self, one: Child, now: float = 0.0) -> None:
        self.scheduler.capacity_reported(one, now)
        self.scheduler.place_changed(one, f"/{one.name}", active=True)

    def submit(self, request: Request, now: float = 0.0) -> Decision:
        decision = self.scheduler.decide(request, {}, now)
        self.scheduler.reserve(request, decision, now)
        self.scheduler.remember(request, decision, now)
        return decision

    def place(self, uid: str, now: float = 0.0, **more: Any) -> str:
        """The member that gets a job of 8 GPUs; empty if it waits."""
        decision = self.submit(ask(pods(1, 8), Policy(clusters=1, **more), uid), now)
        return decision.assignments[0][0] if decision.assignments else ""

    def woken(self, name: str, now: float = 0.0) -> list[str]:
        return list(self.scheduler.woken(self.children[name], f"/{name}", now))


def test_what_is_on_its_way_is_not_given_twice() -> None:
    hub = Hub(child("a"))
    assert (hub.place("one"), hub.place("two")) == ("a", "")
    assert hub.scheduler.waiting() == ("two",)
    assert hub.woken("a") == []


def test_gpus_are_given_again_only_when_status_and_gpus_both_say_that_work_arrived() -> None:
    a = child("a", nodes=2)
    hub = Hub(a)
    assert hub.place("one") == "a"
    fill(a, 8, 2)
    hub.reported(a)
    assert hub.place("two") == "", "in use by its report, and reserved still"
    hub.scheduler.arrived("one", "a", 0.1)
    assert hub.scheduler.due(0.1) == ("a",)
    assert hub.woken("a") == ["two"]


def test_a_status_alone_clears_a_reservation_after_a_second() -> None:
    a = child("a", used=8, nodes=2)
    hub = Hub(a)
    assert hub.place("one") == "a"
    # one job ended as the other began: the number in use is the same
    hub.reported(a)
    hub.scheduler.arrived("one", "a", 5.0)
    assert hub.scheduler.due(5.0) == ()
    assert hub.scheduler.rest(5.0) == COUNTED_SECONDS
    assert hub.scheduler.due(5.0 + COUNTED_SECONDS) == ("a",)


def test_growth_is_claimed_once() -> None:
    a = child("a", nodes=3)
    hub = Hub(a)
    assert [hub.place(uid) for uid in ("one", "two", "three")] == ["a", "a", "a"]
    fill(a, 8, 3)
    hub.reported(a)
    hub.scheduler.arrived("one", "a", 0.1)
    hub.scheduler.arrived("two", "a", 0.1)
    assert hub.place("four") == "", "8 are in use; 16 are on their way"
    fill(a, 16, 3)
    hub.reported(a)
    assert hub.place("five") == "", "two and a half are counted, the third is reserved"


def test_growth_of_what_was_settled_without_it_counts_for_nobody_else() -> None:
    a = child("a", nodes=3)
    hub = Hub(a)
    assert hub.place("one") == "a"
    hub.scheduler.arrived("one", "a", 0.0)
    assert hub.scheduler.due(COUNTED_SECONDS) == ("a",)
    assert hub.place("two", 1.1) == "a"
    fill(a, 8, 3)
    hub.reported(a, 1.2)
    hub.scheduler.arrived("two", "a", 5.0)
    assert hub.place("three", 5.0) == "a"
    assert hub.place("four", 5.0) == "", "8 are in use, 16 are on their way"


def test_more_of_a_workload_is_not_counted_by_what_came_before() -> None:
    a = child("a", nodes=2)
    hub = Hub(a)
    assert hub.place("one") == "a"
    hub.scheduler.arrived("one", "a", 0.1)
    assert hub.place("one", 0.2) == "a"
    fill(a, 8, 2)
    hub.reported(a, 0.3)
    assert hub.place("two", 0.4) == "", "8 are in use, and the other 8 are on their way"


def test_work_that_never_arrives_gives_its_room_back_and_wakes_who_waits() -> None:
    hub = Hub(child("a"))
    assert (hub.place("one"), hub.place("two")) == ("a", "")
    assert hub.scheduler.due(TTL - 1.0) == ()
    assert hub.scheduler.rest(TTL - 1.0) == 1.0
    # a decision that comes first does not hide it
    assert hub.submit(ask(pods(1, 16), ONE, "large"), TTL + 1.0).pending == 1
    assert hub.scheduler.due(TTL + 1.0) == ("a",)
    assert hub.woken("a", TTL + 1.0) == ["two"]


def test_a_workload_that_goes_makes_room_and_waits_no_more() -> None:
    hub = Hub(child("a"))
    assert (hub.place("one"), hub.place("two")) == ("a", "")
    hub.scheduler.forget("one")
    assert hub.scheduler.due(1.0) == ("a",)
    assert hub.woken("a") == ["two"]
    hub.scheduler.forget("two")
    assert (hub.woken("a"), hub.scheduler.waiting()) == ([], ())


def test_a_decision_that_could_not_be_stored_is_taken_back() -> None:
    hub = Hub(child("a"))
    request = ask(pods(1, 8), ONE, "one")
    decision = hub.scheduler.decide(request, {}, 0.0)
    hub.scheduler.reserve(request, decision, 0.0)
    hub.scheduler.take_back(request, decision)
    assert hub.place("two") == "a"


def test_the_urgent_are_woken_first_and_what_one_takes_is_gone_for_the_next() -> None:
    hub = Hub(child("a", used=8))
    assert [hub.place("early"), hub.place("urgent", priority=5)] == ["", ""]
    fill(hub.children["a"], 0)
    hub.reported(hub.children["a"])
    woken = hub.scheduler.woken(hub.children["a"], "/a", 0.0)
    assert next(woken) == "urgent"
    assert hub.place("urgent", priority=5) == "a"
    assert list(woken) == []


def test_what_an_earlier_process_heard_is_not_built_on() -> None:
    a = child("a")
    a.restored = True
    hub = Hub(a)
    decision = hub.submit(ask(pods(1, 8), ONE, "one"))
    assert decision.pending == 1
    assert decision.explanation.rejected[0].sentence == "has not reported its capacity since this hub started"
    a.restored = False
    hub.reported(a)
    assert hub.woken("a") == ["one"]


def test_a_member_that_left_gets_nothing() -> None:
    a = child("a")
    hub = Hub(a)
    hub.scheduler.place_changed(a, "/a", active=False)
    assert hub.place("one") == ""


def test_a_toleration_that_runs_out_names_its_workload_at_that_moment_and_once() -> None:
    hub = Hub(child("a", nodes=2, taints=(OFF,)), child("b"))
    assert hub.place("stays", 110.0, tolerations=(STAYS,), members=("a",)) == "a"
    forever = Toleration("power", "Exists")
    assert hub.place("forever", 110.0, tolerations=(forever,), members=("a",)) == "a"
    assert hub.place("elsewhere", 110.0, members=("b",)) == "b"
    assert hub.scheduler.rest(110.0) == 20.0
    assert hub.scheduler.leaving(129.9) == ()
    assert hub.scheduler.leaving(130.0) == ("stays",)
    assert hub.scheduler.leaving(1000.0) == ()


def test_a_taint_that_is_gone_or_a_workload_that_is_gone_names_nobody() -> None:
    a = child("a", nodes=2, taints=(OFF,))
    hub = Hub(a)
    policy = Policy(clusters=1, tolerations=(STAYS,))
    one, two = ask(pods(1, 8), policy, "one"), ask(pods(1, 8), policy, "two")
    assert hub.submit(one, 110.0).assignments == hub.submit(two, 110.0).assignments == (("a", 1),)
    hub.scheduler.forget("two")
    a.row = replace(a.row, taints=())
    hub.reported(a)
    hub.scheduler.remember(one, hub.scheduler.decide(one, {"a": 1}, 115.0), 115.0)
    assert hub.scheduler.leaving(1000.0) == ()


def test_a_taint_that_came_while_a_decision_was_stored_is_seen_soon_after() -> None:
    a = child("a")
    hub = Hub(a)
    request = ask(pods(1, 8), ONE, "one")
    decision = hub.scheduler.decide(request, {}, 110.0)
    hub.scheduler.reserve(request, decision, 110.0)
    a.row = replace(a.row, taints=(OFF,))
    hub.reported(a)
    hub.scheduler.remember(request, decision, 111.0)
    assert hub.scheduler.leaving(111.0) == ()
    assert hub.scheduler.leaving(111.0 + AGAIN_SECONDS) == ("one",)


def test_what_an_earlier_process_placed_leaves_where_it_is() -> None:
    hub = Hub(child("a", taints=(OFF,)), child("b"))
    request = ask(pods(1, 8), Policy(clusters=1, tolerations=(STAYS,)), "one")
    hub.scheduler.watch(request, {"a": 1, "no longer a member": 1}, 110.0)
    assert hub.scheduler.leaving(130.0) == ("one",)


def test_a_place_is_what_the_member_is_and_its_rows_what_it_reported() -> None:
    a = child("a", used=3, labels={"tier": "gold"}, taints=(OFF,), cordoned=True)
    a.liveness = Liveness.LOST
    place = place_of(a, "/eu/a", {})
    assert (place.name, place.path, place.labels["tier"], place.cordoned) == ("a", "/eu/a", "gold", True)
    assert (str(place.taints[0]), place.taints[0].added, place.liveness) == ("power=off:NoExecute", 100.0, "lost")
    (row,) = rows_of(a, lambda name, gpu_class: 2.5)
    assert (row.gpu_class, row.sketch.free, row.price) == (GpuClass("nvidia", "H100"), 5, 2.5)
    a.sketches["sketch/broken"] = member_pb2.Sketch(rows=[member_pb2.SketchRow(total=1)])
    assert len(rows_of(a, no_price)) == 1, "what can't be read is not there"
