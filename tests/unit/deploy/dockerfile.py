"""Reads as much of a Dockerfile as the tests ask about: its stages and their instructions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction with what follows its word, continuation lines joined."""

    word: str
    rest: str

    @property
    def arguments(self) -> list[str]:
        """The words of `rest`, or the strings of its JSON form; without flags such as --from=."""
        if self.rest.startswith("["):
            return [str(each) for each in json.loads(self.rest)]
        return [each for each in self.rest.split() if not each.startswith("--")]


def stages(path: Path) -> list[list[Instruction]]:
    """The instructions of each stage, its FROM first."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append(Instruction(word, rest.strip()))
    return found


def copied(path: Path) -> list[str]:
    """What is copied from the build context, in order."""
    return [
        source
        for stage in stages(path)
        for each in stage
        if each.word == "COPY" and not each.rest.startswith("--from=")
        for source in each.arguments[:-1]
    ]


def last(stage: list[Instruction], word: str) -> Instruction:
    """The instruction `word` that counts."""
    return [each for each in stage if each.word == word][-1]


def environment(stage: list[Instruction]) -> dict[str, str]:
    """The variables that a stage sets."""
    pairs = (pair for each in stage if each.word == "ENV" for pair in each.rest.split())
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
