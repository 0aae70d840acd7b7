"""What `NvmlReader` reads of one device, and what it leaves out, over a played libnvidia-ml.so.1."""

from __future__ import annotations

import pytest

from arbora_agent.gpu.nvml import NvmlReader
from arbora_agent.gpu.nvml.reader import SLOW_EVERY
from arbora_agent.gpu.reading import Answer, GpuFacts, GpuReading
from tests.contract.gpu_reader import ONE, TWO
from tests.support.nvml.build import Played
from tests.support.nvml.node import ALL_LINKS, GIB, SIGNED, SINT, UINT, ULONG, ULONGLONG, USHORT, PlayedNode, h100

NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND = 3, 4, 13

# what it reads


def test_all_facts_of_a_device_are_read(reader: NvmlReader) -> None:
    assert reader.facts().gpus == (
        GpuFacts(
            ONE,
            0,
            name="NVIDIA H100 80GB HBM3",
            serial="1652920000",
            pci_bus_id="00000000:3B:00.0",
            minor=0,
            architecture="Hopper",
            compute_capability="9.0",
            memory_bytes=80 * GIB,
            pcie_generation_max=5,
            pcie_width_max=16,
        ),
    )


def test_all_values_of_a_device_are_read(reader: NvmlReader, played: Played) -> None:
    assert reader.read(ONE) == GpuReading(
        ONE,
        utilization=97,
        memory_utilization=40,
        memory_used=41 * GIB,
        memory_reserved=GIB // 2,
        temperature=61,
        memory_temperature=70,
        temperature_margin=26,
        power_mw=660_000,
        power_limit_mw=700_000,
        energy_mj=9_000_000_123,
        sm_clock_mhz=1980,
        memory_clock_mhz=2619,
        throttle_reasons=0x4,
        throttled_heat_ns=5_000_000_000,
        throttled_brake_ns=0,
        ecc_corrected=3,
        ecc_uncorrected=0,
        ecc_corrected_aggregate=30,
        ecc_uncorrected_aggregate=1,
        sram_threshold_exceeded=False,
        remapped_corrected=1,
        remapped_uncorrected=0,
        remap_pending=False,
        remap_failed=False,
        recovery_action=0,
        pcie_generation=5,
        pcie_width=16,
        pcie_replays=2,
        pcie_sent_bytes=123_456_789_012,
        pcie_received_bytes=98_765,
        nvlinks_active=4,
        nvlink_errors=0,
        nvlink_sent_kib=1024,
        nvlink_received_kib=2048,
        fabric_health=1,
        processes=2,
    )
    assert played.calls("nvmlDeviceGetFieldValues") == 1
    assert played.calls("nvmlDeviceGetPcieThroughput") == 0


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("0:70.9", 70),
        (f"{UINT}:4294967295", 4294967295),
        (f"{ULONG}:9007199254740993", 9007199254740993),
        (f"{ULONGLONG}:18446744073709551615", 18446744073709551615),
        (f"{SIGNED}:-5", -5),
        (f"{SINT}:-7", -7),
        (f"{USHORT}:65535", 65535),
        ("7:1", None),
        ("-", None),
    ],
)
def test_a_field_value_is_read_as_the_type_that_it_says(
    reader: NvmlReader, node: PlayedNode, said: str, means: int | None
) -> None:
    node.put("0", {"field.82": said})
    assert reader.read(ONE).memory_temperature == means


# what a device or its driver has not


def test_without_permission_a_field_is_absent_and_asked_again(reader: NvmlReader, node: PlayedNode) -> None:
    node.fail("0", "nvmlDeviceGetTotalEnergyConsumption", NO_PERMISSION)
    node.fail("0", "field.82", NO_PERMISSION)
    reading = reader.read(ONE)
    assert (reading.answer, reading.energy_mj, reading.memory_temperature) == (Answer.ANSWERS, None, None)
    node.fail("0", "nvmlDeviceGetTotalEnergyConsumption", 0)
    node.fail("0", "field.82", 0)
    assert (reader.read(ONE).energy_mj, reader.read(ONE).memory_temperature) == (9_000_000_123, 70)


@pytest.mark.parametrize("code", [NOT_SUPPORTED, FUNCTION_NOT_FOUND, 25, 26])
def test_what_is_not_supported_is_asked_again_only_after_the_facts(
    reader: NvmlReader, node: PlayedNode, played: Played, code: int
) -> None:
    node.fail("0", "nvmlDeviceGetUtilizationRates", code)
    node.fail("0", "field.82", code)
    for _ in range(3):
        assert reader.read(ONE).utilization is None
    assert played.calls("nvmlDeviceGetUtilizationRates") == 1
    assert played.calls("field.82") == 1
    node.fail("0", "nvmlDeviceGetUtilizationRates", 0)
    node.fail("0", "field.82", 0)
    reader.facts()
    assert (reader.read(ONE).utilization, reader.read(ONE).memory_temperature) == (97, 70)


