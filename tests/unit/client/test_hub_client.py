"""The SDK against a hub over TLS: what each noun returns, and what fails how."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest

from arbora import errors
from arbora.client import HubClient, WorkloadDegraded
from arbora.context import Context
from arbora.manifests.selectors import parse_selector
from arbora.secret import Secret
from arbora.v1 import access_pb2, member_pb2
from arbora.v1 import workload_pb2 as pb
from arbora.workloads.model import State
from tests.support.fake_hub import FakeHub

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}


async def test_members_come_from_all_pages_in_order(hub: FakeHub, client: HubClient) -> None:
    for name in "edcba":
        hub.add_member(f"/{name}")
    assert [member.path async for member in client.members.list()] == ["/a", "/b", "/c", "/d", "/e"]
    assert hub.calls.count("ListMembers") == 3


async def test_a_selector_narrows_the_list(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a", labels={"gpu": "h100"})
    hub.add_member("/b")
    assert [member.path async for member in client.members.list("gpu=h100")] == ["/a"]


async def test_a_member_is_found_by_name_or_path(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a")
    assert (await client.members.get("a")).path == (await client.members.get("/a")).path == "/a"


async def test_a_missing_member_is_not_found_with_the_hubs_hint(client: HubClient) -> None:
    with pytest.raises(errors.NotFound, match="no member x") as caught:
        await client.members.get("x")
    assert caught.value.hint == "See `arbora members list`."


async def test_labels_taints_and_cordon_change_the_member(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a", labels={"old": "1"})
    assert dict((await client.members.label("a", {"gpu": "h100"}, ["old"])).labels) == {"gpu": "h100"}
    taint = member_pb2.Taint(key="team", value="x", effect=member_pb2.TAINT_EFFECT_NO_SCHEDULE)
    assert list((await client.members.taint("a", [taint])).taints) == [taint]
    assert not (await client.members.taint("a", (), [member_pb2.Taint(key="team")])).taints
    assert (await client.members.cordon("a")).cordoned
    assert not (await client.members.cordon("a", False)).cordoned


async def test_evicting_says_why(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a")
    await client.members.evict("a", "sold")
    assert hub.evicted == [("/a", "sold")]


async def test_watching_members_tells_when_all_was_sent(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a")
    seen = [(change.member.path, change.synced) async for change in client.members.watch()]
    assert seen == [("/a", False), ("", True)]


async def test_applying_twice_changes_nothing(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a")
    first = await client.workloads.apply("web", [CONFIG_MAP], members=["a"])
    again = await client.workloads.apply("web", [CONFIG_MAP], members=["a"])
    other = await client.workloads.apply("web", [CONFIG_MAP], members=["a"], labels={"x": "y"})
    assert [answer.outcome for answer in (first, again, other)] == [
        pb.APPLY_OUTCOME_CREATED,
        pb.APPLY_OUTCOME_UNCHANGED,
        pb.APPLY_OUTCOME_CHANGED,
    ]


async def test_a_dry_run_leaves_nothing_behind(hub: FakeHub, client: HubClient) -> None:
    answer = await client.workloads.apply("web", [CONFIG_MAP], members=["a"], dry_run=True)
    assert answer.outcome == pb.APPLY_OUTCOME_CREATED
    assert not hub.workloads


async def test_a_selector_travels_whole(hub: FakeHub, client: HubClient) -> None:
    await client.workloads.apply("web", [CONFIG_MAP], selector=parse_selector("gpu=h100,tier in (a,b),!spot"))
    sent = hub.workloads["web"].spec.placement.selector
    assert dict(sent.match_labels) == {"gpu": "h100"}
    assert [(e.key, e.operator, list(e.values)) for e in sent.match_expressions] == [
        ("tier", "In", ["a", "b"]),
        ("spot", "DoesNotExist", []),
    ]


async def test_every_field_of_a_placement_and_the_overrides_travel(hub: FakeHub, client: HubClient) -> None:
    overrides = [{"members": ["a"], "edits": [{"env": {"set": {"Z": "1", "A": "$(Z)"}}}]}]
    placement = {
        "groups": [{"name": "near", "members": ["a"]}],
        "tolerations": [{"key": "team", "tolerationSeconds": 60}],
        "division": {"mode": "weighted", "weights": [{"weight": 3, "selector": {"matchLabels": {"x": "y"}}}]},
        "weights": {"cost": 0.5},
        "priority": -1,
    }
    await client.workloads.apply("web", [CONFIG_MAP], members=["b"], placement=placement, overrides=overrides)
    sent = hub.workloads["web"].spec
    assert sent.placement == pb.Placement(
        members=["b"],
        groups=[pb.AffinityGroup(name="near", members=["a"])],
        tolerations=[pb.Toleration(key="team", toleration_seconds=60)],
        division=pb.Division(
            mode="weighted",
            weights=[pb.StaticWeight(weight=3, selector=pb.LabelSelector(match_labels={"x": "y"}))],
        ),
        weights={"cost": 0.5},
        priority=-1,
    )
    assert json.loads(sent.overrides) == overrides
    assert sent.overrides.index(b'"Z"') < sent.overrides.index(b'"A"'), "in the order as written"


async def test_without_overrides_none_are_sent(hub: FakeHub, client: HubClient) -> None:
    await client.workloads.apply("web", [CONFIG_MAP], members=["a"])
    assert hub.workloads["web"].spec.overrides == b""


async def test_a_placement_that_nobody_knows_is_refused_before_it_is_sent(
    hub: FakeHub, client: HubClient
) -> None:
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"cluster": 2}, "cluster", "unknown field; did you mean clusters?"),
        ({"members": ["a"]}, "members", "unknown field"),
        ({3: 2}, "[3]", "unknown field"),  # type: ignore[dict-item]  # not every caller has its types checked
        ({"clusters": -2}, "clusters", "-2 is below 0"),
        ({"clusters": "two"}, "clusters", "is a text, not a whole number"),
        ({"division": "pack"}, "division", "is a text, not a map"),
        ({"spread": [{"label": "site", "maxSkew": 1.5}]}, "spread[0].maxSkew", "is a number, not a whole number"),
        ({"tolerations": ({"tolerationSeconds": -1},)}, "tolerations[0].tolerationSeconds", "-1 is below 0"),
        ({"weights": {"cost": math.nan}}, "weights.cost", "nan is not a finite number"),
        ({"weights": {"cost": 10**400}}, "weights.cost", "is too large"),
        ({"priority": 2**31}, "priority", "2147483648 is above 2147483647"),
    ]
    for placement, field, message in wrong:
        with pytest.raises(errors.InvalidInput) as refused:
            await client.workloads.apply("web", [CONFIG_MAP], members=["a"], placement=placement)
        assert str(refused.value) == f"spec.placement{'' if field[0] == '[' else '.'}{field}: {message}"
    assert not hub.calls


async def test_a_placement_is_explained(hub: FakeHub, client: HubClient) -> None:
    hub.explanations["web"] = pb.Explanation(decision="nowhere", pending=2, wake="a free GPU")
    await client.workloads.apply("web", [CONFIG_MAP], members=["a"])
    assert await client.workloads.explain("web") == hub.explanations["web"]
    with pytest.raises(errors.NotFound):
        await client.workloads.explain("other")


async def test_a_rebalance_moves_unless_it_is_only_tried(hub: FakeHub, client: HubClient) -> None:
    await client.workloads.apply("web", [CONFIG_MAP], members=["a"])
    hub.divided_afresh["web"] = {"/a": 1, "/b": 2}
    tried = await client.workloads.rebalance("web", dry_run=True)
    assert [(move.path, move.after) for move in tried.moves] == [("/a", 1), ("/b", 2)]
    assert not any(move.HasField("before") for move in tried.moves), "it was nowhere"
    assert not hub.workloads["web"].assignments
    await client.workloads.rebalance("web")
    assert [part.path for part in hub.workloads["web"].assignments] == ["/a", "/b"]


async def test_too_large_a_workload_is_refused_by_name_before_it_is_sent(hub: FakeHub, client: HubClient) -> None:
    huge = {**CONFIG_MAP, "data": {"k": "x" * (8 << 20)}}
    with pytest.raises(errors.InvalidInput, match="workload web has 8 MiB"):
        await client.workloads.apply("web", [huge], members=["a"])
    assert not hub.calls


async def test_waiting_ends_when_every_member_reports_the_present_generation(
    hub: FakeHub, client: HubClient
) -> None:
    hub.add_member("/a")
    hub.add_member("/b")
    await client.workloads.apply("web", [CONFIG_MAP], members=["a", "b"])
    seen: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(client.workloads.wait("web", seen=lambda w: seen.append(w.name)))
        await asyncio.to_thread(hub.wait_for_call, "WatchWorkloads")
        hub.report("web", pb.WORKLOAD_STATE_AVAILABLE, path="/a")
        assert not waiting.done()
        hub.report("web", pb.WORKLOAD_STATE_COMPLETE)
    result = waiting.result()
    assert result is not None
    assert result.state == pb.WORKLOAD_STATE_COMPLETE
    assert set(seen) == {"web"}


async def test_waiting_fails_at_once_when_the_workload_is_degraded(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a")
    await client.workloads.apply("web", [CONFIG_MAP], members=["a"])
    hub.report("web", pb.WORKLOAD_STATE_DEGRADED, "admission denied")
    with pytest.raises(WorkloadDegraded, match="/a: Job x: admission denied") as caught:
        await client.workloads.wait("web")
    assert caught.value.exit_code == 3


async def test_waiting_too_long_says_where_it_stands(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a")
    await client.workloads.apply("web", [CONFIG_MAP], members=["a"])
    with pytest.raises(errors.DeadlineExceeded, match=r"web is Pending, not Available, after 0\.2 s"):
        await client.workloads.wait("web", timeout=0.2)


async def test_waiting_survives_a_hub_that_goes_away_and_comes_back(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a")
    await client.workloads.apply("web", [CONFIG_MAP], members=["a"])
    hub.report("web", pb.WORKLOAD_STATE_AVAILABLE)
    hub.failures += [errors.Unavailable("going down"), errors.Unavailable("still")]
    assert await client.workloads.wait("web") is not None
    assert hub.calls.count("WatchWorkloads") == 3


async def test_waiting_for_deletion_ends_when_it_is_gone(hub: FakeHub, client: HubClient) -> None:
    await client.workloads.apply("web", [CONFIG_MAP], members=["a"])
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(client.workloads.wait("web", State.DELETED))
        await asyncio.to_thread(hub.wait_for_call, "WatchWorkloads")
        await client.workloads.delete("web")
    assert waiting.result() is None


async def test_waiting_for_what_is_not_there_is_not_found(client: HubClient) -> None:
    with pytest.raises(errors.NotFound, match="no workload web"):
        await client.workloads.wait("web")


async def test_a_token_is_opened_by_the_requester_alone_and_not_shown(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a")
    token = await client.tokens.create("a", "team", "runner", lifetime=timedelta(hours=1))
    assert token.secret.reveal() == "a-token-of-the-member"
    assert token.lifetime == timedelta(minutes=30)
    assert token.member == "/a"
    assert "a-token-of-the-member" not in repr(token)


async def test_a_token_beyond_the_allow_list_is_denied(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a")
    with pytest.raises(errors.PermissionDenied, match="does not give out tokens of team/other"):
        await client.tokens.create("a", "team", "other")


async def test_events_are_listed_newest_first_and_watched_as_they_happen(hub: FakeHub, client: HubClient) -> None:
    for reason in ("One", "Two", "Three"):
        hub.add_event(reason, "member/a")
    hub.add_event("Other", "member/ab")
    assert [event.reason async for event in client.events.list("member/a")] == ["Three", "Two", "One"]
    async with aclosing(client.events.watch()) as changes:
        following = asyncio.ensure_future(anext(changes))
        await asyncio.to_thread(hub.wait_for_watcher)
        hub.add_event("Four")
        assert (await following).event.reason == "Four"


async def test_access_and_join_tokens_are_made_listed_and_revoked(hub: FakeHub, client: HubClient) -> None:
    made = await client.access.create("ana", access_pb2.ROLE_VIEWER, timedelta(days=1))
    assert made.access.HasField("expires")
    assert [access.name for access in await client.access.list()] == ["ana"]
    await client.access.revoke("ana")
    assert not await client.access.list()
    token = await client.join_tokens.create("edge-7", labels={"gpu": "h100"}, uses=3, lifetime=timedelta(hours=1))
    assert token.token.startswith("arb1.")
    (listed,) = await client.join_tokens.list()
    assert (listed.name, listed.uses_left, dict(listed.labels)) == ("edge-7", 3, {"gpu": "h100"})
    await client.join_tokens.revoke(listed.id)
    assert not await client.join_tokens.list()


async def test_the_rotation_refuses_a_step_out_of_turn(client: HubClient) -> None:
    keys = await client.rotate_authority("prepare")
    assert [key.phase for key in keys] == ["active", "prepared"]
    with pytest.raises(errors.Conflict, match="not at retire"):
        await client.rotate_authority("retire")


async def test_a_read_is_repeated_while_the_hub_is_unavailable(hub: FakeHub, client: HubClient) -> None:
    hub.failures += [errors.Unavailable("busy")] * 2
    assert (await client.info()).version == "0.1.0"
    assert hub.calls == ["GetHub"] * 3


async def test_a_read_is_repeated_a_bounded_number_of_times(hub: FakeHub, client: HubClient) -> None:
    hub.failures += [errors.Unavailable("busy")] * 9
    with pytest.raises(errors.Unavailable, match="busy"):
        await client.info()
    assert hub.calls == ["GetHub"] * 4


async def test_a_write_is_never_repeated(hub: FakeHub, client: HubClient) -> None:
    hub.add_member("/a")
    hub.failures.append(errors.Unavailable("busy"))
    with pytest.raises(errors.Unavailable):
        await client.members.cordon("a")
    assert hub.calls == ["CordonMember"]


async def test_another_failure_than_unavailable_is_not_repeated(hub: FakeHub, client: HubClient) -> None:
    hub.failures.append(errors.Exhausted("too many", retry_after=1.0))
    with pytest.raises(errors.Exhausted) as caught:
        await client.info()
    assert caught.value.retry_after == 1.0
    assert hub.calls == ["GetHub"]


async def test_a_call_that_gets_no_answer_ends_at_its_deadline(hub: FakeHub) -> None:
    async with HubClient.from_context(hub.context, deadline=0.3) as client:
        with hub.changed, pytest.raises(errors.DeadlineExceeded):  # the held lock keeps the hub from answering
            await client.info()


async def test_an_unknown_bearer_is_not_authenticated(hub: FakeHub) -> None:
    wrong = Context(hub.address, hub.context.ca, Secret("arbk.other.secret"))
    async with HubClient.from_context(wrong) as client:
        with pytest.raises(errors.Unauthenticated, match="not known"):
            await client.info()


async def test_a_hub_of_another_ca_is_not_talked_to(hub: FakeHub) -> None:
    with FakeHub() as other:
        mixed = Context(hub.address, other.context.ca, hub.context.token)
        async with HubClient.from_context(mixed, deadline=5) as client:
            with pytest.raises(errors.Unavailable, match="can't be reached") as caught:
                await client.info()
            assert "CA" in caught.value.hint
    assert not hub.calls
