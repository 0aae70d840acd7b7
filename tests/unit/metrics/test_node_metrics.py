"""What a node agent shows to Prometheus, from what its devices said."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora_agent.gpu.reading import Answer, GpuReading, MigFacts, NodeFacts, Xid
from arbora_agent.node_agent.metrics import Snapshot, families, snapshot_of
from arbora_agent.node_agent.series import COUNTED, DCGM_COUNTED, DCGM_NOW, NOW
from arbora_agent.node_agent.watch import MIB, NodeWatch
from tests.support.gpus import H100, facts_of, uuid_of
from tests.support.metrics import Shown, shown

FULL = GpuReading(
    uuid_of("n", 0),
    utilization=91,
    memory_utilization=44,
    memory_used=60_000 * MIB,
    memory_reserved=600 * MIB,
    temperature=66,
    memory_temperature=73,
    power_mw=611_889,
    power_limit_mw=700_000,
    energy_mj=1_000_060_000,
    sm_clock_mhz=1770,
    memory_clock_mhz=2619,
    throttled_heat_ns=2_500_000_000,
    throttled_brake_ns=0,
    ecc_corrected=1,
    ecc_uncorrected=2,
    ecc_corrected_aggregate=3,
    ecc_uncorrected_aggregate=4,
    remapped_corrected=5,
    remapped_uncorrected=6,
    remap_pending=True,
    remap_failed=False,
    recovery_action=0,
    pcie_replays=7,
    pcie_sent_bytes=8,
    pcie_received_bytes=9,
    nvlinks_active=18,
    nvlink_errors=10,
    nvlink_sent_kib=11,
    nvlink_received_kib=12,
    processes=2,
)
"""Everything that a device can offer."""
NUMBERS = [each.name for each in fields(GpuReading) if each.default is None]
LABELS = {
    "gpu": "0",
    "UUID": uuid_of("n", 0),
    "pci_bus_id": "00000000:01:00.0",
    "device": "nvidia0",
    "modelName": H100,
    "Hostname": "h100-0",
    "DCGM_FI_DRIVER_VERSION": "570.86.10",
}
DCGM = {
    "SM_CLOCK": 1770,
    "MEM_CLOCK": 2619,
    "MEMORY_TEMP": 73,
    "GPU_TEMP": 66,
    "POWER_USAGE": 611.889,
    "TOTAL_ENERGY_CONSUMPTION": 1_000_060_000,
    "PCIE_REPLAY_COUNTER": 7,
    "GPU_UTIL": 91,
    "MEM_COPY_UTIL": 44,
    "XID_ERRORS": 0,
    "FB_FREE": 80 * 1024 - 60_600,
    "FB_USED": 60_000,
    "FB_RESERVED": 600,
    "UNCORRECTABLE_REMAPPED_ROWS": 6,
    "CORRECTABLE_REMAPPED_ROWS": 5,
    "ROW_REMAP_FAILURE": 0,
    "ECC_SBE_VOL_TOTAL": 1,
    "ECC_DBE_VOL_TOTAL": 2,
    "ECC_SBE_AGG_TOTAL": 3,
    "ECC_DBE_AGG_TOTAL": 4,
}


def watch(*readings: GpuReading, facts: NodeFacts | None = None) -> NodeWatch:
    """Of a node with one H100, or with these."""
    one = NodeWatch()
    one.trouble("")
    one.listed(facts or facts_of("n", 1), 0.0)
    for reading in readings:
        one.read(reading, 10.0)
    return one


def seen(one: NodeWatch, *, connected: bool = True, now: float = 14.5) -> Shown:
    return shown(families(snapshot_of(one), connected, now, "h100-0"))


class TestNamesOfTheExporter:
    @pytest.mark.parametrize("name", DCGM)
    def test_a_number_that_it_knows_has_its_name_labels_and_unit(self, name: str) -> None:
        found = seen(watch(FULL)).samples[f"DCGM_FI_DEV_{name}"]
        ((labels, value),) = found.items()
        assert value == DCGM[name]
        more = {"err_code": "0", "err_msg": "No Error"} if name == "XID_ERRORS" else {}
        assert dict(labels) == LABELS | more

    def test_the_last_error_stands_with_its_code_and_its_words(self) -> None:
        one = watch(FULL)
        for code in (31, 79):
            one.heard(Xid(code, FULL.uuid), 11.0)
        found = seen(one)
        words = "the GPU has fallen off the bus"
        assert found.one("DCGM_FI_DEV_XID_ERRORS", err_code="79", err_msg=words) == 79
        assert found.one("arbora_gpu_xid_errors_total") == 2

    def test_what_it_calls_a_counter_keeps_its_name(self) -> None:
        types = seen(watch(FULL)).types
        assert types["DCGM_FI_DEV_PCIE_REPLAY_COUNTER"] == "unknown"
        assert types["DCGM_FI_DEV_GPU_TEMP"] == "gauge"


class TestNamesOfOurOwn:
    def test_they_are_in_base_units(self) -> None:
        found = seen(watch(FULL))
        assert found.by("reason", "arbora_gpu_throttled_seconds_total") == {"heat": 2.5, "power_brake": 0}
        assert found.by("direction", "arbora_gpu_pcie_bytes_total") == {"sent": 8, "received": 9}
        assert found.by("direction", "arbora_gpu_nvlink_bytes_total") == {
            "sent": 11 * 1024,
            "received": 12 * 1024,
        }
        assert found.one("arbora_gpu_power_limit_watts") == 700
        assert found.units == {
            "arbora_gpu_nvlink_bytes": "bytes",
            "arbora_gpu_pcie_bytes": "bytes",
            "arbora_gpu_power_limit_watts": "watts",
            "arbora_gpu_throttled_seconds": "seconds",
            "arbora_node_agent_last_reading_age_seconds": "seconds",
        }

    def test_the_others(self) -> None:
        found = seen(watch(FULL))
        assert found.one("arbora_gpu_nvlink_errors_total", UUID=FULL.uuid) == 10
        assert found.one("arbora_gpu_nvlinks_up") == 18
        assert found.one("arbora_gpu_processes") == 2
        assert found.one("arbora_gpu_recovery_action") == 0
        assert found.one("arbora_gpu_remap_pending") == 1

    def test_health_is_one_of_five(self) -> None:
        one = watch(replace(FULL, remap_pending=False))
        assert seen(one).by("health", "arbora_gpu_health") == {
            "healthy": 1,
            "degraded": 0,
            "draining": 0,
            "unhealthy": 0,
            "recovering": 0,
        }
        one.heard(Xid(79, FULL.uuid), 11.0)
        found = seen(one).by("health", "arbora_gpu_health")
        assert {health for health, holds in found.items() if holds} == {"unhealthy"}

    def test_the_agent_tells_how_it_is_doing_itself(self) -> None:
        found = seen(watch(FULL), connected=False)
        assert found.one("arbora_node_agent_connected") == 0
        assert found.one("arbora_node_agent_driver_available") == 1
        assert found.one("arbora_node_agent_last_reading_age_seconds") == 4.5

    def test_before_anything_was_read_that_is_all_there_is(self) -> None:
        found = shown(families(Snapshot(), False, 1.0, "h100-0"))
        assert set(found.samples) == {"arbora_node_agent_connected", "arbora_node_agent_driver_available"}
        assert found.one("arbora_node_agent_driver_available") == 0


class TestWhatIsAbsent:
    def test_a_device_that_offers_nothing_shows_its_health_and_its_errors(self) -> None:
        found = seen(watch(GpuReading(FULL.uuid)))
        assert {name for name in found.samples if "agent" not in name} == {
            "DCGM_FI_DEV_XID_ERRORS",
            "arbora_gpu_health",
            "arbora_gpu_xid_errors_total",
        }

    @given(st.sets(st.sampled_from(NUMBERS)))
    def test_a_number_is_there_if_and_only_if_the_device_offers_it(self, missing: set[str]) -> None:
        nothing: dict[str, Any] = dict.fromkeys(missing)
        reading = replace(FULL, **nothing)
        found = seen(watch(reading))
        for suffix, _, told in (*DCGM_NOW, *DCGM_COUNTED):
            assert (f"DCGM_FI_DEV_{suffix}" in found) is (told(reading) is not None)
        for name, _, _, told in NOW:
            assert (name in found) is (told(reading) is not None)
        for name, _, _, _, rows in COUNTED:
            offered = sum(told(reading) is not None for _, told in rows)
            assert len(found.all(f"{name}_total")) == offered

    def test_memory_whose_use_is_not_told_is_not_free_either(self) -> None:
        found = seen(watch(replace(FULL, memory_used=None)))
        assert "DCGM_FI_DEV_FB_FREE" not in found
        assert found.one("DCGM_FI_DEV_FB_RESERVED") == 600

    @pytest.mark.parametrize("answer", [Answer.LOST, Answer.RESET_REQUIRED, Answer.SILENT])
    def test_a_device_that_does_not_answer_says_nothing_of_the_moment_and_keeps_what_it_counted(
        self, answer: Answer
    ) -> None:
        found = seen(watch(FULL, GpuReading(FULL.uuid, answer)))
        assert "DCGM_FI_DEV_GPU_TEMP" not in found
        assert "DCGM_FI_DEV_FB_USED" not in found
        assert "arbora_gpu_processes" not in found
        assert found.one("DCGM_FI_DEV_ECC_DBE_AGG_TOTAL") == 4
        assert len(found.samples["arbora_gpu_health"]) == 5

    def test_so_does_one_that_is_no_longer_listed(self) -> None:
        one = watch(FULL)
        one.listed(NodeFacts("570.86.10", "12.8", ()), 12.0)
        found = seen(one)
        assert "DCGM_FI_DEV_GPU_TEMP" not in found
        assert found.one("arbora_gpu_health", health="unhealthy") == 1

    def test_so_do_all_while_the_driver_is_away(self) -> None:
        one = watch(FULL)
        one.trouble("the driver is not loaded")
        found = seen(one)
        assert "DCGM_FI_DEV_GPU_TEMP" not in found
        assert found.one("arbora_node_agent_driver_available") == 0
        assert found.one("DCGM_FI_DEV_PCIE_REPLAY_COUNTER") == 7

    def test_one_that_answers_again_says_everything_again(self) -> None:
        found = seen(watch(FULL, GpuReading(FULL.uuid, Answer.SILENT), replace(FULL, temperature=50)))
        assert found.one("DCGM_FI_DEV_GPU_TEMP") == 50

    def test_a_reading_that_told_nothing_does_not_make_the_last_one_younger(self) -> None:
        one = watch(FULL)
        one.read(GpuReading(FULL.uuid, Answer.SILENT), 14.0)
        assert seen(one).one("arbora_node_agent_last_reading_age_seconds") == 4.5


class TestDividedDevices:
    READING = replace(FULL, utilization=None, mig_memory_used=(8 * 1024 * MIB, 512 * MIB))
    FACTS = NodeFacts(
        "570.86.10",
        "12.8",
        (
            replace(
                facts_of("n", 1).gpus[0],
                mig_enabled=True,
                mig=(
                    MigFacts("MIG-0", "3g.40gb", 1, 0, 40 * 1024 * MIB),
                    MigFacts("MIG-1", "1g.10gb", 9, 0, 10 * 1024 * MIB),
                ),
            ),
        ),
    )

    def test_memory_is_told_by_instance_and_not_as_a_whole(self) -> None:
        found = seen(watch(self.READING, facts=self.FACTS))
        assert found.by("GPU_I_PROFILE", "DCGM_FI_DEV_FB_USED") == {"3g.40gb": 8 * 1024, "1g.10gb": 512}
        assert found.by("GPU_I_ID", "DCGM_FI_DEV_FB_FREE") == {"1": 32 * 1024, "9": 10 * 1024 - 512}
        (labels, *_) = (dict(each) for each in found.samples["DCGM_FI_DEV_FB_USED"])
        assert labels == LABELS | {"GPU_I_PROFILE": "3g.40gb", "GPU_I_ID": "1"}

    def test_everything_else_is_the_whole_devices(self) -> None:
        found = seen(watch(self.READING, facts=self.FACTS))
        assert "DCGM_FI_DEV_GPU_UTIL" not in found
        ((labels, value),) = found.samples["DCGM_FI_DEV_GPU_TEMP"].items()
        assert (dict(labels), value) == (LABELS, 66)

    def test_compute_instances_that_share_memory_do_not_count_it_twice(self) -> None:
        (device,) = self.FACTS.gpus
        mig = (
            MigFacts("MIG-0", "1c.3g.40gb", 1, 0, 40 * 1024 * MIB),
            MigFacts("MIG-1", "2c.3g.40gb", 1, 1, 40 * 1024 * MIB),
        )
        facts = replace(self.FACTS, gpus=(replace(device, mig=mig),))
        reading = replace(self.READING, mig_memory_used=(1024 * MIB, 1024 * MIB))
        found = seen(watch(reading, facts=facts))
        assert found.by("GPU_I_PROFILE", "DCGM_FI_DEV_FB_USED") == {"3g.40gb": 1024}

    def test_memory_that_was_read_before_the_device_was_divided_anew_is_not_told(self) -> None:
        (device,) = self.FACTS.gpus
        one = watch(self.READING, facts=self.FACTS)
        one.listed(replace(self.FACTS, gpus=(replace(device, mig=device.mig[:1]),)), 12.0)
        assert "DCGM_FI_DEV_FB_USED" not in seen(one)


def test_every_device_has_series_of_its_own() -> None:
    readings = [replace(FULL, uuid=uuid_of("n", index), temperature=40 + index) for index in range(8)]
    found = seen(watch(*readings, facts=facts_of("n", 8)))
    assert found.by("gpu", "DCGM_FI_DEV_GPU_TEMP") == {str(index): 40 + index for index in range(8)}
    assert len(found.samples["arbora_gpu_health"]) == 40
