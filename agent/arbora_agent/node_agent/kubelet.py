"""Asks the node's kubelet every few seconds which pods hold which devices. Only where its socket is mounted.

While it doesn't answer, nothing is known of holders, and the cluster's agent goes by numbers again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import structlog

from arbora.v1 import pod_resources_pb2 as pb
from arbora_agent.node_agent.holders import holders_of
from arbora_agent.node_agent.watch import NodeWatch

log = structlog.get_logger(__name__)

METHOD = "/v1.PodResourcesLister/List"
ASK_SECONDS = 10.0
ANSWER_SECONDS = 5.0
SOON_SECONDS = 0.5
MAX_ANSWER = 8 * 1024 * 1024


class Kubelet:
    """Keeps a watch's holders current."""

    def __init__(
        self, socket: Path, watch: NodeWatch, tell: Callable[[], None], every: float = ASK_SECONDS
    ) -> None:
        """socket: the kubelet's, pod-resources/kubelet.sock. tell: something may be news. every: seconds."""
        self._socket = socket
        self._watch = watch
        self._tell = tell
        self._every = every
        self._complaint = ""

    async def run(self) -> None:
        """Until cancelled."""
        options = [("grpc.max_receive_message_length", MAX_ANSWER)]
        async with grpc.aio.insecure_channel(f"unix://{self._socket}", options=options) as channel:
            ask = channel.unary_unary(
                METHOD,
                request_serializer=lambda nothing: nothing,
                response_deserializer=pb.PodResourcesList.FromString,
            )
            while True:
                if not self._watch.devices:
                    await asyncio.sleep(SOON_SECONDS)  # what the kubelet names can't be told apart yet
                    continue
                try:
                    said = await ask(b"", timeout=ANSWER_SECONDS)
                except grpc.aio.AioRpcError as error:
                    self._lost(f"{error.code().name.lower()}: {error.details()}")
                else:
                    self._heard(said)
                self._tell()
                await asyncio.sleep(self._every)

    def _heard(self, said: pb.PodResourcesList) -> None:
        held, unknown = holders_of(said, [each.facts for each in self._watch.devices])
        if unknown:
            self._lost(f"it gave out devices that the driver does not list: {', '.join(unknown[:3])}")
            return
        if self._complaint:
            log.info("kubelet_answers_again", socket=str(self._socket))
        self._complaint = ""
        self._watch.held(held)

    def _lost(self, why: str) -> None:
        self._watch.held(None)
        if why != self._complaint:
            log.warning("holders_not_known", socket=str(self._socket), why=why, hint="Is it mounted, as root?")
        self._complaint = why
