"""How long a placement decision takes, without a hub around it: part `decisions`.

    one decision over 10,000 rows (10,000 children, or 2,500 with 4 classes each), all default plugins
    one decision over 100 members
    one child's change, and the decision after it
    a burst of 500 jobs over 1,000 members, each reserving what it got

`python -m bench.placement_decisions` prints them by themselves.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable
from typing import TypeAlias

from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import sketch
from arbora.manifests.selectors import parse_selector
from arbora_hub.placement.decide import decide
from arbora_hub.placement.demand import Demand, GpuWish, PodGroup
from arbora_hub.placement.policy import Division, Policy, Request
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.rows import Place, Row
from arbora_hub.placement.snapshot import Snapshot
from bench.report import Report

PRODUCTS = ("H100", "A100", "L4", "T4")
DIVIDED = Policy(
    selector=parse_selector("tier in (gold,silver)"), division=Division(), clusters=10, weights={"cost": 0.3}
)
ONE = Policy(clusters=1)
FLEETS = (
    ("10000_rows", "10,000 rows of 10,000 children", 10_000, 1, 10.0),
    ("2500_children", "10,000 rows of 2,500 children", 2_500, 4, 10.0),
    ("100_members", "100 members", 100, 1, 1.0),
)
"""Id, title, children, GPU classes of each, and the target in milliseconds."""
ASKED = (("one_job", "1 job"), ("divided", "16 pods"))
CHANGED = ", a child just changed"
BURST = "burst of 500 jobs, 1,000 members"
Figures: TypeAlias = dict[str, float]


def child(number: int, classes: int) -> tuple[Place, list[Row]]:
    """A made-up member: its numbers follow from `number` alone."""
    place = Place(
        f"member-{number}",
        {"zone": f"z{number % 7}", "tier": ("gold", "silver", "lead")[number % 3]},
        age=float(number % 12),
        hops=number % 3,
        rtt_ms=float(number % 90),
    )
    return place, [
        _row(number + index, PRODUCTS[(number + index) % 4 if classes == 1 else index])
        for index in range(classes)
    ]


def _row(number: int, product: str) -> Row:
    gpu_class = GpuClass("nvidia", product)
    nodes = [
        NodeGpus(f"n{index}", gpu_class, 8, 8, (number * 5 + index * 3) % 9, True, 64_000, 512_000)
        for index in range(3 + number % 4)
    ]
    return Row(gpu_class, sketch(nodes, {})[gpu_class], price=1.0 + number % 5, wait_seconds=float(number % 600))


def percentiles(
    run: Callable[[int], object], times: int, before: Callable[[int], object] | None = None
) -> Figures:
    """p50 and p99 in milliseconds of `run(0)`, `run(1)` ..., after one run that does not count.

    before: runs before each, outside of the measured time. `cpu_p99_ms` is free of what else the machine did.
    """
    run(times)
    gc.collect()
    wall, cpu = [], []
    for number in range(times):
        if before is not None:
            before(number)
        begun, used = time.perf_counter(), time.thread_time()
        run(number)
        cpu.append((time.thread_time() - used) * 1000)
        wall.append((time.perf_counter() - begun) * 1000)
    return {
        "n": float(times),
        "p50_ms": round(statistics.median(wall), 3),
        "p99_ms": round(statistics.quantiles(wall, n=100)[98], 3),
        "cpu_p99_ms": round(statistics.quantiles(cpu, n=100)[98], 3),
    }


def measure() -> dict[str, Figures]:
    """All figures."""
    figures: dict[str, Figures] = {}
    pods = Demand((PodGroup("workers", 16, 4, GpuWish(product="H100"), 8_000, 64_000),))
    job = Demand((PodGroup("job", 1, 8, GpuWish(), 8_000, 64_000),))
    for _id, title, children, classes, _target in FLEETS:
        figures |= _of_fleet(title, children, classes, {"16 pods": (DIVIDED, pods), "1 job": (ONE, job)})
    figures[BURST] = _burst(job)
    return figures


async def run(report: Report) -> None:
    """Tell them as the topic `placement` does. Nothing else runs in this process meanwhile."""
    report.say("decisions: in this process")
    figures = await asyncio.to_thread(measure)
    for id, title, _children, _classes, target in FLEETS:
        for name, what in ASKED:
            one, still = figures[f"{title}: {what}{CHANGED}"], figures[f"{title}: {what}"]
            how = (
                f"one decision on {what} with all default filters and scorers over {title}, one of which changed "
                f"just before; wall time; n={one['n']:g}, p50 {one['p50_ms']:g}, CPU p99 {one['cpu_p99_ms']:g}; "
                f"p99 with nothing changed {still['p99_ms']:g}"
            )
            report.figure(f"decision.{id}.{name}.p99", one["p99_ms"], "ms", how, at_most=target)
    burst = figures[BURST]
    how = f"{BURST}, each reserves what it got; one thread, nothing stored; {burst['placed']:g} placed"
    report.figure("decision.burst", burst["decisions_per_s"], "1/s", how)


def _of_fleet(
    title: str, children: int, classes: int, asked: dict[str, tuple[Policy, Demand]]
) -> dict[str, Figures]:
    snapshot, nothing = Snapshot(child(number, classes) for number in range(children)), Reservations()
    times = 300 if children > 1000 else 1000
    fresh = [child(number * 7 % children, classes) for number in range(times + 1)]
    figures = {}

    def change(number: int) -> None:
        snapshot.replace(*fresh[number])

    for what, (policy, demand) in asked.items():

        def one(number: int, policy: Policy = policy, demand: Demand = demand) -> None:
            decide(Request(f"uid-{number}", policy, demand), snapshot, {}, nothing, 0.0)

        figures[f"{title}: {what}"] = percentiles(one, times)
        figures[f"{title}: {what}, a child just changed"] = percentiles(one, times, change)
    figures[f"{title}: one child replaced"] = percentiles(change, times)
    return figures


def _burst(job: Demand) -> Figures:
    snapshot, held = Snapshot(child(number, 1) for number in range(1000)), Reservations()
    gc.collect()
    begun = time.perf_counter()
    placed = 0
    for number in range(500):
        decision = decide(Request(f"job-{number}", ONE, job), snapshot, {}, held, 0.0)
        held.hold(decision.uid, job, decision.added, 0.0)
        placed += len(decision.assignments)
    return {"decisions_per_s": round(500 / (time.perf_counter() - begun), 1), "placed": float(placed)}


if __name__ == "__main__":
    for title, figure in measure().items():
        print(f"{title:55}", "  ".join(f"{name} {value:g}" for name, value in figure.items()))
