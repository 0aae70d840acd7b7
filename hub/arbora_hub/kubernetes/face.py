"""Finds the API server that the hub has its face in, and runs every feature of it; without one, says so once.

In a pod it is the cluster's own, if the pod's service account is mounted; elsewhere the one of `--kubeconfig`.
Nothing else of the hub waits for it: while it is away the features wait, and all else goes on; so it does when
one of them fails, which takes the face down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import structlog

from arbora.errors import InvalidInput
from arbora_hub.journal import WARNING, Journal
from arbora_hub.settings import HubSettings

if TYPE_CHECKING:
    from arbora.kubernetes.api import ApiServer

log = structlog.get_logger(__name__)


class Part(Protocol):
    """Something that runs by itself."""

    async def run(self) -> None:
        """Until cancelled."""
        ...


class Face:
    """The hub's face in Kubernetes, or none."""

    def __init__(self, settings: HubSettings, journal: Journal, features: Callable[..., Sequence[Part]]) -> None:
        """features: makes what runs, given the API server."""
        self._settings = settings
        self._journal = journal
        self._features = features
        self.present: bool | None = None
        """Whether there is one; None: not known yet."""
        self.parts: tuple[Part, ...] = ()
        """What runs."""

    async def run(self) -> None:
        """Until cancelled. Raises InvalidInput for settings, such as a kubeconfig's name, that can't be used."""
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
            if self._made(api):
                await self._run_parts()
        finally:
            self.parts = ()
            await api.close()
        await _for_ever()

    def _made(self, api: ApiServer) -> bool:
        """Whether there are parts to run."""
        try:
            self.parts = tuple(self._features(api))
        except InvalidInput:
            raise
        except Exception as error:
            log.exception("kubernetes_face_failed", part="features")
            self._failed("it", error)
            return False
        return True

    async def _run_parts(self) -> None:
        """Until the first of them fails."""
        down = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._run(part, down), name=type(part).__name__) for part in self.parts]
            await down.wait()
            for task in running:
                task.cancel()

    async def _run(self, part: Part, down: asyncio.Event) -> None:
        # Nothing is raised: a group that fails would hide that the hub itself ends at the same time.
        try:
            await part.run()
        except Exception as error:
            log.exception("kubernetes_face_failed", part=type(part).__name__)
            self._failed(type(part).__name__, error)
            down.set()

    def _failed(self, part: str, error: Exception) -> None:
        if self.present:
            self.present = False
            self._journal.event(
                WARNING,
                "FaceFailed",
                "hub/kubernetes",
                f"The hub's face in Kubernetes is down until the hub starts again, as {part} failed: "
                f"{type(error).__name__}: {error}",
            )

    def _absent(self, why: str) -> None:
        self.present = False
        log.info("no_kubernetes_face", why=why, without="ClusterProfiles, AuthTokenRequests, MultiKueue")


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()
