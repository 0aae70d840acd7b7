"""SessionService.Connect: decode, let in, hand over."""

from __future__ import annotations

import asyncio

import grpc
import structlog

from arbora.errors import Refused
from arbora.rpc.guard import Context, caller
from arbora.session.frames import goodbye
from arbora.v1 import enrollment_pb2, session_pb2_grpc
from arbora_hub.sessions.registry import Sessions

log = structlog.get_logger(__name__)

HELLO_SECONDS = 5.0


class SessionService(session_pb2_grpc.SessionServiceServicer):
    """Served on the session port."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def Connect(self, request_iterator: object, context: Context) -> None:  # type: ignore[override]
        """See session.proto."""
        peer = caller.get().peer
        assert peer is not None
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first = await context.read()
            if first is grpc.aio.EOF or first.WhichOneof("frame") != "hello":
                raise Refused(enrollment_pb2.REFUSAL_PROTOCOL, "the first frame must be Hello")
            serving = self._sessions.serve(first.hello, peer, context)
            del first  # or each idle session would hold its Hello for as long as it lasts
            await serving
        except TimeoutError:
            await context.write(goodbye(enrollment_pb2.REFUSAL_PROTOCOL, f"no Hello within {HELLO_SECONDS:g} s"))
        except Refused as refused:
            log.info("session refused", child=str(peer.spiffe_id), why=str(refused))
            await context.write(goodbye(refused.refusal, str(refused), refused.retry_after))
