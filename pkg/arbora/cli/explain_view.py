"""How a placement decision looks: the sentence, what is pending, members with scores, why not the others.

Used by `workloads explain`, `apply --dry-run=server`, `workloads rebalance` and `simulate`. As a table it fits 80
columns: scores that count most come first, those that don't fit are named. `wide` shows all. Pure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from arbora.cli.lines import align, shorten
from arbora.v1 import workload_pb2 as pb

WIDTH = 80
_MEMBER_WIDTH = 40
"""Of a member's path in a table of WIDTH columns."""
_ANY = 2**31 - 1
"""Room that has no limit."""
_NAMED = 5
"""Members with the same sentence that are named; of the others the number is told."""
_SENTENCES = 5
"""Sentences that are told for one reason code."""


def explanation_lines(explanation: pb.Explanation, wide: bool = False) -> list[str]:
    """The whole explanation as text. wide: nothing is left out, lines may be longer than WIDTH."""
    width = 10**6 if wide else WIDTH
    lines = _fact("Decision", explanation.decision, width)
    if explanation.pending:
        lines += _fact("Pending", replicas(explanation.pending), width)
    for reason in dict.fromkeys(each for each in explanation.reasons if each not in explanation.decision):
        lines += _fact("Because", reason, width)
    lines += _fact("Would help", explanation.wake, width)
    for assumption in explanation.assumptions:
        lines += _fact("Assumed", assumption, width)
    if explanation.scored:
        lines += ["Members:", *_indented(_scored(explanation.scored, wide))]
    if explanation.rejected or explanation.counts:
        lines += ["Not there:", *_indented(_rejected(explanation, wide))]
    return lines


def replicas(count: int) -> str:
    """`1 replica`, `3 replicas`."""
    return f"{count} replica{'' if count == 1 else 's'}"


def difference_lines(differences: Mapping[str, str]) -> list[str]:
    """What is different in the manifests, and in which members. differences: by member."""
    members: dict[str, list[str]] = {}
    for member in sorted(differences):
        members.setdefault(differences[member].rstrip(), []).append(member)
    lines: list[str] = []
    for text, where in members.items():
        if text:
            lines += [*textwrap.wrap(f"Different in {', '.join(where)}:", WIDTH), *_indented(text.split("\n"))]
    return lines


def _fact(name: str, text: str, width: int) -> list[str]:
    if not text:
        return []
    head = f"{name + ':':<12}"
    return textwrap.wrap(
        text,
        width,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}".rstrip() for line in lines]


def _scored(scored: Sequence[pb.ScoredMember], wide: bool) -> list[str]:
    weights = {part.name: part.weight for member in scored for part in member.parts}
    names = sorted(weights, key=lambda name: -weights[name])
    columns = [_score_column(scored, name, weights[name], wide) for name in names]
    shown = [
        ["MEMBER", *(member.path if wide else shorten(member.path, _MEMBER_WIDTH) for member in scored)],
        ["REPLICAS", *(str(member.replicas) for member in scored)],
        ["ROOM", *("any" if member.room >= _ANY else str(member.room) for member in scored)],
        ["TOTAL", *(f"{member.total:.1f}" for member in scored)],
    ]
    room = WIDTH - 2 - sum(_width(column) + 2 for column in shown) + 2
    left_out: list[str] = []
    for name, column in zip(names, columns, strict=True):
        room -= _width(column) + 2
        if wide or (room >= 0 and not left_out):
            shown.append(column)
        else:
            left_out.append(name)
    lines = align([list(row) for row in zip(*shown, strict=True)])
    if left_out:
        lines += textwrap.wrap(f"With -o wide also: {', '.join(left_out)}.", WIDTH - 2)
    unknown = {f"{part.name}: {part.reason}" for member in scored for part in member.parts if part.reason}
    if unknown and wide:
        lines += [f"? {text}" for text in sorted(unknown)]
    elif unknown:
        lines.append("? stands where nothing was known.")
    return lines


def _score_column(scored: Sequence[pb.ScoredMember], name: str, weight: float, wide: bool) -> list[str]:
    cells = []
    for member in scored:
        part = next((part for part in member.parts if part.name == name), None)
        score = "" if part is None else f"{part.score:.1f}" if wide else f"{part.score:.0f}"
        cells.append(score + ("?" if part is not None and part.reason else ""))
    return [f"{name.upper()} x{weight:.2f}" if wide else name.upper(), *cells]


def _width(column: Sequence[str]) -> int:
    return max(map(len, column))


def _rejected(explanation: pb.Explanation, wide: bool) -> list[str]:
    """By reason: its code, how many members have it, and what it is in which of them."""
    groups: dict[str, dict[str, list[str]]] = {}
    for each in explanation.rejected:
        groups.setdefault(each.code, {}).setdefault(each.sentence, []).append(each.path)
    counts = explanation.counts
    lines: list[str] = []
    for code in sorted({*groups, *counts}, key=lambda code: (-counts.get(code, 0), code)):
        sentences = groups.get(code, {})
        known = len({member for members in sentences.values() for member in members})
        count = max(known, counts.get(code, 0))
        lines.append(f"{code}: {count} member{'' if count == 1 else 's'}")
        shown = len(sentences) if wide else _SENTENCES
        for sentence, members in list(sentences.items())[:shown]:
            lines += _indented(_told(sentence, members, wide))
        if len(sentences) > shown:
            lines.append(f"  and {len(sentences) - shown} more like that, see -o wide")
    return lines


def _told(sentence: str, members: Sequence[str], wide: bool) -> list[str]:
    if wide:
        return [f"{', '.join(members)}: {sentence}"]
    names = ", ".join(members[:_NAMED])
    more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
    return textwrap.wrap(f"{names}{more}: {sentence}", WIDTH - 6, subsequent_indent="  ", break_on_hyphens=False)
