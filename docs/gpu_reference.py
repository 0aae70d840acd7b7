"""Writes docs/reference/gpu-health.md from the tables by which GPUs are judged: `python -m docs.gpu_reference`.

With --check it writes nothing and ends with 1 if the page is not what it would write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from arbora_agent.gpu.health import trends
from arbora_agent.gpu.health.conditions import CONDITIONS
from arbora_agent.gpu.health.recovery import RECOVERY
from arbora_agent.gpu.health.xids import XIDS, Meaning

PAGE = Path(__file__).parent / "reference" / "gpu-health.md"

_FOLLOWS = {
    Meaning.RESET: "Unhealthy until reset",
    Meaning.REBOOT: "Unhealthy until restarted",
    Meaning.DRAIN: "Draining",
    Meaning.SUSPECT: "Degraded for ten minutes",
    Meaning.REPEATED: "nothing; twice a day: Degraded",
    Meaning.APPLICATION: "nothing: the program is told",
    Meaning.NOTHING: "nothing",
    Meaning.LOOK: "the recovery action decides",
}
_OURS = "our judgement"
_MINUTES = f"{trends.WINDOW / 60:g} minutes"
_TRENDS = (
    (f"{trends.SILENT_READINGS} readings in a row fail", "Draining", _OURS),
    ("memory is to be replaced by the next reset", "Degraded", "NVIDIA, GPU memory error management"),
    (f"the same, and nothing has run for {trends.IDLE_SECONDS:g} s", "Draining", _OURS),
    ("uncorrected memory errors, and no XID 94 that says they were contained", "Unhealthy", _OURS),
    (f"held back by heat or power brake for more than a tenth of {_MINUTES}", "Degraded", _OURS),
    (f"{trends.PCIE_REPLAYS} PCIe packets sent again within {_MINUTES}", "Degraded", _OURS),
    (f"{trends.NVLINK_ERRORS} errors on NVLink within {_MINUTES}", "Degraded", _OURS),
    ("fewer NVLinks are up than were, or than on a like device of the node", "Degraded", _OURS),
)


def page() -> str:
    """The whole page."""
    return "\n".join([*_lines(), ""])


def _lines() -> Iterator[str]:
    yield "# GPU health: codes and conditions"
    yield ""
    yield "Written by `python -m docs.gpu_reference` from `agent/arbora_agent/gpu/health/`."
    yield "What the states mean and how they end: [gpus.md](../gpus.md#health)."
    yield ""
    yield "## Error codes (XID)"
    yield ""
    yield "A code that is not here makes a GPU Degraded for ten minutes."
    yield ""
    rules = [XIDS[code] for code in sorted(XIDS)]
    yield from _table(
        ("XID", "what it is", "what follows", "source"),
        [(str(rule.code), rule.words, _FOLLOWS[rule.meaning], rule.source) for rule in rules],
    )
    yield ""
    yield "## What the driver asks for"
    yield ""
    yield "nvmlDeviceGetFieldValues, recovery action."
    yield ""
    yield from _table(
        ("value", "state", "what is said", "source"),
        [
            (str(action), rule.health.word, rule.sentence, rule.source)
            for action, rule in sorted(RECOVERY.items())
        ],
    )
    yield ""
    yield "## What one reading shows"
    yield ""
    yield from _table(
        ("condition", "state", "what is said", "source"),
        [(each.code, each.health.word, each.sentence, each.source) for each in CONDITIONS],
    )
    yield ""
    yield "## What several readings show"
    yield ""
    yield from _table(("what", "state", "source"), _TRENDS)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    if "--check" in arguments:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
