"""Hubs below hubs over real sockets: joining, moving, standing by, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from arbora.errors import Conflict, InvalidInput, NotFound, PermissionDenied, Unavailable
from arbora.identity.names import Kind
from arbora.secret import Secret
from arbora.session.state import Phase
from arbora.v1 import access_pb2 as pb
from arbora.v1 import access_pb2_grpc, enrollment_pb2, session_pb2
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.tree import held, holding, joining
from arbora_hub.tree.parent_store import ParentStore
from arbora_hub.tree.parents import Parent, Parents
from arbora_hub.tree.uplink import Uplink
from tests.support.child import enrolled
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, client_with, ports_of, running_agent, running_hub

HUB = enrollment_pb2.CHILD_KIND_HUB


async def hub_token(parent: RunningHub, name: str = "") -> str:
    return await parent.join_token(name, kind=HUB)


def below(parent: RunningHub, token: str, **settings: Any) -> dict[str, Any]:
    """Settings of a hub that joins `parent` with `token`."""
    return {"parent": parent.hub.join_address, "join_token": Secret(token), **settings}


async def until(hub: RunningHub, path: str) -> None:
    """Wait until the hub is online at `path`."""
    await eventually(
        lambda: hub.hub.uplink.connected and str(hub.hub.inventory.own_path) == path,
        f"online as {path}",
    )


async def until_phase(hub: RunningHub, phase: str) -> pb.Uplink:
    async def there() -> pb.Uplink | None:
        uplink = (await hub.admin.info()).uplink
        return uplink if uplink.phase == phase else None

    found = await eventually(there, f"the uplink is {phase}")
    assert found is not None
    return found


def id_of(hub: RunningHub) -> str:
    return hub.hub.authority.hub_id


async def test_a_hub_joins_a_hub_and_paths_below_follow(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "root") as root:
        token = await root.join_token("eu", kind=HUB, labels={"region": "eu"})
        async with running_hub(tmp_path / "eu", **below(root, token)) as eu:
            await until(eu, "/eu")
            await root.until("eu", Liveness.ONLINE)
            async with running_agent(eu, tmp_path, "edge-7") as agent:
                await agent.until_online()
                assert agent.states[-1].path == "/eu/edge-7"
                member = await eu.admin.members.get("/eu/edge-7")
                assert member.path == "/eu/edge-7"
            info = await eu.admin.info()
            assert info.path == "/eu"
            assert info.uplink.parent == root.hub.join_address
            assert (info.uplink.phase, info.uplink.exports) == ("online", "lines")
            assert eu.hub.uplink.ancestors == (id_of(root),)
            await eventually(
                lambda: dict(eu.hub.uplink.inherited_labels) == {"region": "eu"}, "labels are inherited"
            )
            assert not (await root.admin.info()).HasField("uplink")


async def test_members_that_are_online_follow_when_their_hub_gets_a_parent(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "root") as root, running_hub(tmp_path / "eu") as eu:
        async with running_hub(tmp_path / "paris", **below(eu, await hub_token(eu, "paris"))) as paris:
            async with running_agent(paris, tmp_path, "edge-7") as agent:
                await agent.until_online()
                await eventually(lambda: agent.states[-1].path == "/paris/edge-7", "below /paris")
                await eu.hub.uplink.move(root.hub.join_address, await hub_token(root, "eu"))
                await eventually(lambda: agent.states[-1].path == "/eu/paris/edge-7", "below /eu/paris")
                above = (id_of(eu), id_of(root))
                await eventually(lambda: paris.hub.uplink.ancestors == above, "it knows the hubs above")
                assert agent.states[-1].phase is Phase.ONLINE
                assert agent.agent.link is not None
                assert agent.agent.link.credential.path == "/eu/paris/edge-7"


async def test_labels_from_above_reach_every_hub_below(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "root") as root:
        token = await root.join_token("eu", kind=HUB, labels={"region": "eu"})
        async with running_hub(tmp_path / "eu", **below(root, token)) as eu:
            site = await eu.join_token("paris", kind=HUB, labels={"site": "paris"})
            async with running_hub(tmp_path / "paris", **below(eu, site)) as paris:
                wanted = {"region": "eu", "site": "paris"}
                await eventually(lambda: dict(paris.hub.uplink.inherited_labels) == wanted, "both labels")
                await root.admin.members.label("eu", set={"region": "europe"})
                await eventually(lambda: paris.hub.uplink.inherited_labels["region"] == "europe", "the new label")


async def test_a_restart_needs_no_token_and_a_used_one_changes_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "root") as root:
        token = await hub_token(root, "eu")
        async with running_hub(tmp_path / "eu", **below(root, token)) as eu:
            await until(eu, "/eu")
            epoch = eu.hub.uplink.placement_epoch
        for settings in ({}, below(root, token)):
            async with running_hub(tmp_path / "eu", **settings) as eu:
                assert str(eu.hub.inventory.own_path) == "/eu"
                assert eu.hub.uplink.ancestors == (id_of(root),)
                await until(eu, "/eu")
                assert eu.hub.uplink.placement_epoch == epoch
        for name in ("parents.json", f"{token.split('.')[1]}/identity.json"):
            assert (tmp_path / "eu" / "uplink" / name).stat().st_mode & 0o777 == 0o600


async def test_a_hub_serves_although_its_parent_is_down_and_joins_once_it_is_there(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "root") as root:
        ports, settings = ports_of(root), below(root, await hub_token(root, "eu"))
    async with running_hub(tmp_path / "eu", **settings) as eu:
        uplink = await until_phase(eu, "starting")
        assert uplink.parent == settings["parent"]
        await eventually(lambda: eu.reasons(), "it says so")
        assert "ParentNotJoined" in await eu.reasons()
        async with running_agent(eu, tmp_path, "edge-7") as agent:
            await agent.until_online()
            assert agent.states[-1].path == "/edge-7"
            async with running_hub(tmp_path / "root", **ports):
                await until(eu, "/eu")
                await eventually(lambda: agent.states[-1].path == "/eu/edge-7", "the member follows")


async def test_a_hub_that_starts_while_it_is_cut_off_still_knows_where_it_stands(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "root") as root:
        async with running_hub(tmp_path / "eu", **below(root, await hub_token(root, "eu"))) as eu:
            await until(eu, "/eu")
            root_id = id_of(root)

            async def kept() -> bool:
                return (await ParentStore(tmp_path / "eu").load()).place.ancestors == (root_id,)

            await eventually(kept, "the place is on disk")
    async with running_hub(tmp_path / "eu") as eu:
        assert str(eu.hub.inventory.own_path) == "/eu"
        assert eu.hub.uplink.ancestors == (root_id,)
        assert eu.hub.uplink.attached
        assert not eu.hub.uplink.connected


async def test_records_go_both_ways_and_begin_anew_with_a_new_parent(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path / "a") as a,
        running_hub(tmp_path / "b") as b,
        running_hub(tmp_path / "eu") as eu,
    ):
        uplink, begun, left, seen = eu.hub.uplink, [], [], {}
        got: dict[str, dict[str, bytes | None]] = {}
        for name, parent in (("a", a), ("b", b)):
            got[name] = {}
            parent.hub.sessions.observe(
                "probe", lambda child, key, value, name=name: got[name].__setitem__(key, value)
            )
        uplink.put("probe/lost", b"nobody hears it")
        uplink.on_parent(lambda: (begun.append(1), uplink.put("probe/x", b"1")))
        uplink.observe("wish", lambda key, value: seen.__setitem__(key, value))

        async def leave() -> None:
            assert not uplink.connected
            left.append(b.hub.inventory.find("eu"))

        uplink.on_leave = leave
        await uplink.move(a.hub.join_address, await hub_token(a, "eu"))
        await eventually(lambda: got["a"] == {"probe/x": b"1"}, "what goes up arrives")
        assert (begun, left) == ([1], [])
        child = a.hub.inventory.find("eu")
        assert child is not None
        a.hub.sessions.put(child, "wish/1", b"do it")
        await eventually(lambda: seen == {"wish/1": b"do it"}, "what comes down is routed")
        assert uplink.received("wish") == {"wish/1": b"do it"}

        await uplink.move(b.hub.join_address, await hub_token(b, "europe"))
        await until(eu, "/europe")
        await eventually(lambda: got["b"] == {"probe/x": b"1"}, "put anew")
        assert (begun, len(left)) == ([1, 1], 1)
        assert uplink.received("wish") == {}
        assert uplink.placement_epoch == 2
        await a.until("eu", Liveness.LOST, seconds=3.0)
        assert "MemberMoved" in await a.reasons()


async def test_a_move_that_fails_changes_nothing_and_a_repeated_one_neither(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "a") as a, running_hub(tmp_path / "b") as b:
        token = await hub_token(a, "eu")
        async with running_hub(tmp_path / "eu", **below(a, token)) as eu:
            await until(eu, "/eu")
            epoch = eu.hub.uplink.placement_epoch
            move = access_pb2_grpc.HubServiceStub(eu.admin._channel).MoveHub
            revoked = await hub_token(b, "eu")
            await b.admin.join_tokens.revoke(revoked.split(".")[1])
            refused: list[tuple[type[Exception], Callable[[], Any]]] = [
                (PermissionDenied, lambda: eu.hub.uplink.move(b.hub.join_address, revoked)),
                (InvalidInput, lambda: eu.hub.uplink.move(b.hub.join_address, "nonsense")),
                (NotFound, lambda: eu.hub.uplink.move(b.hub.join_address, "")),
            ]
            for error, call in refused:
                with pytest.raises(error):
                    await call()
            answer = await move(pb.MoveHubRequest(parent=a.hub.join_address, join_token=token))
            assert answer.path == "/eu"
            assert eu.hub.uplink.connected
            assert eu.hub.uplink.placement_epoch == epoch


async def test_a_hub_that_is_detached_is_a_root(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "root") as root:
        async with running_hub(tmp_path / "eu", **below(root, await hub_token(root, "eu"))) as eu:
            await until(eu, "/eu")
            await eu.hub.uplink.detach()
            await eventually(lambda: not eu.hub.uplink.attached, "no parent")
            info = await eu.admin.info()
            assert (info.path, info.HasField("uplink")) == ("/", False)
            await root.until("eu", Liveness.LOST, seconds=3.0)
        async with running_hub(tmp_path / "eu") as eu:
            assert not eu.hub.uplink.attached


async def test_a_silent_parent_is_left_for_a_standby_that_answers_and_not_come_back_to(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "b") as b:
        async with running_hub(tmp_path / "a") as a:
            settings = below(
                a,
                await hub_token(a, "eu"),
                standby=((b.hub.join_address, Secret(await hub_token(b, "europe"))),),
                standby_after=0.3,
            )
            ports = ports_of(a)
            stack = running_hub(tmp_path / "eu", **settings)
            eu = await stack.__aenter__()
            await until(eu, "/eu")
            await eventually(
                lambda: (report := eu.hub.uplink.report()) and report.standbys == (b.hub.join_address,),
                "stands by",
            )
        try:
            await until(eu, "/europe")
            assert "HubMoved" in await eu.reasons()
            async with running_hub(tmp_path / "a", **ports) as a:
                assert eu.hub.uplink.connected
                report = eu.hub.uplink.report()
                assert report is not None
                assert (report.parent, report.standbys) == (b.hub.join_address, (a.hub.join_address,))
                await eu.hub.uplink.move(a.hub.join_address, "")
                await until(eu, "/eu")
        finally:
            await stack.__aexit__(None, None, None)


async def test_a_hub_whose_standby_is_silent_too_stays_where_it_is(tmp_path: Path) -> None:
    left: list[int] = []

    async def leave() -> None:
        left.append(1)

    async with running_hub(tmp_path / "a") as a, running_hub(tmp_path / "b") as b:
        standby = ((b.hub.join_address, Secret(await hub_token(b, "eu"))),)
        settings = below(a, await hub_token(a, "eu"), standby=standby, standby_after=0.1)
        stack = running_hub(tmp_path / "eu", **settings)
        eu = await stack.__aenter__()
        eu.hub.uplink.on_leave = leave
        await until(eu, "/eu")
        await eventually(lambda: (report := eu.hub.uplink.report()) and report.standbys, "stands by")
        parent = a.hub.join_address
    try:
        present = eu.hub.uplink._holding
        await eventually(lambda: present.held and present.held.away_since, "the parent is silent")
        with capture_logs() as logs:
            await eventually(
                lambda: any(line["event"] == "standby does not answer" for line in logs), "it was asked"
            )
        report = eu.hub.uplink.report()
        assert report is not None
        assert (report.parent, left, str(eu.hub.inventory.own_path)) == (parent, [], "/eu")
    finally:
        await stack.__aexit__(None, None, None)


async def test_a_circle_of_three_is_refused_when_it_is_joined(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path / "a") as a,
        running_hub(tmp_path / "b") as b,
        running_hub(tmp_path / "c") as c,
    ):
        await b.hub.uplink.move(a.hub.join_address, await hub_token(a, "b"))
        await until(b, "/b")
        await c.hub.uplink.move(b.hub.join_address, await hub_token(b, "c"))
        await until(c, "/b/c")
        await eventually(lambda: c.hub.uplink.ancestors == (id_of(b), id_of(a)), "c knows who is above")
        with pytest.raises(Conflict, match="close a circle"):
            await a.hub.uplink.move(c.hub.join_address, await hub_token(c, "a"))
        assert not a.hub.uplink.attached


async def test_two_hubs_that_dial_each_other_end_up_with_one_link_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "LOOP_SECONDS", 0.5)
    async with running_hub(tmp_path / "a") as a, running_hub(tmp_path / "b") as b:
        ports = {"a": ports_of(a), "b": ports_of(b)}
        for child, parent in ((a, b), (b, a)):
            await enroll_as(child, parent)
    async with running_hub(tmp_path / "a", **ports["a"]) as a, running_hub(tmp_path / "b", **ports["b"]) as b:

        def links() -> int:
            return sum((a.hub.uplink.connected, b.hub.uplink.connected))

        async def told() -> bool:
            return "HubLoop" in [*await a.reasons(), *await b.reasons()]

        await eventually(told, "the circle is found")
        await eventually(lambda: links() == 1, "one of them is below the other")


async def enroll_as(child: RunningHub, parent: RunningHub) -> None:
    """As if the child had joined the parent while nobody looked: both directions can't be joined in order."""
    folder = child.hub.settings.data_dir / "uplink"
    token = await hub_token(parent, "below")
    wanted = replace(
        await enrolled(parent, folder, "below", kind=Kind.HUB, token=token, cluster_uid=id_of(child)),
        session_address=f"127.0.0.1{parent.hub.session_address}",
    )
    store = ParentStore(child.hub.settings.data_dir)
    slot = token.split(".")[1]
    await store.identity(slot).save(wanted)
    await store.save(Parents().replaced_by(Parent(slot, parent.hub.join_address)))


