"""A GPU type filters, else the most free GPUs win; and everybody else has a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arbora_hub.kubernetes.multikueue.asking import read_wish
from arbora_hub.kubernetes.multikueue.choosing import Candidate, Choice, Ground, choose
from arbora_hub.kubernetes.multikueue.members import FleetMember, coarse_row
from arbora_hub.placement.reservations import Reservations
from tests.support.kueue_fleets import A100, T4, member
from tests.unit.multikueue.test_asking import affinity, pods, workload

SMALL = member("/small", (T4, 4, 4))
LARGE = member("/large", (A100, 16, 12))
FULL = member("/full", (A100, 32, 0))


def chosen(
    *members: FleetMember,
    item: Mapping[str, Any] | None = None,
    closed: Mapping[str, str] | None = None,
    tried: Mapping[str, str] | None = None,
    reservations: Reservations | None = None,
) -> Choice:
    ground = Ground(Candidate(one.path[1:], one, (closed or {}).get(one.path, "")) for one in members)
    return choose(
        "uid",
        read_wish(item or workload()),
        [one.path[1:] for one in members],
        ground,
        reservations or Reservations(),
        {"free": 1.0},
        tried or {},
        0.0,
    )


def test_a_job_for_a_gpu_type_goes_where_that_type_is_however_full_others_are_not() -> None:
    choice = chosen(SMALL, LARGE, item=workload(pods(nodeSelector={"nvidia.com/gpu.product": "Tesla-T4"})))
    assert choice.clusters == ("small",)
    assert choice.reserved == (("small", 1),)
    assert choice.why_not == (("/large", "has no nvidia.com/gpu (Tesla-T4)"),)


def test_a_job_for_any_gpu_goes_where_most_are_free() -> None:
    choice = chosen(SMALL, LARGE, FULL)
    assert choice.clusters == ("large",)
    assert choice.sentence == "/large is best, before 1 other with room"
    assert choice.why_not == (("/full", "has 0 free GPUs, too few for a pod of 1 GPUs"),)


def test_one_of_several_types_never_goes_where_there_is_none_of_them() -> None:
    choice = chosen(SMALL, LARGE, item=workload(pods(affinity=affinity("Tesla-T4", "NVIDIA-L4"))))
    assert choice.clusters == ("small",)
    assert choice.why_not == (("/large", "has none of NVIDIA-L4, Tesla-T4"),)


def test_a_burst_is_spread_by_what_was_reserved() -> None:
    reservations, wish = Reservations(), read_wish(workload(pods(gpus=4)))
    reservations.hold("before", wish.demand, [("large", 1)], 0.0)
    reservations.hold("before", wish.demand, [("large", 1)], 0.0)
    reservations.hold("before", wish.demand, [("large", 1)], 0.0)
    assert chosen(SMALL, LARGE, reservations=reservations).clusters == ("small",)


def test_where_none_has_room_all_that_could_ever_take_it_are_asked() -> None:
    busy = member("/busy", (A100, 8, 0))
    choice = chosen(FULL, busy, SMALL, item=workload(pods(gpus=8)))
    assert choice.clusters == ("busy", "full")
    assert not choice.reserved
    assert "no room now; the first of /busy, /full to admit it gets it" in choice.sentence


def test_who_did_not_answer_is_not_asked_alone_again() -> None:
    tried = {"large": "did not admit it within 60 s"}
    choice = chosen(SMALL, LARGE, tried=tried)
    assert choice.clusters == ("small",)
    assert dict(choice.why_not)["/large"] == "did not admit it within 60 s"
    assert chosen(SMALL, LARGE, tried={**tried, "small": "the same"}).clusters == ("large", "small")


def test_who_is_closed_or_lost_is_not_asked_and_with_nobody_left_nobody_is() -> None:
    lost = member("/lost", (A100, 16, 16), liveness="lost")
    choice = chosen(SMALL, lost, closed={"/small": "is to leave the Fleet"})
    assert choice.clusters == ()
    assert dict(choice.why_not) == {"/lost": "is lost", "/small": "is to leave the Fleet"}
    assert choice.sentence == "no member can take it"


def test_where_only_sums_are_known_free_gpus_are_taken_to_stand_together() -> None:
    row = coarse_row(A100, 20, 11)
    assert (row.sketch.total, row.sketch.free, row.sketch.fit(8), row.sketch.fit(1)) == (20, 11, 1, 11)
    assert coarse_row(A100, 0, 0).sketch.total == 0
