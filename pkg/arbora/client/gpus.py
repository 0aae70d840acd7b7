"""GPUs as their devices report them: `hub.gpus`.

    async for gpu in hub.gpus.list("edge-7", health=Health.UNHEALTHY):
        print(gpu.device.uuid, gpu.device.reason)

Single devices are known at the hub that owns their member: a path leads there from any hub above it. Sums are
known at every hub. What is stale says so (`Gpu.stale`) and must not be taken for the present.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Literal

import grpc

from arbora.client.calls import Calls
from arbora.errors import InvalidInput
from arbora.gpus.health import Health
from arbora.v1 import gpu_pb2 as pb
from arbora.v1.gpu_pb2_grpc import GpuServiceStub

Grouping = Literal["class", "member", "node"]
Summaries = list[pb.GpuSummary]

_GROUPINGS = {
    "class": pb.GPU_GROUPING_CLASS,
    "member": pb.GPU_GROUPING_MEMBER,
    "node": pb.GPU_GROUPING_NODE,
}


class Gpus:
    """Reads GPUs. Every method raises ArboraError."""

    def __init__(self, channel: grpc.aio.Channel, calls: Calls) -> None:
        self._stub = GpuServiceStub(channel)
        self._calls = calls

    def list(
        self, path: str = "", node: str = "", product: str = "", health: Health | None = None
    ) -> AsyncGenerator[pb.Gpu, None]:
        """Devices in the order of member, node and index.

        path: a member, or a hub whose own members are meant; empty: this hub. node, product, health: only those.
        """

        async def page(token: str) -> tuple[list[pb.Gpu], str]:
            request = pb.ListGpusRequest(path=path, node=node, product=product, page_token=token)
            if health is not None:
                request.health = int(health)  # type: ignore[assignment]  # enums are plain ints at run time
            answer = await self._calls.read(self._stub.ListGpus, request)
            return [*answer.gpus], answer.next_page_token

        return self._calls.pages(page)

    async def get(self, uuid: str, path: str = "", history: float = 0.0) -> pb.GetGpuResponse:
        """One device, and the minutes of the last `history` seconds: 24 hours at most, none for 0.

        uuid: or enough of its beginning. path: its member, or the hub that owns it; empty: this hub.
        """
        request = pb.GetGpuRequest(path=path, uuid=uuid)
        if history > 0:
            request.history.FromTimedelta(timedelta(seconds=history))
        return await self._calls.read(self._stub.GetGpu, request)

    async def summarize(self, path: str = "", by: Grouping = "class", selector: str = "") -> Summaries:
        """GPUs summed up, in the order of the names: what Kubernetes counts and what devices say.

        path: a hub or a member; empty: this hub. by node it must be a member. selector: of members, as kubectl
        writes it; empty: all.
        """
        if by not in _GROUPINGS:
            raise InvalidInput(f"is {by!r}", field="by", hint=f"There is {', '.join(_GROUPINGS)}.")
        request = pb.SummarizeGpusRequest(path=path, by=_GROUPINGS[by], selector=selector)
        return [*(await self._calls.read(self._stub.SummarizeGpus, request)).rows]
