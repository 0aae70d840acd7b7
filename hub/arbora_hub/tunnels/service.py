"""TunnelService.Tunnel: a child dials back with a tunnel that this hub asked it for."""

from __future__ import annotations

import asyncio

import grpc

from arbora.errors import DeadlineExceeded, InvalidInput
from arbora.rpc.guard import Context, caller
from arbora.tunnel.ends import StreamEnd
from arbora.v1 import tunnel_pb2_grpc
from arbora_hub.tunnels.opening import Tunnels

FIRST_SECONDS = 12.0
"""In which a child says what came of a tunnel: it dials back before it knows, and may ask further down."""
CUT_SECONDS = 5.0
"""In which an honest child cuts a stream that it is told to."""


class TunnelService(tunnel_pb2_grpc.TunnelServiceServicer):
    """Served on the session port."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels

    async def Tunnel(self, request_iterator: object, context: Context) -> None:  # type: ignore[override]
        """See tunnel.proto."""
        peer = caller.get().peer
        assert peer is not None
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                first = await context.read()
        except TimeoutError as error:
            raise DeadlineExceeded(f"nothing was said of a tunnel within {FIRST_SECONDS:g} s") from error
        if first is grpc.aio.EOF or first.WhichOneof("kind") != "opened":
            raise InvalidInput("the first message must say which tunnel this is", field="opened")
        asked = self._tunnels.arrived(peer.spiffe_id.name, first.opened)
        if asked.came.done():
            return
        asked.came.set_result(StreamEnd(context.read, context.write, asked.give_up))
        try:
            await asked.over.wait()
            if asked.given_up:
                self._tunnels.cut(asked)
                await _cancelled(CUT_SECONDS)
        finally:
            # The child went first: whoever reads or writes hears it from the stream itself.
            asked.over.set()


async def _cancelled(seconds: float) -> None:
    """Wait until grpc cancels this call, because the child has cut the stream."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().create_future()
    except TimeoutError:
        return
