"""A call goes hop by hop to the hub that owns its object, and whatever goes wrong names the hop."""

from __future__ import annotations

import asyncio
from pathlib import Path as Folder

import pytest

from arbora.errors import (
    ArboraError,
    DeadlineExceeded,
    Exhausted,
    InvalidInput,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from arbora.identity.bearer import Role
from arbora.identity.names import Path
from arbora.v1 import access_pb2, call_pb2, error_pb2
from arbora.v1 import member_pb2 as pb
from arbora_hub.tree import calls, patience, serving
from tests.support.eventually import eventually
from tests.support.joined import GET, LABEL, JoinedHub, asked_by, line_of_hubs

EVICT = "/arbora.v1.MemberService/EvictMember"


async def get(hub: JoinedHub, path: str) -> str:
    """The path that the owner of the member answers with."""
    return (await hub.get(pb.GetMemberRequest(path=path), None)).member.path


async def label(hub: JoinedHub, path: str) -> pb.Member:
    return (await hub.label(pb.LabelMemberRequest(path=path, set={"zone": "b"}), None)).member


def handed(hub: JoinedHub, call: call_pb2.Call) -> None:
    """Something comes down the wire from `hub` that its own `Calls` would never send."""
    hub.below._call(f"call/{call.id}", call.SerializeToString())


async def answer_to(hub: JoinedHub, call_id: str) -> call_pb2.CallAnswer:
    """What came up the wire to `hub`."""
    found = await eventually(
        lambda: [value for key, value in hub.below.answers if key == f"answer/{call_id}"], f"answer to {call_id}"
    )
    return call_pb2.CallAnswer.FromString(found[-1])


async def test_a_call_arrives_at_the_owner_with_its_path_cut_at_every_hop(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu", "paris", "site") as hubs:
        assert await get(hubs[0], "/eu/paris/site/edge-7") == "/eu/paris/site/edge-7"
        assert [hub.done[0][0] for hub in hubs] == [
            "/eu/paris/site/edge-7",
            "paris/site/edge-7",
            "site/edge-7",
            "edge-7",
        ]
        assert await get(hubs[1], "/eu/paris/site/edge-7") == "/eu/paris/site/edge-7"
        assert await get(hubs[2], "site/edge-7") == "/eu/paris/site/edge-7"


async def test_every_hub_on_the_way_knows_the_caller_under_one_name(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu", "paris") as hubs:
        await label(hubs[0], "/eu/paris/edge-7")
        assert [hub.audit for hub in hubs[1:]] == [[("parent/access/alice", "LabelMember", "OK")]] * 2


@pytest.mark.parametrize(
    ("path", "kind", "message", "hop"),
    [
        ("/us/edge-7", NotFound, "there is no child us at the hub /", ""),
        ("/eu/rome/edge-7", NotFound, "/eu: there is no child rome at the hub /eu", "/eu"),
        ("/eu/paris/ghost", NotFound, "/eu/paris: there is no member ghost", "/eu/paris"),
        ("/eu/paris/edge-7/x", NotFound, "/eu/paris: /eu/paris/edge-7 is a member cluster", "/eu/paris"),
    ],
)
async def test_what_is_unknown_is_said_by_the_hub_that_does_not_know_it(
    tmp_path: Folder, path: str, kind: type[ArboraError], message: str, hop: str
) -> None:
    async with line_of_hubs(tmp_path, "eu", "paris") as hubs:
        with pytest.raises(kind) as told:
            await get(hubs[0], path)
        assert told.value.message.startswith(message)
        assert told.value.hop == hop


async def test_a_hub_that_is_lost_is_named_with_since_when_by_the_hub_above_it(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu", "paris") as hubs:
        paris = hubs[1].inventory.find("paris")
        assert paris is not None
        hubs[1].below.up = False
        paris.heard = asyncio.get_running_loop().time() - 42
        with pytest.raises(
            Unavailable, match=r"^/eu: /eu/paris is not connected; it was last heard of 42 s ago"
        ) as told:
            await get(hubs[0], "/eu/paris/edge-7")
        assert told.value.hop == "/eu"


async def test_a_refusal_names_who_refused_and_keeps_its_kind_hint_and_field(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu", "paris") as hubs:
        hubs[2].fail = PermissionDenied("edge-7 refuses", hint="Ask it.", field="member", retry_after=1.5)
        with pytest.raises(PermissionDenied) as told:
            await get(hubs[0], "/eu/paris/edge-7")
        error = told.value
        assert (error.message, error.hop) == ("/eu/paris: edge-7 refuses", "/eu/paris")
        assert (error.hint, error.field, error.retry_after) == ("Ask it.", "member", 1.5)


async def test_a_bug_further_down_is_told_as_an_id_and_nothing_else(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        hubs[1].fail = RuntimeError("a secret")
        with pytest.raises(ArboraError, match=r"^/eu: internal error [0-9a-f]{8}: see the hub's log$"):
            await get(hubs[0], "/eu/edge-7")


async def test_of_two_hubs_that_wait_the_nearer_gives_up_first_and_is_the_one_that_is_told(
    tmp_path: Folder,
) -> None:
    async with line_of_hubs(tmp_path, "eu", "paris") as hubs:
        hubs[1].below.silent = True
        patience.until.set(asyncio.get_running_loop().time() + 0.3)
        with pytest.raises(DeadlineExceeded, match=r"^/eu: the hub /eu/paris did not answer within 0\.2 s"):
            await get(hubs[0], "/eu/paris/edge-7")


async def test_a_handler_that_never_ends_is_ended_with_the_callers_patience(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        hubs[1].stuck = True
        call = call_pb2.Call(id="a", method=GET, caller="access/alice", role=access_pb2.ROLE_VIEWER)
        call.patience.FromMilliseconds(50)
        handed(hubs[0], call)
        answer = await answer_to(hubs[0], "a")
        assert answer.error.detail.reason == "DEADLINE_EXCEEDED"


async def test_whoever_gives_up_takes_the_call_back(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        hubs[1].stuck = True
        waiting = asyncio.create_task(get(hubs[0], "/eu/edge-7"))
        await eventually(lambda: hubs[1].done, "the call is being done")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert hubs[0].below.deleted == [hubs[0].below.down[0][0]]


async def test_a_call_that_is_delivered_twice_is_done_once_and_answered_again(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        hubs[0].below.twice = True
        await label(hubs[0], "/eu/edge-7")
        assert len(hubs[1].done) == 1
        key, value = hubs[0].below.down[0]
        hubs[0].below._call(key, value)
        assert len(hubs[0].below.answers) == 2
        assert hubs[0].below.answers[0] == hubs[0].below.answers[1]
        assert len(hubs[1].done) == len(hubs[1].audit) == 1


async def test_what_a_parent_asked_is_not_answered_to_the_next_one(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        await label(hubs[0], "/eu/edge-7")
        (first,) = hubs[0].below.answers
        hubs[1].stuck = True
        waiting = asyncio.create_task(get(hubs[0], "/eu/edge-7"))
        await eventually(lambda: len(hubs[1].done) == 2, "the call is being done")
        hubs[0].below.new_parent()
        hubs[1].stuck = False
        # to the new one an id of the old one is new
        handed(hubs[0], call_pb2.Call(id=first[0].removeprefix("answer/"), method=EVICT))
        await eventually(lambda: len(hubs[0].below.answers) == 2, "answered anew")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert hubs[0].below.answers[1] != first


async def test_an_answer_counts_only_from_the_hub_that_was_asked(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path / "a", "eu") as hubs, line_of_hubs(tmp_path / "b", "eu") as others:
        hubs[1].stuck = True
        waiting = asyncio.create_task(get(hubs[0], "/eu/edge-7"))
        await eventually(lambda: hubs[1].done, "the call is being done")
        liar = others[0].inventory.find("eu")
        assert liar is not None
        key = hubs[0].below.down[0][0].replace("call/", "answer/")
        forged = call_pb2.CallAnswer(id=key.removeprefix("answer/"), response=b"")
        hubs[0].calls.observed(liar, key, forged.SerializeToString())
        honest = hubs[0].inventory.find("eu")
        assert honest is not None
        hubs[0].calls.observed(honest, "answer/x", b"\xff")
        assert not waiting.done()
        hubs[0].calls.observed(honest, key, forged.SerializeToString())
        assert await waiting == ""


async def test_a_viewer_further_up_is_a_viewer_here(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        asked_by("eve", Role.VIEWER)
        assert await get(hubs[0], "/eu/edge-7") == "/eu/edge-7"
        with pytest.raises(
            PermissionDenied, match=r"^/eu: LabelMember needs the role operator; access/eve is viewer"
        ):
            await label(hubs[0], "/eu/edge-7")
        assert hubs[1].audit == [("parent/access/eve", "LabelMember", "PERMISSION_DENIED")]
        assert [path for path, _ in hubs[1].done] == ["edge-7"]


async def test_an_admins_power_does_not_travel(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        asked_by("root", Role.ADMIN)
        await label(hubs[0], "/eu/edge-7")
        sent = call_pb2.Call.FromString(hubs[0].below.down[0][1])
        assert sent.role == access_pb2.ROLE_OPERATOR
        assert hubs[1].done[0][1].role is Role.OPERATOR


async def test_a_parent_that_claims_to_be_an_admin_is_an_operator(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        request = pb.GetMemberRequest(path="edge-7").SerializeToString()
        handed(
            hubs[0], call_pb2.Call(id="a", method=GET, request=request, caller="hub", role=access_pb2.ROLE_ADMIN)
        )
        assert (await answer_to(hubs[0], "a")).HasField("response")
        assert hubs[1].done[0][1].role is Role.OPERATOR


async def test_no_other_method_comes_from_above_and_no_unknown_role(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        told = []
        for number, (method, role) in enumerate(
            [(EVICT, 3), ("/arbora.v1.AccessService/CreateAccess", 3), ("/no/Such", 2), (GET, 0), (GET, 9)]
        ):
            call = call_pb2.Call(id=str(number), method=method, caller="access/eve")
            call.role = role  # type: ignore[assignment]
            handed(hubs[0], call)
            told.append((await answer_to(hubs[0], str(number))).error.detail.reason)
        assert told == ["INVALID_INPUT"] * 3 + ["PERMISSION_DENIED"] * 2
        assert hubs[1].done == []


async def test_what_can_not_be_read_is_dropped_or_refused_and_the_hub_goes_on(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        hubs[0].below._call("call/a", b"\xff\xff")
        hubs[0].below._call("call/a", None)
        hubs[0].below._call("call/a", call_pb2.Call(id="b", method=GET).SerializeToString())
        assert hubs[0].below.answers == []
        handed(hubs[0], call_pb2.Call(id="c", method=GET, request=b"\xff\xff", role=access_pb2.ROLE_VIEWER))
        assert (await answer_to(hubs[0], "c")).error.detail.reason == "INVALID_INPUT"
        assert await get(hubs[0], "/eu/edge-7") == "/eu/edge-7"


async def test_a_name_that_would_break_a_line_of_the_log_is_not_taken_over(tmp_path: Folder) -> None:
    async with line_of_hubs(tmp_path, "eu") as hubs:
        request = pb.GetMemberRequest(path="edge-7").SerializeToString()
        handed(
            hubs[0],
            call_pb2.Call(id="a", method=GET, request=request, caller="x\ny", role=access_pb2.ROLE_VIEWER),
        )
        await answer_to(hubs[0], "a")
        assert hubs[1].done[0][1].name == "parent/unnamed"


async def test_as_many_calls_as_are_allowed_run_at_once_and_the_next_is_refused(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "RUNNING_LIMIT", 2)
    async with line_of_hubs(tmp_path, "eu") as hubs:
        hubs[1].stuck = True
        waiting = [asyncio.create_task(get(hubs[0], "/eu/edge-7")) for _ in range(2)]
        await eventually(lambda: len(hubs[1].done) == 2, "two are being done")
        with pytest.raises(Exhausted, match=r"^/eu: 2 calls from above"):
            await get(hubs[0], "/eu/edge-7")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_calls_that_wait_for_their_answers_are_bounded(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "PENDING_LIMIT", 1)
    async with line_of_hubs(tmp_path, "eu") as hubs:
        hubs[1].stuck = True
        waiting = asyncio.create_task(get(hubs[0], "/eu/edge-7"))
        await eventually(lambda: hubs[1].done, "one waits")
        with pytest.raises(Exhausted, match="wait for their answers"):
            await get(hubs[0], "/eu/edge-7")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_an_answer_that_is_too_large_is_a_clear_error(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MAX_ANSWER_BYTES", 5)
    async with line_of_hubs(tmp_path, "eu") as hubs:
        with pytest.raises(Exhausted, match=r"^/eu: the answer has \d+ bytes, 5 at most"):
            await get(hubs[0], "/eu/edge-7")


@pytest.mark.parametrize("hop", ["/us", "/europe", "/", "no path at all", ""])
def test_a_hub_can_not_put_words_into_the_mouth_of_another_that_is_not_below_it(hop: str) -> None:
    told = call_pb2.CallError(message="no", detail=error_pb2.ErrorDetail(reason="NOT_FOUND", hop=hop), hop=hop)
    error = calls.error_of(told, Path(("eu",)))
    assert (type(error), error.message, error.hop) == (NotFound, "/eu: no", "/eu")


def test_nobody_but_a_client_sends_calls_down() -> None:
    with pytest.raises(InvalidInput):
        calls.travelling_role(serving.Caller("member/edge-7"))


def test_the_two_methods_of_these_tests_are_served_for_clients_too() -> None:
    assert {GET, LABEL} <= serving.POLICY.keys()