async def test_an_evicted_hub_is_told_so_and_goes_on_serving(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "root") as root:
        async with running_hub(tmp_path / "eu", **below(root, await hub_token(root, "eu"))) as eu:
            await until(eu, "/eu")
            await root.admin.members.evict("eu", "sold")
            uplink = await until_phase(eu, "stopped")
            assert "sold" in uplink.message
            assert "ParentRefused" in await eu.reasons()
            assert str(eu.hub.inventory.own_path) == "/eu"
            await eu.hub.uplink.move(root.hub.join_address, await hub_token(root, "eu"))
            await until(eu, "/eu")
            assert eu.hub.uplink.placement_epoch == 1


@pytest.mark.parametrize("kind", ["agent", "hub"])
async def test_a_join_token_is_for_one_kind_only(tmp_path: Path, kind: str) -> None:
    async with running_hub(tmp_path / "root") as root:
        token = await root.join_token("x", kind=enrollment_pb2.ChildKind.Value(f"CHILD_KIND_{kind.upper()}"))
        if kind == "hub":
            async with running_agent(root, tmp_path, "x", token=token) as agent:
                assert isinstance(await agent.ended(), PermissionDenied)
            return
        async with running_hub(tmp_path / "eu", **below(root, token)) as eu:

            async def refused() -> bool:
                return "is for an agent, not for a hub" in (await eu.admin.info()).uplink.message

            await eventually(refused, "it says why")
            assert await eu.reasons() == ["ParentNotJoined"]


