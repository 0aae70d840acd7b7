"""Finds the API server that the hub has its face in, and runs every feature of it; without one, says so once.

In a pod it is the cluster's own, if the pod's service account is mounted; elsewhere the one of `--kubeconfig`.
Nothing else of the hub waits for it: while it is away the features wait, and all else goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from arbora.errors import InvalidInput
from arbora_hub.settings import HubSettings

log = structlog.get_logger(__name__)


class Part(Protocol):
    """Something that runs by itself."""

    async def run(self) -> None:
        """Until cancelled."""
        ...


class Face:
    """The hub's face in Kubernetes, or none."""

    def __init__(self, settings: HubSettings, features: Callable[..., Sequence[Part]]) -> None:
        """features: makes what runs, given the API server."""
        self._settings = settings
        self._features = features
        self.present: bool | None = None
        """Whether there is one; None: not known yet."""
        self.parts: tuple[Part, ...] = ()
        """What runs."""

    async def run(self) -> None:
        """Until cancelled. Raises InvalidInput for a kubeconfig that was named and can't be used."""
        settings = self._settings
        if not settings.kubernetes:
            self._absent("it was turned off with --no-kubernetes")
            await _for_ever()
        try:
            from arbora.kubernetes.access import from_kubeconfig, in_cluster
            from arbora.kubernetes.api import ApiServer

            outside = settings.kubeconfig or settings.context
            access = await (
                from_kubeconfig(settings.kubeconfig or None, settings.context or None)()
                if outside
                else in_cluster()()
            )
        except ImportError as error:
            raise InvalidInput(
                f"speaking to Kubernetes needs the package {error.name}, which is not installed",
                hint="Install arbora[hub,agent], or start the hub with --no-kubernetes.",
            ) from error
        except InvalidInput as error:
            if settings.kubeconfig or settings.context:
                raise
            self._absent(str(error))
            await _for_ever()
        self.present = True
        api = ApiServer(access)
        log.info("kubernetes_face", server=access.server)
        try:
            self.parts = tuple(self._features(api))
            async with asyncio.TaskGroup() as tasks:
                for part in self.parts:
                    tasks.create_task(part.run(), name=type(part).__name__)
        finally:
            await api.close()

    def _absent(self, why: str) -> None:
        self.present = False
        log.info("no_kubernetes_face", why=why, without="ClusterProfiles, AuthTokenRequests, MultiKueue")


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()
