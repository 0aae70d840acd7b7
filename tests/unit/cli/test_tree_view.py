"""The tree as it is drawn: who is below whom, how present, which GPUs, and what is not known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from arbora.cli.screen import plain
from arbora.cli.tree_view import ASCII, TreeScreen, selected, tree_lines
from arbora.manifests.selectors import parse_selector
from arbora.v1 import enrollment_pb2
from arbora.v1 import member_pb2 as pb
from tests.support.fake_hub import FakeHub
from tests.unit.cli.test_watches import Watch

Arbora = Callable[..., Result]


def gpus(product: str, total: int, free: int, unhealthy: int = 0) -> pb.GpuCount:
    gpu_class = pb.GpuClass(vendor="nvidia", product=product, sharing="exclusive")
    return pb.GpuCount(gpu_class=gpu_class, total=total, free=free, unhealthy=unhealthy)


def hub(path: str, *counts: pb.GpuCount, liveness: int = pb.LIVENESS_ONLINE) -> pb.MemberLine:
    line = pb.MemberLine(path=path, kind=enrollment_pb2.CHILD_KIND_HUB, gpus=counts)
    line.liveness = liveness  # type: ignore[assignment]
    return line


def agent(path: str, *counts: pb.GpuCount, liveness: int = pb.LIVENESS_ONLINE, **fields: object) -> pb.MemberLine:
    line = pb.MemberLine(path=path, kind=enrollment_pb2.CHILD_KIND_AGENT, gpus=counts, **fields)  # type: ignore[arg-type]
    line.liveness = liveness  # type: ignore[assignment]
    return line


def drawn(*lines: pb.MemberLine, gaps: dict[str, str] | None = None, asked: str = "") -> list[str]:
    found = [pb.TreeGap(path=path, message=message) for path, message in (gaps or {}).items()]
    return [plain(spans) for spans in tree_lines(pb.GetTreeResponse(lines=lines, gaps=found), asked)]


def test_hubs_sum_up_and_members_stand_under_them() -> None:
    assert drawn(
        hub("/eu", gpus("H100", 40, 8, 4)),
        hub("/eu/paris", gpus("H100", 32, 8, 4)),
        agent("/eu/paris/edge-7", gpus("H100", 32, 8, 4), gpus("T4", 4, 4)),
        agent("/eu/rome", gpus("H100", 8, 0), cordoned=True),
    ) == [
        "/",
        "└── ● eu              Online           H100  ███████▒░░ 8/40 free, 4 unhealthy",
        "    ├── ● paris       Online           H100  ███████▒░░ 8/32 free, 4 unhealthy".replace(
            "███████▒░░", "███████▒░░"
        ),
        "    │   └── ● edge-7  Online           H100  ███████▒░░ 8/32 free, 4 unhealthy  T4  ░░░░░░░░░░ 4/4 free",
        "    └── ● rome        Online,Cordoned  H100  ██████████ 0/8 free",
    ]


def test_a_gap_is_said_where_it_is_and_what_is_lost_is_not_counted() -> None:
    assert drawn(
        hub("/eu", gpus("H100", 8, 0), liveness=pb.LIVENESS_LOST),
        agent("/us", liveness=pb.LIVENESS_SUSPECT),
        gaps={"/eu": "/eu is not connected."},
    ) == [
        "/",
        "├── ◐ eu  Lost     H100  ██████████ 8 not counted  no answer: /eu is not connected.",
        "└── ◐ us  Suspect  no GPUs",
    ]


def test_an_empty_hub_is_drawn_under_the_path_that_was_asked_for() -> None:
    assert drawn(asked="/eu") == ["/eu"]
    assert drawn(agent("/eu/a"), asked="eu")[0] == "/eu"


def test_where_blocks_can_not_be_shown_plain_characters_are() -> None:
    tree = pb.GetTreeResponse(lines=[agent("/a", gpus("H100", 8, 4, 2)), agent("/b")])
    lines = [plain(spans) for spans in tree_lines(tree, pen=ASCII)]
    assert lines[1] == "|-- + a  Online  H100  ###!!..... 4/8 free, 2 unhealthy"[: len(lines[1])]
    assert "\n".join(lines).isascii()


def test_a_selection_keeps_the_hubs_on_the_way_and_what_nobody_knows() -> None:
    lines = [hub("/eu"), hub("/us"), agent("/eu/a", labels={"zone": "b"}), agent("/eu/c")]
    tree = pb.GetTreeResponse(lines=lines, gaps=[pb.TreeGap(path="/us", message="lost")])
    kept = selected(tree, parse_selector("zone=b"))
    assert [one.path for one in kept.lines] == ["/eu", "/eu/a"]
    assert [one.path for one in kept.gaps] == ["/us"]


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_a_bar_is_always_as_wide_and_shows_every_kind_that_is_there(total: int, free: int, bad: int) -> None:
    (_, line) = tree_lines(pb.GetTreeResponse(lines=[agent("/a", gpus("H100", total, free, bad))]), pen=ASCII)
    bar = "".join(text for text, style in line if style in ("cyan", "red", "green") and set(text) <= set("#!."))
    assert len(bar) == 10
    assert ("!" in bar) == bool(bad)
    if free > 0 and bad <= total // 2:
        assert "." in bar


def test_in_a_pipe_a_watched_tree_is_printed_again_only_if_it_changed(capsys: pytest.CaptureFixture[str]) -> None:
    first = pb.GetTreeResponse(lines=[agent("/a")])
    with TreeScreen(watch=True) as screen:
        screen.show(first)
        screen.show(first)
        screen.show(pb.GetTreeResponse(lines=[agent("/a", liveness=pb.LIVENESS_LOST)]))
    assert capsys.readouterr().out.splitlines() == [
        "/",
        "└── ● a  Online  no GPUs",
        "/",
        "└── ○ a  Lost  no GPUs",
    ]


def test_a_watched_tree_goes_on_until_it_is_interrupted(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/a", gpus=("H100", 8, 0))
    with Watch("members", "tree", "--watch") as watch:
        assert watch.line() == ["/"]
        assert watch.line()[-2:] == ["8/8", "free"]