async def test_settings_that_can_not_be_meant_end_the_start(tmp_path: Path) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"parent": "127.0.0.1:1"},
        {"join_token": Secret("arb1.x")},
        {"parent": "nowhere", "join_token": Secret("arb1.x")},
    )
    for index, settings in enumerate(wrong):
        with pytest.raises(InvalidInput):
            async with running_hub(tmp_path / str(index), **settings):
                raise AssertionError("it started")


async def test_every_child_is_told_its_path_and_the_hubs_above(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "root") as root:
        async with running_agent(root, tmp_path, "a") as agent:
            await agent.until_online()
            child = root.hub.inventory.find("a")
            assert child is not None
            told = session_pb2.Settings.FromString(child.exchange.get("settings") or b"")
            assert (told.path, list(told.ancestors)) == ("/a", [id_of(root)])


async def test_a_move_over_the_wire_says_what_is_wrong(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "a") as a, running_hub(tmp_path / "eu") as eu:
        with pytest.raises(Conflict, match="no parent to stand by for"):
            await eu.admin.move(a.hub.join_address, await hub_token(a, "eu"), standby=True)
        with pytest.raises(InvalidInput):
            await eu.admin.move("")
        with pytest.raises(Unavailable):
            await eu.admin.move("127.0.0.1:1", await hub_token(a, "eu"))
        moved = await eu.admin.move(a.hub.join_address, await hub_token(a, "eu"))
        assert (moved.path, moved.uplink.parent) == ("/eu", a.hub.join_address)
        await until(eu, "/eu")
        viewer = await eu.admin.access.create("v", pb.ROLE_VIEWER)
        async with client_with(eu, viewer.token) as client:
            with pytest.raises(PermissionDenied):
                await client.detach()
        assert (await eu.admin.detach()).path == "/"
        entries = [entry.action for entry in await eu.audit()]
        assert any("MoveHub" in action for action in entries)


