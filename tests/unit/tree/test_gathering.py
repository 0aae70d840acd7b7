"""The tree below a hub: its own children, what child hubs answer, and a sentence for what is not known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path as Folder

import pytest

from arbora.errors import Exhausted
from arbora.v1 import call_pb2, enrollment_pb2
from arbora.v1 import member_pb2 as pb
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.tree import gathering
from arbora_hub.tree.gathering import Gathering
from tests.support.joined import JoinedHub, line_of_hubs


def answering(hub: JoinedHub, answer: Callable[[pb.GetTreeRequest], pb.GetTreeResponse | None]) -> None:
    """The hub below `hub` says this to GetTree, nothing if it is None."""
    child = hub.inventory.find("eu")
    assert child is not None

    def call(key: str, value: bytes | None) -> None:
        asked = call_pb2.Call.FromString(value or b"")
        said = answer(pb.GetTreeRequest.FromString(asked.request))
        if said is not None:
            told = call_pb2.CallAnswer(id=asked.id, response=said.SerializeToString())
            hub.calls.observed(child, f"answer/{asked.id}", told.SerializeToString())

    hub.below.observe("call", call)


def tree_of(*paths: str) -> pb.GetTreeResponse:
    return pb.GetTreeResponse(lines=[pb.MemberLine(path=path) for path in paths])


async def test_what_a_child_hub_answers_stands_under_it(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        answering(hubs[0], lambda asked: tree_of("/eu/z", "/eu/a", "/eu/a/b"))
        tree = await Gathering(hubs[0].inventory, hubs[0].calls).gather(0)
        assert [one.path for one in tree.lines] == ["/eu", "/eu/a", "/eu/a/b", "/eu/z"]
        assert tree.lines[0].kind == enrollment_pb2.CHILD_KIND_HUB
        assert not tree.gaps


async def test_a_child_hub_is_asked_for_one_level_less_and_not_at_all_for_the_last(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        asked: list[int] = []

        def answer(request: pb.GetTreeRequest) -> pb.GetTreeResponse:
            asked.append(request.depth)
            return pb.GetTreeResponse()

        answering(hubs[0], answer)
        for depth in (0, 1, 2, 5):
            await Gathering(hubs[0].inventory, hubs[0].calls).gather(depth)
        assert asked == [0, 1, 4]


async def test_a_hub_that_does_not_answer_in_time_is_a_gap_and_costs_its_time_only(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "ANSWER_SECONDS", 0.05)
    async with line_of_hubs(tmp_path, "eu") as hubs:
        answering(hubs[0], lambda asked: None)
        async with asyncio.timeout(2):
            tree = await Gathering(hubs[0].inventory, hubs[0].calls).gather(0)
        assert [one.path for one in tree.lines] == ["/eu"]
        assert [(gap.path, gap.message) for gap in tree.gaps] == [
            ("/eu", "the hub /eu did not answer within 0.1 s.")
        ]


async def test_a_hub_that_is_not_connected_is_a_gap_that_says_so(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        hubs[0].below.up = False
        tree = await Gathering(hubs[0].inventory, hubs[0].calls).gather(0)
        assert [(gap.path, gap.message) for gap in tree.gaps] == [("/eu", "/eu has not connected yet.")]
        assert hubs[0].below.down == []


async def test_a_hub_is_believed_only_about_what_is_below_it(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        said = tree_of("/us/a", "/eu", "/eu-2/a", "/eu/a")
        said.gaps.add(path="/us")
        said.gaps.add(path="/eu/a")
        answering(hubs[0], lambda asked: said)
        tree = await Gathering(hubs[0].inventory, hubs[0].calls).gather(0)
        assert [one.path for one in tree.lines] == ["/eu", "/eu/a"]
        assert [gap.path for gap in tree.gaps] == ["/eu/a"]


async def test_a_tree_that_is_too_large_for_one_answer_says_what_to_ask_instead(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MAX_BYTES", 100)
    async with line_of_hubs(tmp_path, "eu") as hubs:
        answering(hubs[0], lambda asked: tree_of(*(f"/eu/member-{number}" for number in range(20))))
        with pytest.raises(Exhausted, match="21 entries") as told:
            await Gathering(hubs[0].inventory, hubs[0].calls).gather(0)
        assert "--depth" in told.value.hint


async def test_of_a_hub_that_can_not_be_asked_what_it_said_last_is_shown_as_present_as_it_is(
    tmp_path: Folder,
) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        hubs[0].below.up = False
        eu = hubs[0].inventory.find("eu")
        assert eu is not None
        eu.liveness = Liveness.LOST
        for path in ("a", "b/c"):
            eu.lines[path] = pb.MemberLine(
                path=path, liveness=pb.LIVENESS_ONLINE, gpus=[pb.GpuCount(total=8, free=4, unhealthy=1)]
            )
        tree = await Gathering(hubs[0].inventory, hubs[0].calls).gather(0)
        assert [(one.path, one.liveness) for one in tree.lines] == [
            ("/eu", pb.LIVENESS_LOST),
            ("/eu/a", pb.LIVENESS_LOST),
            ("/eu/b/c", pb.LIVENESS_LOST),
        ]
        assert [(gpus.total, gpus.free, gpus.unhealthy) for gpus in tree.lines[1].gpus] == [(8, 0, 1)]
        assert [gap.message for gap in tree.gaps] == ["/eu has not connected yet; shown is what it said last."]
        shallow = await Gathering(hubs[0].inventory, hubs[0].calls).gather(2)
        assert [one.path for one in shallow.lines] == ["/eu", "/eu/a"]
