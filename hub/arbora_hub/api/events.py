"""EventService: what happened here, and what a hub below has noted about its members.

A hub keeps the events of its own children. `member/eu/edge-7` at a hub with the child hub `eu` is therefore asked
of `eu` as `member/edge-7`; in the answer every hub on the way puts its child's name back in front, so that a
subject that is shown can be asked for at the same hub.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from arbora.errors import InvalidInput
from arbora.rpc.guard import Context
from arbora.v1 import event_pb2 as pb
from arbora.v1 import event_pb2_grpc
from arbora_hub.api import views
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.journal import Journal
from arbora_hub.store.port import ReadTx, Store
from arbora_hub.store.rows import AuditRow, EventRow, Page
from arbora_hub.tree.calls import Calls
from arbora_hub.tree.route import Direct, Here, route

LIST_EVENTS = "/arbora.v1.EventService/ListEvents"
MEMBER = "member/"


class EventService(event_pb2_grpc.EventServiceServicer):
    """Served on the client port."""

    def __init__(self, store: Store, journal: Journal, inventory: Inventory, calls: Calls) -> None:
        self._store = store
        self._journal = journal
        self._inventory = inventory
        self._calls = calls

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        """See event.proto."""
        below, subject = self._asked(request.subject)
        if below:
            return await self._from_below(below, subject, request)
        await self._journal.flush()

        async def read(tx: ReadTx) -> Page[EventRow]:
            return await tx.events.list(
                subject=subject, page_size=request.page_size, page_token=request.page_token
            )

        page = await self._store.read(read)
        return pb.ListEventsResponse(
            events=[views.event(row) for row in page.rows], next_page_token=page.next_token
        )

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """See event.proto."""
        below, subject = self._asked(request.subject)
        if below:
            raise InvalidInput(
                f"{request.subject} belongs to a hub below, whose events can't be watched from here, only listed",
                field="subject",
                hint=f"Leave --watch out, or watch {subject} at the hub {self._inventory.own_path.child(below)}.",
            )
        with self._journal.watch() as watcher:
            # Tells the client that nothing is missed from now on.
            await context.send_initial_metadata(())
            while True:
                row, skipped = await watcher.take()
                if not subject or row.subject == subject or row.subject.startswith(f"{subject}/"):
                    yield pb.WatchEventsResponse(event=views.event(row), skipped=skipped)

    def _asked(self, text: str) -> tuple[str, str]:
        """The child hub whose events are meant, empty for this hub's own, and the subject as it is said there.

        text: a subject, or a path from the root of the tree, which stands for `member/<path>`.
        """
        if text.startswith("/"):
            place = route(self._inventory.own_path, text.rstrip("/") or "/", "subject")
            if isinstance(place, Here):
                return "", ""
            if isinstance(place, Direct):
                return "", f"{MEMBER}{place.name}"
            return self._calls.hub(place.child).name, f"{MEMBER}{place.text}"
        name, _, rest = text.removeprefix(MEMBER).partition("/")
        child = self._inventory.find(name) if text.startswith(MEMBER) and rest.strip("/") else None
        if child is None or child.row.kind != "hub":
            # Of a member cluster, what follows its name is no path: member/edge-7/workload/web.
            return "", text
        return name, f"{MEMBER}{rest}"

    async def _from_below(self, name: str, subject: str, request: pb.ListEventsRequest) -> pb.ListEventsResponse:
        onward = pb.ListEventsRequest(subject=subject, page_size=request.page_size, page_token=request.page_token)
        answer = await self._calls.forward(name, LIST_EVENTS, onward, pb.ListEventsResponse)
        for event in answer.events:
            if event.subject.startswith(MEMBER):
                event.subject = f"{MEMBER}{name}/{event.subject.removeprefix(MEMBER)}"
        return answer

    async def ListAudit(self, request: pb.ListAuditRequest, context: Context) -> pb.ListAuditResponse:
        """See event.proto."""

        async def read(tx: ReadTx) -> Page[AuditRow]:
            return await tx.audit.list(page_size=request.page_size, page_token=request.page_token)

        page = await self._store.read(read)
        return pb.ListAuditResponse(
            entries=[views.audit(row) for row in page.rows], next_page_token=page.next_token
        )
