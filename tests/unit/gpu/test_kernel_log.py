"""Error codes in the kernel's log: every way in which the driver writes them, and what is left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora_agent.gpu.kernel_log import KernelLogUnreadable, Logged, address, located, read, xids
from arbora_agent.gpu.reading import GpuFacts, Xid

PCI = "00000000:3B:00.0"
UPTIME = 2000.0
LOADED = "<6>[   12.000000] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.10  Fri Jan 10 2025"


def one(line: str) -> Logged:
    (found,) = xids([line], UPTIME)
    return found


def codes(*lines: str) -> list[int]:
    return [each.xid.code for each in xids(lines, UPTIME)]


@pytest.mark.parametrize(
    ("text", "xid"),
    [
        (
            "Xid (PCI:0000:3b:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
            Xid(79, pid=1234, process="python"),
        ),
        ("Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.", Xid(79)),
        ("Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", Xid(79)),
        ("Xid (0000:3b:00): 31, Ch 00000010, engmask 00000101, intr 10000000", Xid(31)),
        ("Xid (3b:00): 13, Graphics SM Warp Exception", Xid(13)),
        ("Xid (PCI:00000000:3B:00.0): 62, pid=7, ff2c3a 00000000", Xid(62, pid=7)),
        (
            "Xid (PCI:0000:3b:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9). RST: No, D-RST: No",
            Xid(94, gpu_instance=5, pid=7194),
        ),
        (
            "Xid (PCI:0000:3b:00 GPU-I:02 GPU-CI:01): 13, pid=9, name=a.out, Graphics Exception",
            Xid(13, gpu_instance=2, pid=9, process="a.out"),
        ),
        (
            "Xid (PCI:0000:3b:00 GPU I-Id: 05): 43, pid=9, name=train, Ch 00000008",
            Xid(43, gpu_instance=5, pid=9, process="train"),
        ),
        ("Xid (PCI:0000:3b:00): 119, Timeout after 6s of waiting for RPC response", Xid(119)),
        ("Xid (PCI:0000:3b:00): 43", Xid(43)),
    ],
)  # fmt: skip
def test_an_error_is_read_in_every_way_in_which_it_is_written(text: str, xid: Xid) -> None:
    found = one(f"<4>[ 1990.000000] NVRM: {text}")
    assert found == Logged(PCI, Xid(xid.code, "", 10.0, xid.gpu_instance, xid.pid, xid.process))


@pytest.mark.parametrize(
    ("begin", "age"),
    [
        ("<4>[ 1234.500000] ", 765.5),
        ("<3>[1999.000000] ", 1.0),
        ("[ 1999.000000] ", 1.0),
        ("<4>[ 1999.000000][ T4242] ", 1.0),
        ("<4>[ 1999.000000][    C3] ", 1.0),
        ("<4>[ 2001.000000] ", 0.0),
        ("<4>", UPTIME),
        ("", UPTIME),
    ],
)
def test_how_old_an_error_is_follows_from_its_stamp_and_is_never_less_than_nothing(
    begin: str, age: float
) -> None:
    assert one(f"{begin}NVRM: Xid (PCI:0000:3b:00): 48, pid=1").xid.age == age


@pytest.mark.parametrize(
    "lines",
    [
        ["<3>[ 1990.000000] NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus."],
        ["<3>[ 1990.000000] NVRM: GPU at PCI:0000:3b:00: fallen off the bus."],
        [
            "<3>[ 1990.000000] NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:2330) installed in this system "
            "has fallen off the bus and is not responding to commands."
        ],
        [
            "<3>[ 1990.000000] NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:2330) installed in this",
            "<3>[ 1990.000000] NVRM: system has fallen off the bus and is not responding to commands.",
        ],
        [
            "<3>[ 1990.000000] NVRM: The NVIDIA GPU 0000:3b:00.0",
            "<6>[ 1990.000000] usb 1-1: something else",
            "<3>[ 1990.000000] NVRM: (PCI ID: 10de:2330) installed in this system has",
            "<3>[ 1990.000000] NVRM: fallen off the bus and is not responding to commands.",
        ],
    ],
)
def test_a_gpu_that_fell_off_the_bus_is_code_79_without_a_code_too(lines: list[str]) -> None:
    assert xids(lines, UPTIME) == (Logged(PCI, Xid(79, age=10.0)),)


def test_falling_off_the_bus_is_told_once_however_often_it_is_said() -> None:
    assert codes(
        "<3>[ 1990.000000] NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.",
        "<3>[ 1990.000001] NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=a, GPU has fallen off the bus.",
        "<3>[ 1990.000100] NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.",
        "<3>[ 1990.000100] NVRM: GPU 0000:5d:00.0: GPU has fallen off the bus.",
    ) == [79, 79]


def test_a_line_about_the_bus_that_names_no_gpu_is_no_error() -> None:
    assert codes(
        "<3>[ 10.000000] NVRM: GPU 0000:3b:00.0: RmInitAdapter failed!",
        "<3>[ 11.000000] NVRM: one",
        "<3>[ 12.000000] NVRM: two",
        "<3>[ 13.000000] NVRM: fallen off the bus",
    ) == []  # fmt: skip


def test_lines_of_others_are_no_errors() -> None:
    assert codes(
        "<6>[ 1.000000] Linux version 6.8",
        "<6>[ 2.000000] nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 28006, Non-fatal, Link 46 MC TS crumbstore",
        "<6>[ 3.000000] nvidia 0000:3b:00.0: enabling device",
        "<6>[ 4.000000] python says: Xid (PCI:0000:3b:00): 79",
        "<6>[ 5.000000] NVRM: Xid (PCI:nonsense): 79",
        "",
    ) == []  # fmt: skip


@pytest.mark.parametrize(
    "loading",
    [
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.10  Fri Jan 10 2025",
        "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build",
    ],
)
def test_what_was_before_the_driver_was_loaded_last_is_left_out(loading: str) -> None:
    assert codes(
        LOADED,
        "<4>[  100.000000] NVRM: Xid (PCI:0000:3b:00): 79, pid=1",
        "<3>[  100.000000] NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.",
        f"<6>[  200.000000] {loading}",
        "<4>[  300.000000] NVRM: Xid (PCI:0000:3b:00): 13, pid=1",
    ) == [13]


def test_errors_keep_their_order() -> None:
    found = xids(
        [
            "<4>[ 1000.000000] NVRM: Xid (PCI:0000:3b:00): 48, pid=1",
            "<3>[ 1100.000000] NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.",
            "<4>[ 1200.000000] NVRM: Xid (PCI:0000:5d:00): 63, pid=1",
        ],
        UPTIME,
    )
    assert [(each.xid.code, each.xid.age) for each in found] == [(48, 1000.0), (79, 900.0), (63, 800.0)]


def test_addresses_become_uuids_and_devices_that_are_not_listed_are_left_out() -> None:
    gpus = [
        GpuFacts("GPU-1", 0, pci_bus_id=PCI),
        GpuFacts("GPU-2", 1, pci_bus_id="0001:5D:00.0"),
        GpuFacts("GPU-3", 2),
    ]
    logged = [
        Logged(PCI, Xid(48, age=3.0, pid=7)),
        Logged("00000001:5D:00.0", Xid(13)),
        Logged("00000000:5D:00.0", Xid(79)),
    ]
    assert located(logged, gpus) == (Xid(48, "GPU-1", age=3.0, pid=7), Xid(13, "GPU-2"))


@pytest.mark.parametrize("text", ["0000:3b:00", "3b:00", "00000000:3B:00.0", "0000:3b:00.0"])
def test_an_address_has_one_form(text: str) -> None:
    assert address(text) == PCI


@given(st.lists(st.text() | st.text().map(lambda text: f"<4>[ 1.0] NVRM: Xid (PCI:0000:3b:00{text}): 79{text}")))
def test_no_line_is_too_strange(lines: list[str]) -> None:
    for each in xids(lines, UPTIME):
        assert each.pci_bus_id == PCI
        assert each.xid.age >= 0.0


def test_the_log_of_this_machine_is_read_or_it_is_said_what_to_do() -> None:
    try:
        lines = read()
    except KernelLogUnreadable as refusal:
        assert "can't be read" in str(refusal)
        assert "SYSLOG" in refusal.hint
    else:
        assert all(isinstance(each, str) for each in lines)


UNPRIVILEGED = """
import os
from arbora_agent.gpu.kernel_log import KernelLogUnreadable, read
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    read()
except KernelLogUnreadable as error:
    print(error, error.hint)
"""


def test_without_the_permission_the_message_says_which_one_is_missing() -> None:
    if Path("/proc/sys/kernel/dmesg_restrict").read_text(encoding="ascii").strip() == "0":
        pytest.skip("on this machine everybody may read the kernel's log")
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, timeout=15, check=True
    )
    assert "the kernel's log can't be read: Operation not permitted" in done.stdout
    assert "the capability SYSLOG" in done.stdout
