"""Scores: the worked numbers of the design notes, weights, and what happens where nothing is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from arbora.capacity.gpus import GpuClass
from arbora_hub.placement.demand import Demand, GpuWish, PodGroup
from arbora_hub.placement.policy import Claim, Policy, Request
from arbora_hub.placement.ranking import rated
from arbora_hub.placement.registry import SCORERS, weights
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.rows import Place, Row
from arbora_hub.placement.scores.leanings import freshness
from arbora_hub.placement.scores.performance import weighed
from arbora_hub.placement.snapshot import Snapshot
from arbora_hub.placement.world import World
from tests.unit.placement.fleet import ask, member, place, pods, row

PLAIN = Policy()
PIECES, BLOCKS = [8, 4, 4, 2, 2, 2, 1, 1], [8, 8, 8]


def worked(free: list[int], **more: object) -> Row:
    """64 GPUs of which 24 are free; 1000 CPUs and 4000 of memory, 700 and 3000 free."""
    one = row([*free, *[0] * (8 - len(free))])
    numbers = dataclasses.replace(
        one.sketch, allocatable=64, used=40, total=64, free_cpu_millis=700, free_memory_mib=3000
    )
    return dataclasses.replace(
        one, sketch=numbers, allocatable_cpu_millis=1000, allocatable_memory_mib=4000, **more
    )


def world(snapshot: Snapshot, policy: Policy = PLAIN, replicas: int = 4, gpus: int = 2, **more: object) -> World:
    demand = Demand((PodGroup("w", replicas, gpus, GpuWish(), 16, 128),))
    return World(Request("uid", policy, demand, **more), snapshot, {}, Reservations(), 0.0)  # type: ignore[arg-type]


def scores(name: str, of: World) -> dict[str, float]:
    found = next(one for one in SCORERS if one.name == name).scores(of)
    return {each.name: float(found[of.snapshot.slot(each.name) or 0]) for each in of.snapshot}


def test_whole_blocks_beat_pieces_for_the_resource_score() -> None:
    snapshot = Snapshot([(Place("pieces"), [worked(PIECES)]), (Place("blocks"), [worked(BLOCKS)])])
    found = scores("resource", world(snapshot))
    assert round(found["pieces"], 1) == 65.3
    assert round(found["blocks"], 1) == 80.3


def test_the_worked_totals_of_two_members() -> None:
    fast = Place("fast", rtt_ms=40.0, hops=0, claims={"a": "attested", "b": "declared"})
    slow = Place("slow", rtt_ms=120.0, hops=2, claims={"a": "attested", "b": "attested"})
    speeds = {"fast": GpuClass("nvidia", "H100"), "slow": GpuClass("nvidia", "H100")}
    rows = {
        "fast": worked(PIECES, throttled=0.0, wait_seconds=600.0, domain_free=4, price=40.0 / 8),
        "slow": worked(BLOCKS, throttled=0.125, wait_seconds=0.0, domain_free=8, price=24.0 / 8),
    }
    snapshot = Snapshot(
        (place, [dataclasses.replace(rows[place.name], gpu_class=speeds[place.name])]) for place in (fast, slow)
    )
    policy = Policy(claims=(Claim("a", 2.0), Claim("b", 1.0)))
    of = world(snapshot, policy, transfer_seconds={"slow": 300.0})
    parts = {part.name: part for part in rated(of).parts}
    assert {n: round(v, 2) for n, v in scores("cost", of).items()} == {"fast": 60.0, "slow": 100.0}
    assert round(scores("compliance", of)["fast"], 2) == round(100 * 2.5 / 3, 2)
    assert {n: round(v, 2) for n, v in scores("topology", of).items()} == {"fast": 75.0, "slow": 62.67}
    performance = {
        "fast": weighed(
            [
                (0.4, np.array([1.0])),
                (0.2, np.array([1.0])),
                (0.25, np.array([1 / 3])),
                (0.15, np.array([460 / 495])),
            ]
        )[0],
        "slow": weighed(
            [
                (0.4, np.array([0.45])),
                (0.2, np.array([0.875])),
                (0.25, np.array([1.0])),
                (0.15, np.array([380 / 495])),
            ]
        )[0],
    }
    total = {
        name: sum(
            part.weight
            * (performance[name] if part.name == "performance" else part.scores[snapshot.slot(name) or 0])
            for part in parts.values()
        )
        for name in ("fast", "slow")
    }
    assert {name: round(float(value), 2) for name, value in total.items()} == {"fast": 72.15, "slow": 83.35}


def test_a_faster_class_scores_higher_in_proportion() -> None:
    snapshot = Snapshot([member("h", [8]), member("a", [8], GpuClass("nvidia", "NVIDIA-A100-SXM4-80GB"))])
    found = scores("performance", world(snapshot))
    assert found["h"] == 100.0
    assert found["a"] == pytest.approx(100 * 312 / 989)


def test_setting_one_weight_rescales_the_others() -> None:
    assert weights({"cost": 0.3}) == pytest.approx(
        {"resource": 0.2625, "performance": 0.21875, "cost": 0.3, "compliance": 0.13125, "topology": 0.0875}
    )
    assert sum(weights({"cost": 0.3, "free": 0.5}).values()) == pytest.approx(1.0)
    assert weights({"free": 1.0}) == {"free": 1.0}


def test_what_is_not_known_scores_50_with_a_reason() -> None:
    snapshot = Snapshot([member("a", [8]), member("b", [8])])
    parts = {part.name: part for part in place(ask(pods(1, 8)), snapshot).explanation.scored[0].parts}
    assert (parts["cost"].score, parts["cost"].reason) == (50.0, "its prices are not known")
    assert parts["resource"].reason == ""


def test_a_member_without_a_price_is_taken_to_cost_the_median() -> None:
    rows = [row([8], price=price) for price in (1.0, 2.0, 4.0, None)]
    snapshot = Snapshot((Place(name), [one]) for name, one in zip("abcd", rows, strict=True))
    assert scores("cost", world(snapshot)) == {"a": 100.0, "b": 50.0, "c": 25.0, "d": 50.0}


def test_free_hardware_costs_nothing_and_scores_100() -> None:
    snapshot = Snapshot([(Place("a"), [row([8], price=0.0)]), (Place("b"), [row([8], price=0.0)])])
    assert scores("cost", world(snapshot)) == {"a": 100.0, "b": 100.0}


def test_an_old_report_halves_the_total_at_three_intervals() -> None:
    snapshot = Snapshot(
        [member(name, [8], age=age) for name, age in (("new", 10.0), ("old", 20.0), ("older", 30.0))]
    )
    found = freshness(world(snapshot))
    assert [float(found[snapshot.slot(name) or 0]) for name in ("new", "old", "older")] == [1.0, 0.75, 0.5]
