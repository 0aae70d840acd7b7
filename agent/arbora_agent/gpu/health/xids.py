"""What each error code (XID) of NVIDIA's driver means for a GPU. Data.

Source, unless a row says otherwise: NVIDIA's Xid catalog for Ampere and newer,
docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, the column "Immediate Action", as of 2025-10-29.
A code that is not here is one that the catalog leaves to NVIDIA's support (most are marked unused).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Meaning(Enum):
    """What follows from a code."""

    RESET = "reset"
    """The GPU does not work until it is reset: Unhealthy."""
    REBOOT = "reboot"
    """It does not work until its machine is restarted: Unhealthy."""
    DRAIN = "drain"
    """It should be reset once nothing runs on it any more: Draining."""
    SUSPECT = "suspect"
    """Degraded, until ten minutes are clean."""
    REPEATED = "repeated"
    """Nothing by itself; a second one within a day: Degraded."""
    APPLICATION = "application"
    """The program that ran has to be started again; the GPU is fine. Counted."""
    NOTHING = "nothing"
    """Counted."""
    LOOK = "look"
    """The driver's recovery action has changed: it is read, and that decides."""


@dataclass(frozen=True, slots=True)
class XidRule:
    """One row."""

    code: int
    words: str
    """What it is, short."""
    action: str
    """NVIDIA's word for what to do; empty where the catalog has none."""
    meaning: Meaning
    source: str
    """Whose judgement the meaning is."""


_CATALOG = "NVIDIA Xid catalog"
_OURS = "our judgement"

_MEANING_OF_ACTION = {
    "RESET_GPU": Meaning.RESET,
    "RESTART_BM": Meaning.REBOOT,
    "RESTART_VM": Meaning.REBOOT,
    "RESTART_APP": Meaning.APPLICATION,
    "IGNORE": Meaning.NOTHING,
    "XID_154": Meaning.LOOK,
}
"""Actions that decide by themselves; the others are judged row by row."""

_ROWS: tuple[tuple[int, str, str], ...] = (
    (8, "GPU stopped processing", "RESTART_APP"),
    (11, "invalid or corrupted push buffer stream", "RESTART_APP"),
    (13, "graphics engine exception", "RESTART_APP"),
    (14, "unused", "IGNORE"),
    (25, "invalid or illegal push buffer stream", "RESTART_APP"),
    (31, "GPU memory page fault", "RESTART_APP"),
    (32, "invalid or corrupted push buffer stream", "RESTART_APP"),
    (37, "driver firmware error", "IGNORE"),
    (38, "driver firmware error", "IGNORE"),
    (39, "copy engine 0 exception", "RESTART_APP"),
    (40, "copy engine 1 exception", "RESTART_APP"),
    (41, "copy engine 2 exception", "RESTART_APP"),
    (43, "GPU stopped processing", "IGNORE"),
    (44, "graphics engine fault during a context switch", "IGNORE"),
    (45, "preemptive cleanup after another error", "WORKFLOW_XID_45"),
    (46, "GPU stopped processing", "RESET_GPU"),
    (48, "double bit memory error", "WORKFLOW_XID_48"),
    (54, "auxiliary power is not connected", "CHECK_MECHANICALS"),
    (60, "video processor exception", "RESTART_APP"),
    (62, "internal micro-controller halt", "RESET_GPU"),
    (63, "a memory row or page is to be replaced", "IGNORE"),
    (64, "replacing a memory row or page failed", "RESET_GPU"),
    (66, "illegal access by the driver", "IGNORE"),
    (67, "illegal access by the driver", "IGNORE"),
    (68, "video decoder 0 exception", "RESTART_APP"),
    (69, "graphics engine class error", "RESTART_APP"),
    (70, "copy engine 3 error", "RESTART_APP"),
    (71, "copy engine 4 error", "RESTART_APP"),
    (72, "copy engine 5 error", "RESTART_APP"),
    (74, "NVLink error", "WORKFLOW_NVLINK_ERR"),
    (75, "copy engine 6 error", "RESTART_APP"),
    (76, "copy engine 7 error", "RESTART_APP"),
    (77, "copy engine 8 error", "RESTART_APP"),
    (78, "vGPU start error", "UPDATE_SWFW"),
    (79, "the GPU has fallen off the bus", "RESTART_BM"),
    (80, "corrupted data was sent to the GPU", "RESTART_APP"),
    (82, "JPEG decoder 0 error", "RESTART_APP"),
    (83, "video decoder 1 error", "RESTART_APP"),
    (84, "video decoder 2 error", "RESTART_APP"),
    (85, "copy engine 9 error", "RESTART_APP"),
    (86, "optical flow accelerator exception", "RESTART_APP"),
    (88, "video decoder 3 error", "RESTART_APP"),
    (89, "video decoder 4 error", "RESTART_APP"),
    (92, "high rate of single bit memory errors", "IGNORE"),
    (93, "InfoROM wear limit", "IGNORE"),
    (94, "contained memory error", "RESTART_APP"),
    (95, "uncontained memory error", "RESET_GPU"),
    (96, "video decoder 5 error", "RESTART_APP"),
    (97, "video decoder 6 error", "RESTART_APP"),
    (98, "video decoder 7 error", "RESTART_APP"),
    (99, "JPEG decoder 1 error", "RESTART_APP"),
    (100, "JPEG decoder 2 error", "RESTART_APP"),
    (101, "JPEG decoder 3 error", "RESTART_APP"),
    (102, "JPEG decoder 4 error", "RESTART_APP"),
    (103, "JPEG decoder 5 error", "RESTART_APP"),
    (104, "JPEG decoder 6 error", "RESTART_APP"),
    (105, "JPEG decoder 7 error", "RESTART_APP"),
    (106, "test message", "IGNORE"),
    (107, "silent test message", "IGNORE"),
    (108, "NVLink remote translation error", "IGNORE"),
    (109, "context switch timeout", "RESET_GPU"),
    (110, "security fault", "RESET_GPU"),
    (119, "GSP firmware did not answer", "RESET_GPU"),
    (120, "GSP firmware error", "RESET_GPU"),
    (121, "chip-to-chip link error", "IGNORE"),
    (126, "copy engine 10 error", "RESTART_APP"),
    (127, "copy engine 11 error", "RESTART_APP"),
    (128, "copy engine 12 error", "RESTART_APP"),
    (129, "copy engine 13 error", "RESTART_APP"),
    (130, "copy engine 14 error", "RESTART_APP"),
    (131, "copy engine 15 error", "RESTART_APP"),
    (132, "copy engine 16 error", "RESTART_APP"),
    (133, "copy engine 17 error", "RESTART_APP"),
    (134, "copy engine 18 error", "RESTART_APP"),
    (135, "copy engine 19 error", "RESTART_APP"),
    (136, "link training failed", "RESET_GPU"),
    (137, "NVLink privilege error", "IGNORE"),
    (139, "optical flow accelerator 1 error", "RESTART_APP"),
    (140, "unrecovered memory error", "RESET_GPU"),
    (141, "CUDA fast path error", "IGNORE"),
    (143, "GPU initialization error", "RESET_GPU"),
    (144, "NVLink SAW error", "WORKFLOW_NVLINK5_ERR"),
    (145, "NVLink RLW error", "WORKFLOW_NVLINK5_ERR"),
    (146, "NVLink TLW error", "WORKFLOW_NVLINK5_ERR"),
    (147, "NVLink TREX error", "WORKFLOW_NVLINK5_ERR"),
    (148, "NVLink power control error", "WORKFLOW_NVLINK5_ERR"),
    (149, "NVLink NETIR error", "WORKFLOW_NVLINK5_ERR"),
    (150, "NVLink MSE error", "WORKFLOW_NVLINK5_ERR"),
    (151, "key rotation error", "RESTART_VM"),
    (152, "DLA SMMU error", "IGNORE"),
    (153, "DLA timeout", "IGNORE"),
    (154, "the GPU's recovery action has changed", "XID_154"),
    (155, "NVLink error defined by software", "RESET_GPU"),
    (156, "a resource is to be retired", "RESET_GPU"),
    (157, "retiring a resource failed", "IGNORE"),
    (158, "GPU fatal timeout", "RESET_GPU"),
    (160, "a channel was retired", "IGNORE"),
    (161, "retiring a channel failed", "IGNORE"),
    (162, "power smoothing is on again", ""),
    (163, "power smoothing is off", ""),
    (164, "power smoothing is near the end of its life", ""),
    (165, "power smoothing is at the end of its life", ""),
    (166, "traffic before the link was encrypted", ""),
    (167, "PCIe fatal timeout", ""),
    (168, "errors in protected memory, which is reduced", ""),
    (169, "internal micro-controller halt", ""),
    (170, "interrupt in confidential computing mode", ""),
    (171, "uncorrectable DRAM error", ""),
    (172, "uncorrectable SRAM error", ""),
)

