"""EventService."""

from __future__ import annotations

from collections.abc import AsyncIterator

from arbora.rpc.guard import Context
from arbora.v1 import event_pb2 as pb
from arbora.v1 import event_pb2_grpc
from arbora_hub.api import views
from arbora_hub.journal import Journal
from arbora_hub.store.port import ReadTx, Store
from arbora_hub.store.rows import AuditRow, EventRow, Page


class EventService(event_pb2_grpc.EventServiceServicer):
    """Served on the client port."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        """See event.proto."""
        await self._journal.flush()

        async def read(tx: ReadTx) -> Page[EventRow]:
            return await tx.events.list(
                subject=request.subject, page_size=request.page_size, page_token=request.page_token
            )

        page = await self._store.read(read)
        return pb.ListEventsResponse(
            events=[views.event(row) for row in page.rows], next_page_token=page.next_token
        )

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """See event.proto."""
        subject = request.subject
        with self._journal.watch() as watcher:
            # Tells the client that nothing is missed from now on.
            await context.send_initial_metadata(())
            while True:
                row, skipped = await watcher.take()
                if not subject or row.subject == subject or row.subject.startswith(f"{subject}/"):
                    yield pb.WatchEventsResponse(event=views.event(row), skipped=skipped)

    async def ListAudit(self, request: pb.ListAuditRequest, context: Context) -> pb.ListAuditResponse:
        """See event.proto."""

        async def read(tx: ReadTx) -> Page[AuditRow]:
            return await tx.audit.list(page_size=request.page_size, page_token=request.page_token)

        page = await self._store.read(read)
        return pb.ListAuditResponse(
            entries=[views.audit(row) for row in page.rows], next_page_token=page.next_token
        )