async def test_a_hub_that_stopped_between_two_parents_withdraws_before_it_dials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "AGAIN_SECONDS", 0.05)
    failures: list[Exception] = [Unavailable("the store is busy")]
    sessions: list[int] = []
    async with running_hub(tmp_path / "root") as root:

        async def leave() -> None:
            sessions.append(len(root.hub.sessions))
            if failures:
                raise failures.pop()

        async with running_hub(tmp_path / "eu", **below(root, await hub_token(root, "eu"))) as eu:
            await until(eu, "/eu")
        store = ParentStore(tmp_path / "eu")
        await store.save(replace(await store.load(), leaving=True))
        run = Uplink.run

        async def with_leave(uplink: Uplink) -> None:
            uplink.on_leave = leave
            await run(uplink)

        monkeypatch.setattr(Uplink, "run", with_leave)
        async with running_hub(tmp_path / "eu") as eu:
            await until(eu, "/eu")
        assert sessions == [0, 0]
        assert (await store.load()).leaving is False


async def test_the_certificate_at_a_standby_is_kept_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "LOOK_SECONDS", 0.1)
    async with running_hub(tmp_path / "a") as a, running_hub(tmp_path / "b", certificate_lifetime=4.0) as b:
        async with running_hub(tmp_path / "eu", **below(a, await hub_token(a, "eu"))) as eu:
            await until(eu, "/eu")
            token = await hub_token(b, "eu")
            await eu.hub.uplink.move(b.hub.join_address, token, standby=True)
            identity = ParentStore(tmp_path / "eu").identity(token.split(".")[1])
            first = await identity.load()
            assert first is not None

            async def renewed() -> bool:
                now = await identity.load()
                return now is not None and now.leaf != first.leaf and now.key_pem != first.key_pem

            await eventually(renewed, "it is renewed")
            assert await joining.answers(identity)
