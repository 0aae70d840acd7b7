"""Shows figures: a table on the terminal, a file per topic, and the marked block of the document.

For `__main__.py`. Must not measure or judge anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from arbora.errors import InvalidInput
from bench.machine import ROOT
from bench.report import Figure

RESULTS = ROOT / "bench" / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
"""What stands between these in the document is written by `python -m bench --write-docs`."""

_VERDICT = {True: "yes", False: "NO", None: ""}


def show(console: Console, figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False)
    for name in ("figure", "value", "unit", "target", "met", "conditions"):
        table.add_column(name, justify="right" if name == "value" else "left", overflow="fold")
    for each in figures:
        table.add_row(each.id, _number(each.value), each.unit, each.target, _VERDICT[each.met], each.conditions)
    console.print(table)


def save(topic: str, machine: dict[str, Any], figures: Sequence[Figure]) -> Path:
    """Write the results of a topic; returns the file."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{topic}.json"
    content = {"machine": machine, "figures": [figure.to_json() for figure in figures]}
    file.write_text(json.dumps(content, indent=1) + "\n")
    return file


def write_document() -> Path:
    """Put the last results of every topic in the document. Raises InvalidInput if its marks are not there."""
    text = DOCUMENT.read_text()
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise InvalidInput(f"{DOCUMENT.name} lacks {BEGIN} or {END}")
    block = "\n\n".join(_section(file) for file in sorted(RESULTS.glob("*.json")))
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{block}\n\n{END}{after}")
    return DOCUMENT


def _section(file: Path) -> str:
    """One topic in Markdown."""
    content = json.loads(file.read_text())
    figures = [Figure(**each) for each in content["figures"]]
    lines = [f"### {file.stem}", "", _measured_on(content["machine"]), ""]
    lines += ["| figure | value | unit | target | met | conditions |", "|---|---:|---|---|---|---|"]
    lines += [
        _row((f"`{each.id}`", _number(each.value), each.unit, each.target, _VERDICT[each.met], each.conditions))
        for each in figures
    ]
    return "\n".join(lines)


def _measured_on(machine: dict[str, Any]) -> str:
    return (
        f"Measured on {machine['date']} at commit {machine['commit'] or 'unknown'}: {machine['cores']} cores of "
        f"{machine['cpu']}, {machine['memory_gib']} GiB, Linux {machine['kernel']}, Python {machine['python']}, "
        f"grpcio {machine['grpcio']}; load before the run {machine['load_at_start']}."
    )


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"
