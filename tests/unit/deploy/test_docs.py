"""The documentation says what is there: links lead somewhere, and printed commands exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from arbora.cli.main import app
from docs import cli_reference, gpu_reference

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#]*)(#[^)]*)?\)")
FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[|;&(]\s*|\s--?\s)(arbora(?:\s+[^|;&)#\n]+)?)", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def printed_commands(page: Path) -> Iterator[str]:
    for block in FENCE.findall(page.read_text()):
        # what $(...) holds is a command of its own
        yield from COMMAND.findall(re.sub(r'"?\$\(|\)"?', ";", block.replace("\\\n", " ")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target + anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_printed_command_exists_with_its_options(page: Path) -> None:
    for line in printed_commands(page):
        command: Any = typer.main.get_command(app)
        words = shlex.split(line.replace("…", ""))[1:]
        while words and getattr(command, "commands", None):
            if words[0] == "--help":
                break
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
        for word in words:
            if re.match(r"--?[a-zA-Z]", word):
                assert word.partition("=")[0] in known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_is_there(page: Path) -> None:
    text = page.read_text()
    for name in re.findall(r"`((?:pkg|hub|agent|proto|tests|deploy)/[\w./-]+\.\w+)`", text):
        assert (ROOT / name).exists(), name


def test_every_test_that_is_named_as_evidence_is_there() -> None:
    defined = {
        name
        for file in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    for page in PAGES:
        for name in re.findall(r"`(test_\w+)`", page.read_text()):
            assert name in defined, f"{page.name}: {name}"


def test_the_reference_of_the_command_line_is_current() -> None:
    assert cli_reference.main(["--check"]) == 0
    assert gpu_reference.main(["--check"]) == 0
