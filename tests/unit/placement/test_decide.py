"""Decisions on small fleets: filters, capacity, gangs, division modes, selection, steadiness, reasons."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arbora.manifests.selectors import parse_selector
from arbora_hub.placement.demand import Demand, GpuWish, PodGroup
from arbora_hub.placement.policy import (
    AffinityGroup,
    Claim,
    Division,
    Policy,
    StaticWeight,
    Toleration,
)
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.rows import LOST, Place, Row, Taint
from arbora_hub.placement.snapshot import Snapshot
from tests.unit.placement.fleet import A100, T4, ask, fleet, member, place, pods, row

ONE = Policy(clusters=1)


def test_without_pods_every_listed_and_selected_child_takes_it() -> None:
    snapshot = Snapshot([member("a"), member("b", labels={"tier": "gold"}), member("c")])
    policy = Policy(members=("a",), selector=parse_selector("tier=gold"))
    assert place(ask(Demand(), policy), snapshot).assignments == (("a", 0), ("b", 0))


def test_pods_without_gpus_run_in_full_on_every_child() -> None:
    assert place(ask(pods(3, 0), Policy()), fleet(a=[], b=[8])).assignments == (("a", 3), ("b", 3))


def test_free_gpus_in_pieces_take_no_large_pod() -> None:
    decision = place(ask(pods(1, 8), ONE), fleet(pieces=[4, 4, 4, 4, 4, 4], whole=[8]))
    assert decision.assignments == (("whole", 1),)
    assert (
        decision.explanation.rejected[0].sentence
        == "has 24 free GPUs, but in pieces too small for a pod of 8 GPUs"
    )


@pytest.mark.parametrize(
    ("facts", "code", "words"),
    [
        ({"cordoned": True}, "CORDONED", "is cordoned"),
        ({"liveness": LOST}, "LOST", "is lost"),
        ({"age": 31.0}, "STALE", "31 s ago"),
        ({"taints": (Taint("gpu", "NoSchedule", "broken"),)}, "TAINTED", "gpu=broken:NoSchedule"),
        ({"taints": (Taint("down", "NoExecute"),)}, "TAINTED_NO_EXECUTE", "down:NoExecute"),
        ({"labels": {"tier": "lead"}}, "LABELS", "does not match tier=gold"),
        ({"kinds": frozenset({"batch/v1/Job"})}, "NO_KIND", "does not serve jobset.x-k8s.io/v1alpha2/JobSet"),
        ({"kinds": None}, "KINDS_UNKNOWN", "has not said"),
        ({"claims": {"eu": "declared"}}, "NOT_COMPLIANT", "does not prove eu"),
    ],
)
def test_what_keeps_a_child_away_is_named(facts: dict[str, object], code: str, words: str) -> None:
    fine = {
        "labels": {"tier": "gold"},
        "kinds": frozenset({"jobset.x-k8s.io/v1alpha2/JobSet"}),
        "claims": {"eu": "attested"},
    }
    snapshot = Snapshot([member("bad", [8], **{**fine, **facts})])
    policy = Policy(
        selector=parse_selector("tier=gold"),
        kinds=("jobset.x-k8s.io/v1alpha2/JobSet",),
        claims=(Claim("eu", hard=True),),
        clusters=1,
    )
    decision = place(ask(pods(1, 8), policy), snapshot)
    assert (decision.assignments, decision.pending) == ((), 1)
    assert decision.explanation.rejected[0].code == code
    assert words in decision.explanation.rejected[0].sentence
    assert decision.reasons and decision.wake


def test_an_expression_selects_by_gpus_and_labels() -> None:
    snapshot = Snapshot([member("a", [8]), member("b", [8], T4), member("c", [2], T4, labels={"x": "y"})])
    policy = Policy(expression="gpus.exists(g, g.product == 'nvidia-tesla-t4' && g.free >= 4)")
    assert place(ask(pods(1), policy), snapshot).assignments == (("b", 1),)
    lacking = place(ask(pods(1), Policy(expression="labels.x == 'y'")), snapshot)
    assert lacking.assignments == (("c", 1),)
    assert {each.code for each in lacking.explanation.rejected} == {"EXPRESSION_BROKEN"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gen in (3,5)", ["b", "c"]),
        ("gen notin (3)", ["a", "c", "d"]),
        ("gen", ["a", "b", "c"]),
        ("!gen", ["d"]),
        ("gen>3", ["c"]),
        ("gen<3", ["a"]),
    ],
)
def test_label_operators(text: str, expected: list[str]) -> None:
    snapshot = Snapshot(
        [*(member(name, labels={"gen": gen}) for name, gen in (("a", "-1"), ("b", "3"), ("c", "5"))), member("d")]
    )
    assert [
        name for name, _ in place(ask(Demand(), Policy(selector=parse_selector(text))), snapshot).assignments
    ] == (expected)


def test_a_toleration_lets_work_in_and_its_seconds_let_it_stay() -> None:
    tainted = Snapshot([member("a", [8], taints=(Taint("down", "NoExecute", added=100.0),)), member("b", [8])])
    policy = Policy(division=Division(), tolerations=(Toleration("down", "Exists", "", "NoExecute", 30.0),))
    request = ask(pods(1), policy)
    assert place(request, tainted, {"a": 1}, now=129.0).assignments == (("a", 1),)
    assert place(request, tainted, {"a": 1}, now=131.0).assignments == (("b", 1),)


def test_a_child_to_be_avoided_if_possible_is_used_when_nothing_else_is() -> None:
    taints = (Taint("old", "PreferNoSchedule"),)
    snapshot = Snapshot([member("avoid", [8, 8], taints=taints), member("fine", [8])])
    assert place(ask(pods(1, 8), ONE), snapshot).assignments == (("fine", 1),)
    assert place(ask(pods(2, 8, gang=True), ONE), snapshot).assignments == (("avoid", 2),)


# gangs


def test_a_gang_goes_whole_to_one_member_or_nowhere() -> None:
    snapshot = fleet(a=[8, 8], b=[8])
    gang = pods(3, 8, gang=True)
    decision = place(ask(gang), snapshot)
    assert (decision.assignments, decision.pending) == ((), 3)
    assert place(ask(replace(gang, splittable=True)), snapshot).pending == 0
    assert place(ask(pods(4, 8, gang=True, splittable=True)), snapshot).assignments == ()


def test_a_gang_must_fit_one_member_below_a_hub() -> None:
    one = row([8, 8, 8, 8]).sketch
    best = (*one.best[:7], 2, *one.best[8:])
    snapshot = Snapshot([(Place("hub"), [Row(row([8]).gpu_class, replace(one, members=2, best=best))])])
    assert place(ask(pods(2, 8, gang=True)), snapshot).assignments == (("hub", 2),)
    assert place(ask(pods(3, 8, gang=True)), snapshot).assignments == ()
    assert place(ask(pods(3, 8)), snapshot).assignments == (("hub", 3),)


def test_pods_of_several_kinds_must_fit_together() -> None:
    both = Demand((PodGroup("a", 1, 8, GpuWish()), PodGroup("b", 2, 4, GpuWish())), gang=True)
    snapshot = fleet(short=[8, 4], enough=[8, 4, 4])
    assert place(ask(both), snapshot).assignments == (("enough", 3),)
    two = Demand((PodGroup("a", 1, 8, GpuWish(product="H100")), PodGroup("b", 1, 1, GpuWish(product="A100"))))
    mixed = Snapshot([member("h", [8]), (Place("both"), [row([8]), row([1], A100)])])
    assert place(ask(two), mixed).assignments == (("both", 2),)


# division


def test_available_divides_by_free_capacity() -> None:
    assert place(ask(pods(12)), fleet(a=[8, 8, 2], b=[8, 4], c=[6])).assignments == (("a", 6), ("b", 4), ("c", 2))


def test_weights_divide_until_a_child_is_full() -> None:
    rules = (StaticWeight(1, "a"), StaticWeight(3, selector=parse_selector("big=yes")))
    policy = Policy(division=Division("weighted", rules))
    snapshot = Snapshot([member("a", [8]), member("b", [8], labels={"big": "yes"}), member("c", [8])])
    assert place(ask(pods(8), policy), snapshot).assignments == (("a", 2), ("b", 6))
    assert place(ask(pods(14), policy), snapshot).assignments == (("a", 6), ("b", 8))


def test_pack_uses_the_fewest_children_and_spread_all() -> None:
    snapshot = fleet(a=[3], b=[8], c=[5])
    assert place(ask(pods(8), Policy(division=Division("pack"))), snapshot).assignments == (("b", 8),)
    assert place(ask(pods(9), Policy(division=Division("spread"))), snapshot).assignments == (
        ("a", 3),
        ("b", 3),
        ("c", 3),
    )


def test_what_does_not_fit_waits_or_everything_does() -> None:
    snapshot = fleet(a=[8], b=[4])
    decision = place(ask(pods(20)), snapshot)
    assert (decision.assignments, decision.pending) == ((("a", 8), ("b", 4)), 8)
    whole = place(ask(pods(20), Policy(division=Division(partial=False))), snapshot)
    assert (whole.assignments, whole.pending) == ((), 20)


def test_a_limit_of_children_takes_those_that_can_hold_it() -> None:
    snapshot = fleet(a=[1], b=[6], c=[5], d=[2])
    decision = place(ask(pods(11), Policy(clusters=2, division=Division())), snapshot)
    assert decision.assignments == (("b", 6), ("c", 5))


def test_with_fewer_children_than_the_minimum_nothing_is_placed() -> None:
    decision = place(ask(pods(4), Policy(minimum=3, division=Division())), fleet(a=[8], b=[8]))
    assert (decision.assignments, decision.pending) == ((), 4)
    assert "at least 3 are asked for" in decision.sentence
    enough = place(ask(pods(4), Policy(minimum=2, division=Division("pack"))), fleet(a=[8], b=[8]))
    assert len(enough.assignments) == 2


# affinity groups


def test_groups_are_tried_in_order() -> None:
    groups = (AffinityGroup("own", ("a",)), AffinityGroup("cloud", ("b", "c")))
    policy = Policy(groups=groups, division=Division(partial=False))
    snapshot = fleet(a=[4], b=[8], c=[8], d=[8])
    assert place(ask(pods(4), policy), snapshot).assignments == (("a", 4),)
    assert place(ask(pods(6), policy), snapshot).assignments == (("b", 3), ("c", 3))


def test_overflow_fills_one_group_before_the_next() -> None:
    groups = (AffinityGroup("own", ("a",)), AffinityGroup("cloud", ("b", "c")))
    policy = Policy(groups=groups, overflow=True, division=Division())
    snapshot = fleet(a=[4], b=[8], c=[8], d=[8])
    assert place(ask(pods(6), policy), snapshot).assignments == (("a", 4), ("b", 1), ("c", 1))
    assert place(ask(pods(30), policy), snapshot).pending == 10


def test_all_or_nothing_counts_over_all_groups_that_overflow() -> None:
    groups = (AffinityGroup("own", ("a",)), AffinityGroup("cloud", ("b",)))
    policy = Policy(groups=groups, overflow=True, minimum=2, division=Division(partial=False))
    assert place(ask(pods(6), policy), fleet(a=[4], b=[8])).assignments == (("a", 4), ("b", 2))
    assert place(ask(pods(13), policy), fleet(a=[4], b=[8])).assignments == ()
    gang = pods(6, gang=True, splittable=True)
    assert place(ask(gang, policy), fleet(a=[4], b=[8])).assignments == (("a", 4), ("b", 2))
    assert place(ask(pods(3), policy), fleet(a=[4], b=[8])).pending == 3


def test_what_is_placed_stays_in_its_group() -> None:
    groups = (AffinityGroup("own", ("a",)), AffinityGroup("cloud", ("b",)))
    request = ask(pods(2), Policy(groups=groups, division=Division()))
    assert place(request, fleet(a=[4], b=[8]), {"b": 2}).assignments == (("b", 2),)


# steadiness


def test_more_replicas_divide_only_what_is_missing() -> None:
    assert place(ask(pods(9)), fleet(a=[2], b=[8, 2], c=[3]), {"a": 4}).assignments == (
        ("a", 5),
        ("b", 3),
        ("c", 1),
    )


def test_fewer_replicas_shrink_in_proportion() -> None:
    assert place(ask(pods(6)), fleet(a=[], b=[], c=[8]), {"a": 8, "b": 4}).assignments == (("a", 4), ("b", 2))


def test_a_cordoned_or_lost_child_keeps_what_it_has() -> None:
    snapshot = Snapshot([member("a", [8], cordoned=True), member("b", [8], liveness=LOST), member("c", [8])])
    decision = place(ask(pods(6)), snapshot, {"a": 2, "b": 2})
    assert decision.assignments == (("a", 2), ("b", 2), ("c", 2))
    assert decision.added == (("c", 2),)


def test_rebalance_divides_anew() -> None:
    request = ask(pods(8))
    snapshot = fleet(a=[0, 0], b=[8])
    assert place(request, snapshot, {"a": 8}).assignments == (("a", 8),)
    assert place(replace(request, rebalance=True), snapshot, {"a": 8}).assignments == (("a", 4), ("b", 4))


def test_an_excluded_child_gives_up_what_it_has() -> None:
    decision = place(ask(pods(2), excluded={"a": "is being drained"}), fleet(a=[8], b=[8]), {"a": 2})
    assert decision.assignments == (("b", 2),)


def test_quota_limits_what_a_child_takes() -> None:
    decision = place(ask(pods(8), quota={"a": 3, "b": 0}), fleet(a=[8], b=[8]))
    assert (decision.assignments, decision.pending) == ((("a", 3),), 5)
    assert decision.explanation.counts == (("QUOTA", 1),)


# reservations


def test_reservations_end_when_the_report_comes_or_after_a_minute() -> None:
    held = Reservations()
    snapshot = fleet(a=[8])
    first = place(ask(pods(1, 8), ONE, "one"), snapshot, reservations=held)
    held.hold("one", pods(1, 8), first.added, 0.0)
    blocked = place(ask(pods(1, 8), ONE, "two"), snapshot, reservations=held)
    assert (blocked.pending, blocked.explanation.counts) == (1, (("RESERVED", 1),))
    assert held.expire(59.9) == ()
    assert held.expire(60.0) == ("a",)
    held.hold("one", pods(1, 8), first.added, 60.0)
    assert held.clear("one", "a") is True
    assert place(ask(pods(1, 8), ONE, "two"), snapshot, reservations=held).pending == 0


def test_a_small_reserved_pod_may_break_a_block() -> None:
    held = Reservations()
    held.hold("small", pods(1, 1), [("a", 1)], 0.0)
    snapshot = fleet(a=[8, 8])
    assert place(ask(pods(2, 8)), snapshot, reservations=held).assignments == (("a", 1),)
    assert place(ask(pods(20, 1)), snapshot, reservations=held).assignments == (("a", 15),)


def test_a_burst_lands_on_every_free_block_once() -> None:
    snapshot = Snapshot(member(f"m{number}", [8] * 4 + [4]) for number in range(100))
    held = Reservations()
    demand = pods(1, 8)
    got: dict[str, int] = {}
    waiting = []
    for number in range(500):
        decision = place(ask(demand, ONE, f"job-{number}"), snapshot, reservations=held)
        held.hold(f"job-{number}", demand, decision.added, 0.0)
        for child, replicas in decision.assignments:
            got[child] = got.get(child, 0) + replicas
        if decision.pending:
            waiting.append(decision)
    assert sum(got.values()) == 400
    assert max(got.values()) == 4
    assert len(waiting) == 100
    assert all(one.reasons == ("of 100 children 100 are reserved for other work",) for one in waiting)
    assert "reservations of 100 children ending" in waiting[0].wake


# the two demonstrations


def test_jobs_go_only_to_members_with_tesla_t4() -> None:
    snapshot = Snapshot(
        [member("a", [8]), member("b", [4], T4), member("c", [2], T4), member("d", [8], A100), member("e")]
    )
    demand = pods(1, 1, GpuWish("nvidia.com/gpu", "NVIDIA-Tesla-T4"))
    for number in range(8):
        decision = place(ask(demand, ONE, f"job-{number}"), snapshot)
        assert {child for child, _ in decision.assignments} <= {"b", "c"}
        assert decision.pending == 0
    assert place(ask(demand), snapshot).explanation.counts == (("NO_SUCH_GPU", 3),)


def test_jobs_go_to_the_member_with_most_free_gpus_as_they_fill_up() -> None:
    snapshot = fleet(a=[5], b=[4], c=[2])
    held = Reservations()
    policy = Policy(clusters=1, weights={"free": 1.0})
    demand = pods(1, 1)
    went = []
    for number in range(11):
        decision = place(ask(demand, policy, f"job-{number}"), snapshot, reservations=held)
        held.hold(f"job-{number}", demand, decision.added, 0.0)
        went.append(decision.assignments[0][0])
    assert went[0] == "a"
    assert {went[1], went[2]} == {"a", "b"}
    left = {"a": 5, "b": 4, "c": 2}
    for child in went:
        assert left[child] == max(left.values())
        left[child] -= 1
    assert set(left.values()) == {0}
