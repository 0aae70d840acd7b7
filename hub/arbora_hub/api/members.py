"""MemberService: members as clients see and mark them.

What a path names is a child of this hub, or something below a child hub: then the call goes down to the hub that
owns it, as a record (`tree/calls.py`), and its answer is given unchanged. Lists and watches show this hub's
children.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace

from arbora.capacity.wire import EFFECT_FROM_WIRE
from arbora.errors import InvalidInput, PermissionDenied
from arbora.identity.names import Path
from arbora.manifests.matching import matches
from arbora.manifests.selectors import Selector, parse_selector
from arbora.rpc.guard import Context
from arbora.v1 import member_pb2 as pb
from arbora.v1 import member_pb2_grpc
from arbora_hub.api import views
from arbora_hub.api.pages import page
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.sessions.registry import Sessions
from arbora_hub.store.rows import ChildRow, TaintRow
from arbora_hub.tree.calls import Calls
from arbora_hub.tree.gathering import GET_TREE, Gathering
from arbora_hub.tree.route import Below, Here, route, to_member
from arbora_hub.tree.statuses import GET_MEMBER as GET_MEMBER
from arbora_hub.unbroken import unbroken
from arbora_hub.workloads.controller import Workloads
from arbora_hub.workloads.labels import check_labels

LABEL_MEMBER = "/arbora.v1.MemberService/LabelMember"
TAINT_MEMBER = "/arbora.v1.MemberService/TaintMember"
CORDON_MEMBER = "/arbora.v1.MemberService/CordonMember"


class MemberService(member_pb2_grpc.MemberServiceServicer):
    """Served on the client port."""

    def __init__(
        self,
        inventory: Inventory,
        sessions: Sessions,
        workloads: Workloads,
        calls: Calls,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """clock: wall time in seconds, the one by which workloads are placed."""
        self._inventory = inventory
        self._sessions = sessions
        self._workloads = workloads
        self._calls = calls
        self._gathering = Gathering(inventory, calls, clock)
        self._clock = clock

    async def ListMembers(self, request: pb.ListMembersRequest, context: Context) -> pb.ListMembersResponse:
        """See member.proto."""
        selector = _selector(request.selector)
        children = sorted(
            (child for child in self._inventory if _selected(child, selector)), key=lambda child: child.name
        )
        chosen, token = page(children, lambda child: child.name, request.page_size, request.page_token, 200)
        return pb.ListMembersResponse(members=[self._brief(child) for child in chosen], next_page_token=token)

    async def GetMember(self, request: pb.GetMemberRequest, context: Context) -> pb.GetMemberResponse:
        """See member.proto."""
        place = to_member(self._inventory.own_path, request.path)
        if isinstance(place, Below):
            onward = pb.GetMemberRequest(path=place.text)
            return await self._calls.forward(place.child, GET_MEMBER, onward, pb.GetMemberResponse)
        return pb.GetMemberResponse(member=self._view(self._inventory.resolve(place.name)))

    async def WatchMembers(
        self, request: pb.WatchMembersRequest, context: Context
    ) -> AsyncIterator[pb.WatchMembersResponse]:
        """See member.proto."""
        selector = _selector(request.selector)
        shown: set[str] = set()
        with self._inventory.changes.subscribe() as subscription:
            for child in list(self._inventory):
                if _selected(child, selector):
                    shown.add(child.name)
                    yield pb.WatchMembersResponse(member=self._brief(child))
            yield pb.WatchMembersResponse(synced=True)
            async for names in subscription.batches():
                for name in names:
                    found = self._inventory.find(name)
                    if found is not None and _selected(found, selector):
                        shown.add(name)
                        yield pb.WatchMembersResponse(member=self._brief(found))
                    elif name in shown:
                        shown.discard(name)
                        path = str(self._inventory.own_path.child(name))
                        yield pb.WatchMembersResponse(member=pb.Member(path=path), gone=True)

    async def LabelMember(self, request: pb.LabelMemberRequest, context: Context) -> pb.LabelMemberResponse:
        """See member.proto."""
        place = to_member(self._inventory.own_path, request.path)
        if isinstance(place, Below):
            onward = pb.LabelMemberRequest()
            onward.CopyFrom(request)
            onward.path = place.text
            return await self._calls.forward(place.child, LABEL_MEMBER, onward, pb.LabelMemberResponse)
        child = self._inventory.resolve(place.name)
        additions = check_labels(dict(request.set), "labels")
        both = sorted(additions.keys() & set(request.remove))
        if both:
            raise InvalidInput(f"sets and removes {both[0]} at once", field="labels")

        def change(row: ChildRow) -> ChildRow:
            labels = {**row.labels, **additions}
            for key in request.remove:
                labels.pop(key, None)
            return replace(row, labels=labels)

        await unbroken(self._inventory.update(child, change))
        return pb.LabelMemberResponse(member=self._view(child))

    async def TaintMember(self, request: pb.TaintMemberRequest, context: Context) -> pb.TaintMemberResponse:
        """See member.proto."""
        place = to_member(self._inventory.own_path, request.path)
        if isinstance(place, Below):
            onward = pb.TaintMemberRequest()
            onward.CopyFrom(request)
            onward.path = place.text
            return await self._calls.forward(place.child, TAINT_MEMBER, onward, pb.TaintMemberResponse)
        child = self._inventory.resolve(place.name)
        now = self._clock()
        additions = [_taint(taint, f"set[{index}]", now) for index, taint in enumerate(request.set)]
        check_labels({one.key: one.value for one in additions}, "set")
        removals = {(taint.key, EFFECT_FROM_WIRE.get(taint.effect)) for taint in request.remove}

        def change(row: ChildRow) -> ChildRow:
            kept = [
                one
                for one in row.taints
                if (one.key, one.effect) not in removals and (one.key, None) not in removals
            ]
            return replace(row, taints=_with(kept, additions))

        await unbroken(self._inventory.update(child, change))
        return pb.TaintMemberResponse(member=self._view(child))

    async def CordonMember(self, request: pb.CordonMemberRequest, context: Context) -> pb.CordonMemberResponse:
        """See member.proto."""
        place = to_member(self._inventory.own_path, request.path)
        if isinstance(place, Below):
            onward = pb.CordonMemberRequest()
            onward.CopyFrom(request)
            onward.path = place.text
            return await self._calls.forward(place.child, CORDON_MEMBER, onward, pb.CordonMemberResponse)
        child = self._inventory.resolve(place.name)
        await unbroken(self._inventory.update(child, lambda row: replace(row, cordoned=request.cordoned)))
        return pb.CordonMemberResponse(member=self._view(child))

    async def EvictMember(self, request: pb.EvictMemberRequest, context: Context) -> pb.EvictMemberResponse:
        """See member.proto."""
        place = to_member(self._inventory.own_path, request.path)
        if isinstance(place, Below):
            owner = Path((*self._inventory.own_path.labels, place.child, *place.rest.labels[:-1]))
            raise PermissionDenied(
                f"{owner.child(place.rest.name)} can't be evicted from here, only at the hub that owns it",
                hint=f"Ask an admin of the hub {owner} for `arbora members evict {place.rest.name}` there.",
            )
        child = self._inventory.resolve(place.name)
        reason = f"{child.name} was evicted" + (f": {request.reason[:200]}" if request.reason else "")

        async def evict() -> None:
            await self._inventory.evict(child)
            self._sessions.evict(child.name, reason)

        await unbroken(evict())
        return pb.EvictMemberResponse()

    async def GetTree(self, request: pb.GetTreeRequest, context: Context) -> pb.GetTreeResponse:
        """See member.proto."""
        place = route(self._inventory.own_path, request.path)
        if isinstance(place, Here):
            return await self._gathering.gather(request.depth)
        if isinstance(place, Below):
            name, onward = place.child, pb.GetTreeRequest(path=place.text, depth=request.depth)
        else:
            name, onward = place.name, pb.GetTreeRequest(depth=request.depth)
            self._inventory.resolve(name)
        return await self._calls.forward(name, GET_TREE, onward, pb.GetTreeResponse)

    def _brief(self, child: Child) -> pb.Member:
        """For many members at once: without the properties, which may have 64 KiB each."""
        view = self._view(child)
        if view.status.properties:
            del view.status.properties[:]
        return view

    def _view(self, child: Child) -> pb.Member:
        return views.member(
            child,
            self._inventory,
            now=asyncio.get_running_loop().time(),
            wall=self._clock(),
            workloads=self._workloads.count_on(child.name),
        )


def _selector(text: str) -> Selector | None:
    return parse_selector(text) if text else None


def _selected(child: Child, selector: Selector | None) -> bool:
    return selector is None or matches(selector, child.row.labels)


def _with(present: Iterable[TaintRow], additions: Iterable[TaintRow]) -> tuple[TaintRow, ...]:
    """One taint for each key and effect. What is set again as it is was added when it first was."""
    found = {(one.key, one.effect): one for one in present}
    for one in additions:
        before = found.get((one.key, one.effect))
        if before is None or before.value != one.value:
            found[one.key, one.effect] = one
    return tuple(sorted(found.values()))


def _taint(taint: pb.Taint, field: str, now: float) -> TaintRow:
    effect = EFFECT_FROM_WIRE.get(taint.effect)
    if not taint.key or effect is None:
        raise InvalidInput("needs a key and an effect", field=field, hint="Such as maintenance=disk:NoSchedule.")
    return TaintRow(taint.key, taint.value, effect, now)