_JUDGED: dict[int, tuple[Meaning, str]] = {
    45: (Meaning.NOTHING, "follows another code, which counts"),
    48: (Meaning.DRAIN, "alone: drain and reset; its companions 63, 64, 94, 95 decide otherwise"),
    54: (Meaning.DRAIN, "without its power the GPU can't do its work; what runs may end"),
    74: (Meaning.SUSPECT, "the recovery action says whether a reset is needed"),
    78: (Meaning.NOTHING, "a matter of versions, not of the device"),
    92: (Meaning.REPEATED, "the rate may be an accident, once"),
    94: (Meaning.REPEATED, "contained: the program ends, the GPU goes on; twice is a pattern"),
    **{code: (Meaning.SUSPECT, "the recovery action says whether a reset is needed") for code in range(144, 151)},
    162: (Meaning.NOTHING, "good news"),
    163: (Meaning.NOTHING, "a matter of the site's power, not of results"),
    164: (Meaning.NOTHING, "a matter of the site's power, not of results"),
    165: (Meaning.NOTHING, "a matter of the site's power, not of results"),
    166: (Meaning.SUSPECT, "no action in the catalog"),
    167: (Meaning.RESET, "as 79 and 158, of which it is the cause"),
    168: (Meaning.SUSPECT, "less memory than there should be"),
    169: (Meaning.RESET, "as 62, which it is on newer chips"),
    170: (Meaning.SUSPECT, "no action in the catalog"),
    171: (Meaning.RESET, "details of an uncorrected error"),
    172: (Meaning.RESET, "details of an uncorrected error"),
}


def _rule(code: int, words: str, action: str) -> XidRule:
    if code in _JUDGED:
        meaning, why = _JUDGED[code]
        return XidRule(code, words, action, meaning, f"{_OURS}: {why}")
    return XidRule(code, words, action, _MEANING_OF_ACTION[action], f"{_CATALOG}: {action}")


XIDS: dict[int, XidRule] = {code: _rule(code, words, action) for code, words, action in _ROWS}
"""By code."""

COMPANIONS_OF_48 = frozenset({63, 64, 94, 95})
"""Codes that come with a double bit error and say what it led to."""


def rule_of(code: int) -> XidRule:
    """The row of a code. One that nobody explains makes a GPU suspect for a while, and no more than that."""
    found = XIDS.get(code)
    if found is not None:
        return found
    return XidRule(code, "not explained by NVIDIA", "CONTACT_SUPPORT", Meaning.SUSPECT, f"{_OURS}: not explained")
