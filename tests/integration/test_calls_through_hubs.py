"""Verbs on members below two hubs, over real sockets: what is answered, refused, audited, and who can read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from arbora.client import HubClient
from arbora.errors import InvalidInput, NotFound, PermissionDenied, Unavailable
from arbora.mirror.exchange import Exchange
from arbora.secret import Secret
from arbora.v1 import access_pb2, enrollment_pb2, event_pb2, member_pb2, session_pb2
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.sessions.session import Session
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, client_with, running_agent, running_hub

LEAF = "/eu/paris/edge-7"


@dataclass
class Tree:
    """root, /eu, /eu/paris with the member edge-7."""

    root: RunningHub
    eu: RunningHub
    paris: RunningHub
    lowest: AsyncExitStack

    @property
    def client(self) -> HubClient:
        """An admin of the root."""
        return self.root.admin

    async def stop_paris(self) -> None:
        """The hub and its member end."""
        await self.lowest.aclose()
        await eventually(lambda: not self.eu.hub.sessions.connected("paris"), "the link is gone")


async def hub_below(stack: AsyncExitStack, parent: RunningHub, name: str, folder: Path) -> RunningHub:
    """A hub that has joined `parent` and knows its path."""
    token = await parent.join_token(name, kind=enrollment_pb2.CHILD_KIND_HUB)
    hub = await stack.enter_async_context(
        running_hub(folder / f"hub-{name}", parent=parent.hub.join_address, join_token=Secret(token))
    )
    await eventually(lambda: hub.hub.uplink.connected, f"{name} online")
    await parent.until(name, Liveness.ONLINE)
    return hub


@asynccontextmanager
async def tree(folder: Path) -> AsyncIterator[Tree]:
    """Three hubs and a member at the lowest."""
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(running_hub(folder / "hub-root"))
        eu = await hub_below(stack, root, "eu", folder)
        lowest = await stack.enter_async_context(AsyncExitStack())
        paris = await hub_below(lowest, eu, "paris", folder)
        agent = await lowest.enter_async_context(
            running_agent(paris, folder, "edge-7", allow_tokens=("default/default",))
        )
        await agent.until_online()
        await paris.until_reported("edge-7")
        yield Tree(root, eu, paris, lowest)


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """Every record that anybody in this process hands to a link, in order."""
    seen: list[tuple[str, bytes]] = []
    put = Exchange.put

    def recording(self: Exchange, key: str, value: bytes, *, volatile: bool = False) -> bool:
        seen.append((key, value))
        return put(self, key, value, volatile=volatile)

    monkeypatch.setattr(Exchange, "put", recording)
    return seen


def about(entries: list[event_pb2.AuditEntry], action: str) -> list[tuple[str, str, str]]:
    """Actor, subject and outcome of the entries about an action."""
    return [(entry.actor, entry.subject, entry.outcome) for entry in entries if entry.action == action]


async def test_a_member_below_two_hubs_is_described_labeled_tainted_and_cordoned_from_the_root(
    tmp_path: Path,
) -> None:
    async with tree(tmp_path) as it:
        found = await it.client.members.get(LEAF)
        assert (found.path, found.liveness) == (LEAF, member_pb2.LIVENESS_ONLINE)
        assert sum(row.free for sketch in found.sketches for row in sketch.rows) == 8
        assert (await it.client.members.get("eu/paris/edge-7")).path == LEAF
        assert (await it.eu.admin.members.get("paris/edge-7")).path == LEAF
        assert dict((await it.client.members.label(LEAF, {"zone": "b"})).labels) == {"zone": "b"}
        taint = member_pb2.Taint(key="disk", effect=member_pb2.TAINT_EFFECT_NO_SCHEDULE)
        assert [one.key for one in (await it.client.members.taint(LEAF, [taint])).taints] == ["disk"]
        assert (await it.client.members.cordon(LEAF)).cordoned
        here = await it.paris.admin.members.get("edge-7")
        assert (dict(here.labels), here.cordoned, [one.key for one in here.taints]) == (
            {"zone": "b"},
            True,
            ["disk"],
        )
        assert [member.path async for member in it.client.members.list()] == ["/eu"]


async def test_the_tree_is_everything_below_with_what_is_lost_named(tmp_path: Path) -> None:
    async with tree(tmp_path) as it:
        whole = await it.client.members.tree()
        assert [(one.path, one.kind) for one in whole.lines] == [
            ("/eu", enrollment_pb2.CHILD_KIND_HUB),
            ("/eu/paris", enrollment_pb2.CHILD_KIND_HUB),
            (LEAF, enrollment_pb2.CHILD_KIND_AGENT),
        ]
        assert [(gpus.gpu_class.product, gpus.free, gpus.total) for gpus in whole.lines[2].gpus] == [
            ("H100", 8, 8)
        ]
        assert not whole.gaps
        assert [one.path for one in (await it.client.members.tree(depth=2)).lines] == ["/eu", "/eu/paris"]
        assert [one.path for one in (await it.client.members.tree("/eu/paris")).lines] == [LEAF]
        assert [one.path for one in (await it.client.members.tree("eu", 1)).lines] == ["/eu/paris"]
        with pytest.raises(NotFound, match=f"^/eu/paris: {LEAF} is a member cluster"):
            await it.client.members.tree(LEAF)
        await it.stop_paris()
        partly = await it.client.members.tree()
        # below it stands what it said by itself before, with nothing free
        assert [one.path for one in partly.lines] == ["/eu", "/eu/paris", LEAF]
        assert partly.lines[2].liveness != member_pb2.LIVENESS_ONLINE
        assert sum(gpus.free for gpus in partly.lines[2].gpus) == 0
        (gap,) = partly.gaps
        assert gap.path == "/eu/paris"
        assert "is not connected; it was last heard of" in gap.message


async def test_what_goes_wrong_names_the_hop(tmp_path: Path) -> None:
    async with tree(tmp_path) as it:
        members = it.client.members
        with pytest.raises(NotFound, match=r"^there is no child us at the hub /"):
            await members.get("/us/edge-7")
        with pytest.raises(NotFound, match=r"^/eu: there is no child rome") as unknown:
            await members.get("/eu/rome/edge-7")
        assert unknown.value.hop == "/eu"
        with pytest.raises(NotFound, match=r"^/eu/paris: there is no member ghost"):
            await members.cordon("/eu/paris/ghost")
        with pytest.raises(InvalidInput, match=r"^labels: /eu/paris: ") as wrong:
            await members.label(LEAF, {"not a label": "x"})
        assert (wrong.value.field, wrong.value.hop) == ("labels", "/eu/paris")
        with pytest.raises(NotFound, match="/us/x is not below this hub, /eu"):
            await it.eu.admin.members.get("/us/x")
        with pytest.raises(PermissionDenied, match="only at the hub that owns it") as refused:
            await members.evict(LEAF)
        assert "hub /eu/paris" in refused.value.hint
        assert it.paris.liveness("edge-7") is Liveness.ONLINE
        await it.stop_paris()
        with pytest.raises(
            Unavailable, match=r"^/eu: /eu/paris is not connected; it was last heard of \d+ s ago"
        ):
            await members.label(LEAF, {"zone": "b"})


async def test_a_viewer_is_refused_at_the_first_hub_and_sees_what_it_may(
    tmp_path: Path, puts: list[tuple[str, bytes]]
) -> None:
    async with tree(tmp_path) as it:
        token = (await it.client.access.create("eve", access_pb2.ROLE_VIEWER)).token
        async with client_with(it.root, token) as eve:
            assert (await eve.members.get(LEAF)).path == LEAF
            assert len((await eve.members.tree()).lines) == 3
            puts.clear()
            with pytest.raises(PermissionDenied, match=r"^LabelMember needs the role operator; eve is viewer"):
                await eve.members.label(LEAF, {"zone": "b"})
        assert [key for key, _ in puts if key.startswith("call/")] == [], "the call went further"
        assert about(await it.root.audit(), "LabelMember") == [("access/eve", LEAF, "PERMISSION_DENIED")]
        assert about(await it.eu.audit(), "LabelMember") == []


async def test_an_operators_call_is_in_the_audit_log_of_every_hub_on_the_way(tmp_path: Path) -> None:
    async with tree(tmp_path) as it:
        token = (await it.client.access.create("ops", access_pb2.ROLE_OPERATOR)).token
        async with client_with(it.root, token) as ops:
            await ops.members.label(LEAF, {"zone": "b"})
            with pytest.raises(NotFound):
                await ops.members.label("/eu/paris/ghost", {"zone": "b"})
        logs = [about(await hub.audit(), "LabelMember") for hub in (it.root, it.eu, it.paris)]
        assert logs == [
            [("access/ops", "/eu/paris/ghost", "NOT_FOUND"), ("access/ops", LEAF, "OK")],
            [("parent/access/ops", "paris/ghost", "NOT_FOUND"), ("parent/access/ops", "paris/edge-7", "OK")],
            [("parent/access/ops", "ghost", "NOT_FOUND"), ("parent/access/ops", "edge-7", "OK")],
        ]


async def test_the_events_of_a_member_below_are_listed_under_the_path_by_which_one_asks(tmp_path: Path) -> None:
    async with tree(tmp_path) as it:
        await it.paris.hub.journal.flush()
        for subject in (LEAF, "member/eu/paris/edge-7"):
            found = await it.root.events(subject)
            assert {"MemberJoined", "MemberOnline"} <= {event.reason for event in found}
            assert {event.subject for event in found} == {"member/eu/paris/edge-7"}
        assert {event.subject for event in await it.eu.events("member/paris/edge-7")} == {"member/paris/edge-7"}
        assert {event.subject for event in await it.root.events("/eu")} == {"member/eu"}
        with pytest.raises(NotFound, match="no child us"):
            await it.root.events("/us/edge-7")
        with pytest.raises(InvalidInput, match="can't be watched from here"):
            await anext(it.client.events.watch(LEAF))


async def test_a_token_goes_through_hubs_that_never_see_it(
    tmp_path: Path,
    puts: list[tuple[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    frames: list[bytes] = []
    handle = Session._handle

    def recording(self: Session, message: session_pb2.Up) -> bool:
        frames.append(message.SerializeToString())
        return handle(self, message)

    monkeypatch.setattr(Session, "_handle", recording)
    async with tree(tmp_path) as it:
        token = await it.client.tokens.create(LEAF, "default", "default")
        text = token.secret.reveal()
        assert (token.member, text.count(".")) == (LEAF, 2)
        carried = [key.partition("/")[0] for key, _ in puts if key.startswith(("call/", "answer/", "token"))]
        assert carried == ["call", "call", "token-request", "token", "answer", "answer"]
        with pytest.raises(PermissionDenied, match=r"^/eu/paris: edge-7 refuses: .*does not name default/admin"):
            await it.client.tokens.create(LEAF, "default", "admin")
        with pytest.raises(InvalidInput, match=r"/eu/paris is a hub, and only member clusters"):
            await it.client.tokens.create("/eu/paris", "default", "default")
        assert about(await it.eu.audit(), "CreateToken")[-1] == ("parent/access/admin", "paris/edge-7", "OK")
    kept = await asyncio.to_thread(lambda: [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()])
    output = capfd.readouterr()
    places = [*(value for _, value in puts), *frames, *kept, (output.out + output.err).encode()]
    assert any(b"answer/" in frame for frame in frames)
    for part in text.split(".")[1:]:
        assert not any(part.encode() in place for place in places)
    # nor do calls and their answers leave a trace on any disk
    assert not any(word in file for file in kept for word in (b"call/", b"answer/", b"token-request/"))


async def test_a_call_survives_a_cut_on_its_way_and_is_done_once(
    tmp_path: Path, puts: list[tuple[str, bytes]]
) -> None:
    async with tree(tmp_path) as it:
        puts.clear()
        waiting = asyncio.create_task(it.client.members.label(LEAF, {"zone": "b"}))
        await eventually(
            lambda: sum(key.startswith("call/") for key, _ in puts) == 2, "the call is on its last hop"
        )
        it.eu.hub.sessions._sessions["paris"].end(None)
        assert dict((await waiting).labels) == {"zone": "b"}
        assert len(about(await it.paris.audit(), "LabelMember")) == 1
