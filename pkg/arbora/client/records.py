"""What a hub has noted: `hub.events` and `hub.audit`."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import grpc

from arbora.client.calls import Calls
from arbora.v1 import event_pb2 as pb
from arbora.v1.event_pb2_grpc import EventServiceStub


class Events:
    """Reads events. Every method raises ArboraError."""

    def __init__(self, channel: grpc.aio.Channel, calls: Calls) -> None:
        self._stub = EventServiceStub(channel)
        self._calls = calls

    def list(self, subject: str = "") -> AsyncGenerator[pb.Event, None]:
        """Events, newest first. subject: only about `member/<path>`, `workload/<name>` ... or what is below.

        A path, `/eu/edge-7`, stands for the member; of one below another hub, that hub's events are listed.
        """

        async def page(token: str) -> tuple[list[pb.Event], str]:
            request = pb.ListEventsRequest(subject=subject, page_token=token)
            answer = await self._calls.read(self._stub.ListEvents, request)
            return list(answer.events), answer.next_page_token

        return self._calls.pages(page)

    def watch(self, subject: str = "") -> AsyncGenerator[pb.WatchEventsResponse, None]:
        """Events as they happen."""
        return self._calls.stream(self._stub.WatchEvents, pb.WatchEventsRequest(subject=subject))


class Audit:
    """Reads the audit log. Every method raises ArboraError."""

    def __init__(self, channel: grpc.aio.Channel, calls: Calls) -> None:
        self._stub = EventServiceStub(channel)
        self._calls = calls

    def list(self) -> AsyncGenerator[pb.AuditEntry, None]:
        """Calls that changed something or were refused, newest first."""

        async def page(token: str) -> tuple[list[pb.AuditEntry], str]:
            answer = await self._calls.read(self._stub.ListAudit, pb.ListAuditRequest(page_token=token))
            return list(answer.entries), answer.next_page_token

        return self._calls.pages(page)