def test_what_one_device_does_not_support_is_asked_of_the_others(node: PlayedNode, reader: NvmlReader) -> None:
    node.add("1", h100(TWO, 1))
    reader.facts()
    node.fail("0", "nvmlDeviceGetUtilizationRates", NOT_SUPPORTED)
    assert reader.read(ONE).utilization is None
    assert reader.read(TWO).utilization == 97


def test_a_chip_before_ampere_tells_of_retired_pages(reader: NvmlReader, node: PlayedNode) -> None:
    node.set("0", rows=None, pages__pending=1)
    reading = reader.read(ONE)
    assert (reading.remap_pending, reading.remap_failed, reading.remapped_corrected) == (True, None, None)


def test_an_older_driver_has_no_recovery_action_and_no_instant_power(
    reader: NvmlReader, node: PlayedNode
) -> None:
    node.put("0", {"field.230": None, "field.186": None})
    reading = reader.read(ONE)
    assert (reading.recovery_action, reading.power_mw) == (None, 655_000)


def test_functions_of_older_drivers_are_used_where_there_are_no_newer_ones(
    reader: NvmlReader, node: PlayedNode
) -> None:
    for name in (
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetComputeRunningProcesses_v3",
    ):
        node.fail("0", name, FUNCTION_NOT_FOUND)
    reading = reader.read(ONE)
    assert (reading.memory_used, reading.memory_reserved) == (41 * GIB + GIB // 2, None)
    assert (reading.throttle_reasons, reading.processes) == (0x4, 2)


def test_functions_of_newer_drivers_are_used_where_the_old_ones_are_gone(
    reader: NvmlReader, node: PlayedNode
) -> None:
    node.fail("0", "nvmlDeviceGetTemperature", FUNCTION_NOT_FOUND)
    assert reader.read(ONE).temperature == 61


def test_a_container_without_cuda_still_learns_its_version(reader: NvmlReader, node: PlayedNode) -> None:
    node.fail("node", "nvmlSystemGetCudaDriverVersion_v2", 12)
    assert reader.facts().cuda == "12.8"


# what is slow


def test_links_and_the_fabric_are_asked_every_sixth_time(
    node: PlayedNode, reader: NvmlReader, played: Played
) -> None:
    reader.read(ONE)
    node.put("0", {"link.0": 0, "fabric.health": 2, "sram.exceeded": 1, "field.162@1": f"{ULONGLONG}:5"})
    for _ in range(SLOW_EVERY - 1):
        reading = reader.read(ONE)
        assert (reading.nvlinks_active, reading.fabric_health, reading.nvlink_errors) == (4, 1, 0)
        assert reading.sram_threshold_exceeded is False
    assert played.calls("nvmlDeviceGetGpuFabricInfoV") == 1
    reading = reader.read(ONE)
    assert (reading.nvlinks_active, reading.fabric_health, reading.nvlink_errors) == (3, 2, 5)
    assert reading.sram_threshold_exceeded is True


def test_how_often_links_are_asked_can_be_chosen(node: PlayedNode) -> None:
    node.add("0", h100(ONE))
    reader = NvmlReader(slow_every=1)
    reader.open()
    assert reader.read(ONE).nvlinks_active == 4
    node.set("0", link__0=0)
    assert reader.read(ONE).nvlinks_active == 3
    reader.close()


def test_errors_of_links_are_summed_up(reader: NvmlReader, node: PlayedNode) -> None:
    node.put("0", {"field.161@2": f"{ULONGLONG}:3", "field.163": f"{ULONGLONG}:4"})
    assert reader.read(ONE).nvlink_errors == 7


def test_a_chip_before_hopper_tells_the_errors_of_all_links(reader: NvmlReader, node: PlayedNode) -> None:
    node.put("0", {f"field.{each}@{link}": None for each in (161, 162, 163) for link in range(4)})
    node.put("0", {f"field.{each}": f"{ULONGLONG}:10" for each in (38, 45, 52, 59)})
    assert reader.read(ONE).nvlink_errors == 40


def test_a_device_without_links_has_no_number_of_them(node: PlayedNode, reader: NvmlReader) -> None:
    node.put("0", {f"link.{link}": None for link in range(4)})
    node.put("0", {f"field.138@{ALL_LINKS}": None})
    reading = reader.read(ONE)
    assert (reading.nvlinks_active, reading.nvlink_sent_kib, reading.nvlink_errors) == (None, None, None)


@pytest.mark.parametrize(("state", "health", "means"), [(3, 2, 2), (3, 0, None), (2, 2, None), (0, 1, None)])
def test_the_fabric_counts_only_when_its_registration_is_complete(
    reader: NvmlReader, node: PlayedNode, state: int, health: int, means: int | None
) -> None:
    node.set("0", fabric__state=state, fabric__health=health)
    assert reader.read(ONE).fabric_health == means
