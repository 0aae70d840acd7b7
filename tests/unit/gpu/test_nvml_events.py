"""What `NvmlReader` hears of the driver, over a played libnvidia-ml.so.1: events, lost devices, closing."""

from __future__ import annotations

import asyncio
import time

import pytest

from arbora_agent.gpu.nvml import NvmlReader
from arbora_agent.gpu.nvml.events import PAUSE, SLICE, Events
from arbora_agent.gpu.nvml.library import Library
from arbora_agent.gpu.port import GpusUnavailable
from arbora_agent.gpu.reading import Changed, Xid
from tests.contract.gpu_reader import NOT_LONG, ONE, SOON, TWO, heard
from tests.support.eventually import eventually
from tests.support.nvml.build import Played
from tests.support.nvml.node import EVENTS, PlayedNode, h100

XID, DOUBLE_BIT, MIG_CHANGED, RECOVERY, UNWANTED = 0x8, 0x2, 0x100, 0x8000, 0x1
LOST, RESET_REQUIRED, UNKNOWN = 15, 16, 999


@pytest.fixture
def two(node: PlayedNode, reader: NvmlReader) -> NvmlReader:
    """A reader of two devices."""
    node.add("1", h100(TWO, 1))
    reader.facts()
    return reader


def test_an_error_of_an_instance_names_it(reader: NvmlReader, node: PlayedNode) -> None:
    node.event(0, XID, 94, gpu_instance=5)
    assert heard(reader) == [Xid(94, ONE, gpu_instance=5)]


def test_an_error_without_a_code_is_told_as_the_driver_tells_it(reader: NvmlReader, node: PlayedNode) -> None:
    node.event(0, XID, 999)
    assert heard(reader) == [Xid(999, ONE)]


@pytest.mark.parametrize("kind", [DOUBLE_BIT, MIG_CHANGED, 0x400, 0x800, 0x4000, RECOVERY])
def test_whatever_else_happens_to_a_device_is_a_change_of_it(
    two: NvmlReader, node: PlayedNode, kind: int
) -> None:
    node.event(1, kind)
    assert heard(two) == [Changed(TWO)]


def test_events_that_came_together_are_told_together(two: NvmlReader, node: PlayedNode) -> None:
    node.event(0, XID, 48)
    node.event(0, RECOVERY)
    node.event(1, XID, 13)
    assert two.wait(SOON) == (Xid(48, ONE), Changed(ONE), Xid(13, TWO))


def test_what_nobody_wants_to_hear_is_not_registered(reader: NvmlReader, node: PlayedNode) -> None:
    node.event(0, UNWANTED)
    assert reader.wait(NOT_LONG) == ()


def test_a_device_that_supports_only_error_codes_is_heard(node: PlayedNode) -> None:
    node.add("0", h100(ONE) | {"events": XID})
    reader = NvmlReader()
    reader.open()
    node.event(0, XID, 13)
    assert heard(reader) == [Xid(13, ONE)]
    reader.close()


def test_a_device_that_refuses_other_kinds_is_still_heard_for_error_codes(node: PlayedNode) -> None:
    node.add("0", h100(ONE) | {"events.refused": RECOVERY})
    reader = NvmlReader()
    reader.open()
    node.event(0, XID, 13)
    assert heard(reader) == [Xid(13, ONE)]
    reader.close()


def test_a_device_that_can_not_be_watched_keeps_no_other_from_it_and_is_tried_again(node: PlayedNode) -> None:
    node.add("0", h100(ONE) | {"fail.nvmlDeviceRegisterEvents": UNKNOWN})
    node.add("1", h100(TWO, 1))
    reader = NvmlReader()
    reader.open()
    node.event(0, XID, 13)
    node.event(1, XID, 31)
    assert heard(reader) == [Xid(31, TWO)]
    node.fail("0", "nvmlDeviceRegisterEvents", 0)
    reader.facts()
    node.event(0, XID, 48)
    assert heard(reader) == [Xid(48, ONE)]
    reader.close()


def test_without_a_device_that_reports_events_a_wait_just_waits(node: PlayedNode, played: Played) -> None:
    node.add("0", h100(ONE) | {"events": 0})
    reader = NvmlReader()
    reader.open()
    began = time.monotonic()
    assert reader.wait(2 * NOT_LONG) == ()
    assert time.monotonic() - began >= 2 * NOT_LONG
    assert played.calls("nvmlEventSetWait_v2") == 0
    reader.close()


def test_a_driver_that_comes_back_early_from_a_wait_is_not_asked_over_and_over(
    reader: NvmlReader, node: PlayedNode, played: Played
) -> None:
    node.set("node", impatient=1)
    assert reader.wait(0.3) == ()
    assert played.calls("nvmlEventSetWait_v2") <= 2


# a lost device


