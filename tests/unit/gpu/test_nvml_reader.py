"""`NvmlReader` keeps the contract of the port over a played libnvidia-ml.so.1, and says what keeps it from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from arbora_agent.gpu.nvml import NvmlReader
from arbora_agent.gpu.port import GpusUnavailable
from arbora_agent.gpu.reading import Answer, GpuReading
from tests.contract.gpu_reader import ONE, TWO, GpuReaderContract, World
from tests.support.nvml.build import SONAME, Played
from tests.support.nvml.node import PlayedNode, h100
from tests.support.nvml.world import NvmlWorld

UNKNOWN = 999


class TestNvmlReader(GpuReaderContract):
    @pytest.fixture
    def world(self, node: PlayedNode) -> Iterator[World]:
        made = NvmlWorld(node)
        yield made
        made.close()


# devices that do not answer


def test_a_single_unknown_error_is_an_absent_field(reader: NvmlReader, node: PlayedNode) -> None:
    node.fail("0", "nvmlDeviceGetUtilizationRates", UNKNOWN)
    reading = reader.read(ONE)
    assert (reading.answer, reading.utilization, reading.temperature) == (Answer.ANSWERS, None, 61)


def test_a_device_of_which_every_call_fails_is_silent_with_the_drivers_words(
    reader: NvmlReader, node: PlayedNode
) -> None:
    before = reader.facts()
    node.set("0", away=UNKNOWN)
    assert reader.read(ONE) == GpuReading(ONE, Answer.SILENT, problem="Unknown Error")
    assert reader.facts() == before
    assert reader.read(ONE) == GpuReading(ONE, Answer.SILENT, problem="Unknown Error")
    node.set("0", away=None)
    assert reader.read(ONE).answer is Answer.ANSWERS


@pytest.mark.parametrize(("code", "answer"), [(15, Answer.LOST), (16, Answer.RESET_REQUIRED)])
@pytest.mark.parametrize("call", ["nvmlDeviceGetRemappedRows", "nvmlDeviceGetNvLinkState", "field.271"])
def test_a_verdict_counts_whichever_call_brings_it(
    reader: NvmlReader, node: PlayedNode, call: str, code: int, answer: Answer
) -> None:
    node.fail("0", call, code)
    assert reader.read(ONE) == GpuReading(ONE, answer)


def test_a_device_that_was_lost_before_anybody_saw_it_is_left_out(node: PlayedNode) -> None:
    node.add("0", h100(ONE) | {"away": 15})
    node.add("1", h100(TWO, 1))
    reader = NvmlReader()
    reader.open()
    assert [each.uuid for each in reader.facts().gpus] == [TWO]
    reader.close()


def test_a_device_that_is_lost_in_the_middle_of_its_facts_keeps_the_earlier_ones(
    reader: NvmlReader, node: PlayedNode
) -> None:
    before = reader.facts()
    node.fail("0", "nvmlDeviceGetSerial", 15)
    assert reader.facts() == before


def test_a_device_is_found_by_its_uuid_after_the_indexes_have_changed(
    reader: NvmlReader, node: PlayedNode
) -> None:
    node.add("1", h100(TWO, 1) | {"temperature": 33})
    reader.facts()
    node.set("node", gone=9)
    with pytest.raises(GpusUnavailable):
        reader.read(ONE)
    node.set("node", gone=None)
    node.add("0", h100(TWO, 0) | {"temperature": 33})
    node.add("1", h100(ONE, 1))
    reader.open()
    assert [each.uuid for each in reader.facts().gpus] == [TWO, ONE]
    assert reader.read(TWO).temperature == 33
    assert reader.read(ONE).temperature == 61


# the driver and the library


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        (9, "Driver Not Loaded", "Load NVIDIA's driver"),
        (18, "version mismatch", "another version"),
        (17, "blocked the request", "cgroup"),
        (4, "Insufficient Permissions", "/dev/nvidia"),
        (12, "Library Not Found", "runtimeClassName: nvidia"),
    ],
)
def test_why_the_driver_can_not_be_reached_comes_with_what_to_do(
    node: PlayedNode, code: int, message: str, hint: str
) -> None:
    node.fail("node", "nvmlInitWithFlags", code)
    with pytest.raises(GpusUnavailable, match=message) as refusal:
        NvmlReader().open()
    assert hint in refusal.value.hint


@pytest.mark.parametrize("code", [1, 9, 12, 18])
def test_a_driver_that_is_gone_is_not_blamed_on_a_device(reader: NvmlReader, node: PlayedNode, code: int) -> None:
    node.fail("0", "nvmlDeviceGetSerial", code)
    node.fail("0", "nvmlDeviceGetTemperature", code)
    with pytest.raises(GpusUnavailable):
        reader.read(ONE)
    with pytest.raises(GpusUnavailable):
        reader.facts()


def test_opening_again_initialises_the_library_once(reader: NvmlReader, played: Played) -> None:
    for _ in range(3):
        reader.open()
    assert played.initialised == 1
    assert reader.read(ONE).answer is Answer.ANSWERS


def test_an_opening_that_fails_half_way_leaves_the_library_shut_down(node: PlayedNode, played: Played) -> None:
    node.fail("node", "nvmlDeviceGetCount_v2", 9)
    reader = NvmlReader()
    with pytest.raises(GpusUnavailable):
        reader.open()
    assert played.initialised == 0


def test_without_the_library_the_message_says_what_the_container_needs(tmp_path: Path) -> None:
    (tmp_path / SONAME).touch()  # found before one that this machine may have, and no library
    done = _python(OPEN, {"LD_LIBRARY_PATH": str(tmp_path)})
    assert "NVML Shared Library Not Found" in done
    assert "runtimeClassName: nvidia" in done


def test_without_the_package_the_message_says_so_and_it_is_loaded_only_when_needed() -> None:
    done = _python("import sys\nassert 'pynvml' not in sys.modules\nsys.modules['pynvml'] = None\n" + OPEN, {})
    assert "nvidia-ml-py is not installed" in done


OPEN = """
from arbora_agent.gpu.nvml import NvmlReader
from arbora_agent.gpu.port import GpusUnavailable
import sys
assert sys.modules.get('pynvml') is None
try:
    NvmlReader().open()
except GpusUnavailable as error:
    print(error, error.hint)
"""


def _python(program: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=15,
        check=True,
    )
    return done.stdout
