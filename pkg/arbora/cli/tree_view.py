"""How the tree looks: hubs and members under each other, how present they are, a bar of GPUs for each class.

    /
    ├── ● edge-7     Online  H100  ██████▒░░░ 8/32 free, 4 unhealthy
    └── ● eu         Online  H100  ██████████ 0/16 free
        └── ○ paris  Lost    no answer: /eu/paris is not connected

Pure but for `TreeScreen`, which prints. A hub's bars sum up everything below it. What is not known is said where
it belongs and never left out. The same lines serve a terminal, in colours, and a pipe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from arbora.capacity.gpus import GpuClass
from arbora.cli import words
from arbora.cli.console import can_draw
from arbora.cli.screen import Screen, Spans
from arbora.manifests.matching import matches
from arbora.manifests.selectors import Selector
from arbora.v1 import enrollment_pb2
from arbora.v1 import member_pb2 as pb

REFRESH_SECONDS = 2.0
"""How often a watched tree is asked for."""
_WIDTH = 10
"""Characters of a bar."""

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pen:
    """What lines are drawn with."""

    branches: tuple[str, str, str]
    """Of a node that others follow, of the last one, past a node that others follow."""
    bar: tuple[str, str, str]
    """Used, unhealthy, free."""
    marks: tuple[str, str, str]
    """Present, doubtful, away."""


UNICODE = Pen(("├── ", "└── ", "│   "), ("█", "▒", "░"), ("●", "◐", "○"))
ASCII = Pen(("|-- ", "`-- ", "|   "), ("#", "!", "."), ("+", "?", "-"))


@dataclass(slots=True)
class _Node:
    """One place of the tree; without a line it is only passed through."""

    line: pb.MemberLine | None = None
    gap: str = ""
    children: dict[str, _Node] = field(default_factory=dict)


def selected(tree: pb.GetTreeResponse, selector: Selector) -> pb.GetTreeResponse:
    """What has these labels, with the hubs on the way there. Gaps stay: nobody knows what is behind them."""
    wanted = {one.path for one in tree.lines if matches(selector, one.labels)}
    labels = [path.split("/") for path in wanted]
    kept = wanted | {"/".join(parts[:end]) for parts in labels for end in range(2, len(parts))}
    return pb.GetTreeResponse(lines=[one for one in tree.lines if one.path in kept], gaps=tree.gaps)


def tree_lines(tree: pb.GetTreeResponse, asked: str = "", pen: Pen = UNICODE) -> list[Spans]:
    """The tree as lines. asked: the path that was asked for; tells the root where nothing else does."""
    top = _top(tree, asked)
    root = _Node()
    for one in tree.lines:
        _at(root, _labels(one.path)[len(top) :]).line = one
    for gap in tree.gaps:
        _at(root, _labels(gap.path)[len(top) :]).gap = gap.message
    drawn = list(_drawn(root, "", pen))
    name_width = max((len(prefix) + len(name) for prefix, name, _ in drawn), default=0)
    states = [_state(node) for _, _, node in drawn]
    state_width = max((len(state) for state, _ in states), default=0)
    lines: list[Spans] = [[("/" + "/".join(top), "bold"), *([("  " + root.gap, "yellow")] if root.gap else [])]]
    for (prefix, name, node), (state, style) in zip(drawn, states, strict=True):
        spans: Spans = [(prefix, "dim"), (_mark(node, pen), style), (" ", "")]
        spans.append((f"{name:<{name_width - len(prefix)}}", "bold" if _is_hub(node) else ""))
        spans.append((f"  {state:<{state_width}}", style))
        spans += _gpus(node, pen)
        if node.gap:
            spans.append((f"  no answer: {node.gap}", "yellow"))
        lines.append(spans)
    return lines


def _labels(path: str) -> Labels:
    return tuple(path.strip("/").split("/")) if path.strip("/") else ()


def _top(tree: pb.GetTreeResponse, asked: str) -> Labels:
    """Where the tree begins: what was asked for, or the place above the highest line."""
    highest = min((_labels(one.path) for one in tree.lines), key=len, default=None)
    return highest[:-1] if highest is not None else _labels(asked)


def _at(node: _Node, labels: Sequence[str]) -> _Node:
    for label in labels:
        node = node.children.setdefault(label, _Node())
    return node


def _drawn(node: _Node, indent: str, pen: Pen) -> Iterator[tuple[str, str, _Node]]:
    names = sorted(node.children)
    for name in names:
        last = name == names[-1]
        child = node.children[name]
        yield f"{indent}{pen.branches[1 if last else 0]}", name, child
        yield from _drawn(child, indent + ("    " if last else pen.branches[2]), pen)


def _is_hub(node: _Node) -> bool:
    return node.line is not None and node.line.kind == enrollment_pb2.CHILD_KIND_HUB


def _state(node: _Node) -> tuple[str, str]:
    if node.line is None:
        return "", "dim"
    member = pb.Member(liveness=node.line.liveness, cordoned=node.line.cordoned)
    return words.member_state(member), words.member_style(member)


def _mark(node: _Node, pen: Pen) -> str:
    present, doubtful, away = pen.marks
    if node.line is None or node.gap:
        return doubtful if node.gap else " "
    return {pb.LIVENESS_ONLINE: present, pb.LIVENESS_SUSPECT: doubtful}.get(node.line.liveness, away)


def _gpus(node: _Node, pen: Pen) -> Spans:
    if node.line is None:
        return []
    spans: Spans = []
    for count in sorted(node.line.gpus, key=lambda one: str(_class(one.gpu_class))):
        spans += [(f"  {_class(count.gpu_class)}  ", ""), *_bar(count, pen), (" ", "")]
        if node.line.liveness == pb.LIVENESS_LOST:
            spans.append((f"{count.total} not counted", "dim"))
            continue
        spans.append((f"{count.free}/{count.total} free", "green" if count.free else "yellow"))
        if count.unhealthy:
            spans.append((f", {count.unhealthy} unhealthy", "red"))
    return spans or [("  no GPUs", "dim")]


def _bar(count: pb.GpuCount, pen: Pen) -> Spans:
    """Used, unhealthy and free as parts of one bar; what there is at all is seen, however little it is."""
    total = max(1, count.total)
    bad = _part(count.unhealthy, total)
    free = min(_part(count.free, total), _WIDTH - bad)
    return [(pen.bar[0] * (_WIDTH - bad - free), "cyan"), (pen.bar[1] * bad, "red"), (pen.bar[2] * free, "green")]


def _part(number: int, total: int) -> int:
    return min(_WIDTH, max(1 if number else 0, round(_WIDTH * number / total)))


def _class(wire: pb.GpuClass) -> GpuClass:
    return GpuClass(wire.vendor, wire.product, wire.mig_profile, wire.sharing or "exclusive")


class TreeScreen:
    """Where the tree is shown: in one place of a terminal, again and again; elsewhere one after the other."""

    def __init__(self, watch: bool) -> None:
        """watch: the tree will be shown more than once."""
        self._pen = UNICODE if can_draw() else ASCII
        self._screen = Screen(watch)

    def __enter__(self) -> Self:
        self._screen.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.__exit__(kind, error, trace)

    def show(self, tree: pb.GetTreeResponse, asked: str = "") -> None:
        """Show it; in a pipe only if it differs from what was shown last."""
        self._screen.show(tree_lines(tree, asked, self._pen))