def test_a_wait_that_fails_for_a_lost_device_has_every_device_looked_at(
    two: NvmlReader, node: PlayedNode
) -> None:
    node.set("0", away=LOST)
    assert two.wait(SOON) == (Changed(ONE), Changed(TWO))


def test_the_error_that_came_before_the_device_was_lost_is_told(two: NvmlReader, node: PlayedNode) -> None:
    node.event(0, XID, 79)
    node.set("0", away=LOST)
    assert two.wait(SOON) == (Xid(79, ONE), Changed(ONE), Changed(TWO))


def test_the_others_are_heard_while_a_device_is_lost(two: NvmlReader, node: PlayedNode) -> None:
    node.set("0", away=LOST)
    assert len(heard(two, 2)) == 2
    node.event(1, XID, 31)
    assert heard(two) == [Xid(31, TWO)]


def test_a_lost_device_that_is_back_is_heard_again(two: NvmlReader, node: PlayedNode) -> None:
    node.set("0", away=LOST)
    assert len(heard(two, 2)) == 2
    assert two.wait(NOT_LONG) == ()
    node.set("0", away=None)
    two.facts()
    node.event(0, XID, 13)
    assert heard(two) == [Xid(13, ONE)]


def test_a_device_that_was_reset_is_registered_anew(two: NvmlReader, node: PlayedNode, played: Played) -> None:
    node.set("0", away=RESET_REQUIRED)
    two.read(ONE)
    node.set("0", away=None)
    two.read(ONE)
    two.read(ONE)
    node.event(0, XID, 13)
    node.event(1, XID, 31)
    assert heard(two, 2) == [Xid(13, ONE), Xid(31, TWO)]
    assert played.calls("nvmlEventSetCreate") == 2
    assert played.calls("nvmlEventSetFree") == 1


def test_waits_that_fail_again_and_again_are_no_busy_loop(
    two: NvmlReader, node: PlayedNode, played: Played
) -> None:
    node.fail("node", "waiting", UNKNOWN)
    assert two.wait(SOON) == (Changed(ONE), Changed(TWO))
    assert two.wait(SOON) == (Changed(ONE), Changed(TWO))
    began = time.monotonic()
    assert two.wait(0.3) == ()
    assert 0.3 <= time.monotonic() - began < PAUSE
    assert played.calls("nvmlEventSetWait_v2") == 2


# closing


async def test_nothing_is_freed_under_a_wait(reader: NvmlReader, played: Played) -> None:
    wait = asyncio.create_task(asyncio.to_thread(reader.wait, 60.0))
    await eventually(lambda: played.calls("waiting") > 0, "somebody waits")
    began = time.monotonic()
    await asyncio.to_thread(reader.close)
    assert time.monotonic() - began < 2 * SLICE
    assert played.initialised == 0
    with pytest.raises(GpusUnavailable, match="closed"):
        await wait
    assert (played.misused, played.calls("nvmlEventSetFree")) == (0, 1)


async def test_a_reader_is_opened_again_under_a_wait(
    reader: NvmlReader, node: PlayedNode, played: Played
) -> None:
    wait = asyncio.create_task(asyncio.to_thread(reader.wait, 60.0))
    await eventually(lambda: played.calls("waiting") > 0, "somebody waits")
    await asyncio.to_thread(reader.open)
    with pytest.raises(GpusUnavailable):
        await wait
    node.event(0, XID, 13)
    assert heard(reader) == [Xid(13, ONE)]
    assert played.initialised == 1


async def test_a_wait_that_hangs_in_the_driver_is_left_behind(node: PlayedNode, played: Played) -> None:
    node.add("0", h100(ONE))
    node.set("node", stuck=1)
    library = Library()
    nvml = library.open()
    events = Events(nvml, hangs=NOT_LONG)
    events.watch({ONE: nvml.nvmlDeviceGetHandleByIndex(0)})
    wait = asyncio.create_task(asyncio.to_thread(events.wait, 60.0))
    await eventually(lambda: played.calls("waiting") > 0, "somebody waits")
    assert not events.end()
    assert played.calls("nvmlEventSetFree") == 0
    node.set("node", stuck=None)
    with pytest.raises(GpusUnavailable, match="closed"):
        await wait
    library.close()


async def test_a_driver_that_goes_away_ends_a_wait(reader: NvmlReader, node: PlayedNode, played: Played) -> None:
    wait = asyncio.create_task(asyncio.to_thread(reader.wait, 60.0))
    await eventually(lambda: played.calls("waiting") > 0, "somebody waits")
    node.set("node", gone=9)
    with pytest.raises(GpusUnavailable, match="Driver Not Loaded"):
        await wait


def test_all_wanted_kinds_are_registered_in_one_call(reader: NvmlReader, played: Played) -> None:
    assert EVENTS & UNWANTED
    assert played.calls("nvmlDeviceRegisterEvents") == 1
    reader.facts()
    assert played.calls("nvmlDeviceRegisterEvents") == 1
