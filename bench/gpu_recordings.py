"""Recordings of GPUs made by hand: a load that wavers as real ones do, and faults that nobody has at hand.

    python -m bench.gpu_recordings        writes those that come with the agent

Each says of itself that no device ever said it. Same seed, same bytes. For the bench, the demo and whoever wants
to see what a fault looks like.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from arbora_agent.gpu.reading import Answer, GpuFacts, MigFacts, NodeFacts, Xid
from arbora_agent.gpu.recorded.form import MADE, Entry, Recording, entry_line, head_line

GIB, MIB = 2**30, 2**20
SECONDS = 300
STEP = 10
MADE_BY_HAND = "Made by hand, no device said this: "


def h100s(count: int = 8, prefix: str = "0") -> NodeFacts:
    """An H100 node. prefix: eight hexadecimal digits at most, to tell nodes apart."""
    gpus = tuple(
        GpuFacts(
            uuid=f"GPU-{prefix:0>8}-0000-4000-8000-{index:012x}",
            index=index,
            name="NVIDIA H100 80GB HBM3",
            serial=f"16500230{index:05d}",
            pci_bus_id=f"00000000:{0x1A + 0x10 * index:02X}:00.0",
            minor=index,
            architecture="Hopper",
            compute_capability="9.0",
            memory_bytes=81_559 * MIB,
            pcie_generation_max=5,
            pcie_width_max=16,
        )
        for index in range(count)
    )
    return NodeFacts("570.124.06", "12.8", gpus)


def idle() -> dict[str, Any]:
    """A healthy H100 without work."""
    return {
        "utilization": 0,
        "memory_utilization": 0,
        "memory_used": 4 * MIB,
        "memory_reserved": 625 * MIB,
        "temperature": 31,
        "memory_temperature": 38,
        "temperature_margin": 54,
        "power_mw": 71_000,
        "power_limit_mw": 700_000,
        "energy_mj": 1_000_000_000,
        "sm_clock_mhz": 345,
        "memory_clock_mhz": 2619,
        "throttle_reasons": 1,
        "throttled_heat_ns": 0,
        "throttled_brake_ns": 0,
        "ecc_corrected": 0,
        "ecc_uncorrected": 0,
        "ecc_corrected_aggregate": 0,
        "ecc_uncorrected_aggregate": 0,
        "sram_threshold_exceeded": False,
        "remapped_corrected": 0,
        "remapped_uncorrected": 0,
        "remap_pending": False,
        "remap_failed": False,
        "recovery_action": 0,
        "pcie_generation": 5,
        "pcie_width": 16,
        "pcie_replays": 0,
        "pcie_sent_bytes": 0,
        "pcie_received_bytes": 0,
        "nvlinks_active": 18,
        "nvlink_errors": 0,
        "nvlink_sent_kib": 0,
        "nvlink_received_kib": 0,
        "fabric_health": 1,
        "processes": 0,
    }


def training(chance: random.Random, level: int) -> dict[str, Any]:
    """What changes under a training job at about `level` percent, each reading a little different."""
    busy = max(0, min(100, level + chance.randint(-4, 4)))
    return {
        "utilization": busy,
        "memory_utilization": max(0, busy // 2 + chance.randint(-3, 3)),
        "memory_used": (62_000 + chance.randint(-300, 300)) * MIB,
        "temperature": 58 + busy // 12 + chance.randint(-1, 1),
        "memory_temperature": 66 + busy // 12 + chance.randint(-1, 1),
        "temperature_margin": 20 + chance.randint(-2, 2),
        "power_mw": 250_000 + 4_000 * busy + chance.randint(-15_000, 15_000),
        "sm_clock_mhz": 1_755 + chance.choice((-30, -15, 0, 0, 15)),
        "throttle_reasons": 0,
        "processes": 1,
    }


def steady(seed: int = 1, count: int = 8, seconds: int = SECONDS, prefix: str = "0") -> Recording:
    """A node whose GPUs train, all the time and never quite alike."""
    chance = random.Random(seed)
    facts = h100s(count, prefix)
    entries = [Entry(0.0, facts=facts)]
    entries += [Entry(0.0, uuid=each.uuid, read={**idle(), **training(chance, 92)}) for each in facts.gpus]
    energy = 1_000_000_000
    for second in range(STEP, seconds + 1, STEP):
        energy += 6_000 * STEP
        for each in facts.gpus:
            read = {**training(chance, 92), "energy_mj": energy + each.index}
            entries.append(Entry(float(second), uuid=each.uuid, read=read))
    return Recording(MADE_BY_HAND + f"{count} H100 that train", False, tuple(entries))


def with_fault(
    about: str, changes: Mapping[str, Any], codes: Iterable[int] = (), at: float = 60.0, index: int = 3
) -> Recording:
    """Eight H100 that train; after a minute one of them goes wrong."""
    base = steady(seed=2, seconds=300)
    uuid = h100s().gpus[index].uuid
    lost = changes.get("answer") is not None
    before = [each for each in base.entries if each.at <= at]
    after = [each for each in base.entries if each.at > at and not (lost and each.uuid == uuid)]
    fault = [
        Entry(at, uuid=uuid, read=dict(changes)),
        *(Entry(at, event=Xid(code, uuid)) for code in codes),
    ]
    return Recording(MADE_BY_HAND + about, False, (*before, *fault, *after))


def divided() -> Recording:
    """Two A100, one of them divided; values of instances are not told, as drivers do."""
    mig = tuple(
        MigFacts(f"MIG-00000000-0000-4000-8000-{number:012x}", profile, instance, 0, size * GIB)
        for number, (profile, instance, size) in enumerate((("3g.20gb", 1, 20), ("2g.10gb", 5, 10)))
    )
    gpus = tuple(
        GpuFacts(
            uuid=f"GPU-000000a1-0000-4000-8000-{index:012x}",
            index=index,
            name="NVIDIA A100-SXM4-40GB",
            pci_bus_id=f"00000000:{7 + 8 * index:02X}:00.0",
            minor=index,
            architecture="Ampere",
            compute_capability="8.0",
            memory_bytes=40_960 * MIB,
            mig_enabled=index == 0,
            mig=mig if index == 0 else (),
        )
        for index in range(2)
    )
    not_told = dict.fromkeys(("utilization", "memory_utilization", "remap_pending", "remap_failed"))
    whole = {**idle(), "temperature_margin": None, "fabric_health": None, "nvlinks_active": 12}
    entries = (
        Entry(0.0, facts=NodeFacts("550.90.07", "12.4", gpus)),
        Entry(0.0, uuid=gpus[0].uuid, read={**whole, **not_told, "mig_memory_used": (9 * GIB, 1 * GIB)}),
        Entry(0.0, uuid=gpus[1].uuid, read=whole),
    )
    return Recording(MADE_BY_HAND + "two A100, one of them divided", False, entries)


def library() -> dict[str, Recording]:
    """Those that come with the agent, by name."""
    return {
        "h100x8": steady(),
        "h100x8-xid79": with_fault(
            "one of eight H100 falls off the bus after a minute", {"answer": Answer.LOST}, (79,)
        ),
        "h100x8-remap-failed": with_fault(
            "replacing a row of memory fails on one of eight H100 after a minute",
            {"remap_failed": True, "remapped_uncorrected": 1, "ecc_uncorrected": 1},
            (48, 64),
        ),
        "h100x8-application": with_fault(
            "a program on one of eight H100 reads where it must not", {}, (31, 45, 94)
        ),
        "a100x2-mig": divided(),
    }


def main() -> None:
    """Write them."""
    MADE.mkdir(exist_ok=True)
    for name, recording in library().items():
        lines = [head_line(recording.about, recording.real), *map(entry_line, recording.entries)]
        file = MADE / f"{name}.jsonl"
        file.write_text("".join(lines), encoding="utf-8")
        sys.stdout.write(f"{file.name}: {len(lines)} lines, {file.stat().st_size // 1024} KiB\n")


if __name__ == "__main__":
    main()
