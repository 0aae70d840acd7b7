"""A hub's controller of AuthTokenRequests over objects in memory, with members that a test plays."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

from arbora.clock import ManualClock
from arbora.errors import ArboraError
from arbora.kubernetes.api import ApiServer
from arbora.secret import Secret
from arbora.v1 import credential_pb2 as pb
from arbora_hub.journal import Journal
from arbora_hub.kubernetes.collection import Collection
from arbora_hub.kubernetes.kinds import AUTH_TOKEN_REQUEST, SECRET
from arbora_hub.kubernetes.objects import Objects
from arbora_hub.kubernetes.tokens.controller import AuthTokenRequests
from arbora_hub.kubernetes.tokens.decide import Target
from arbora_hub.kubernetes.tokens.issuing import Issuing, Minted, Way
from arbora_hub.kubernetes.tokens.kept import Kept, KeptGrants
from arbora_hub.kubernetes.tokens.spec import RequestSpec
from tests.support.fake_objects import FakeObjects

NAMESPACE, NAME = "team", "work"
MANAGER = "arbora"


class Members:
    """Plays `Targets` and `Issuing`: what stands behind profiles, and what members answer."""

    def __init__(self) -> None:
        self.targets = {(NAMESPACE, "eu-edge-7"): Target("/eu/edge-7", "uid-1")}
        self.lifetime = 3600.0
        self.gateway = True
        self.failure: ArboraError | None = None
        self.minted: list[tuple[str, str]] = []
        """Path and cluster of each token."""
        self.released: list[tuple[str, str]] = []
        self.closed = 0
        self._told: list[Callable[[str, str], None]] = []

    async def settled(self) -> None:
        return

    def target(self, request: Mapping[str, Any], profile: str, issued_uid: str) -> Target | None:
        return self.targets.get((request["namespace"], profile))

    def foreign(self, namespace: str, profile: str) -> bool:
        return (namespace, profile) in self.of_others

    def where(self, path: str, cluster_uid: str) -> str:
        known = {one.cluster_uid: one.path for one in self.targets.values()}
        known |= {uid: path for path, uid in self.unpublished}
        return known.get(cluster_uid, "")

    of_others: tuple[tuple[str, str], ...] = ()
    """Profiles of another manager."""
    unpublished: tuple[tuple[str, str], ...] = ()
    """Members that are there, without a profile."""

    def on_target(self, callback: Callable[[str, str], None]) -> None:
        self._told.append(callback)

    def move(self, target: Target | None) -> None:
        """Something else stands behind the profile now."""
        if target is None:
            del self.targets[(NAMESPACE, "eu-edge-7")]
        else:
            self.targets[(NAMESPACE, "eu-edge-7")] = target
        for callback in self._told:
            callback(NAMESPACE, "eu-edge-7")

    async def mint(self, requester: str, uid: str, spec: RequestSpec, target: Target) -> Minted:
        if self.failure is not None:
            raise self.failure
        self.minted.append((target.path, target.cluster_uid))
        step = pb.GrantStep(type="ServiceAccountFoundOrCreated", reason="Created", message="made")
        return Minted(Secret(f"token-{len(self.minted)}"), self.lifetime, (step,))

    async def release(self, requester: str, uid: str, path: str, cluster_uid: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.released.append((path, cluster_uid))

    async def way(self, uid: str, path: str, password: Secret) -> Way:
        if not self.gateway:
            return Way(b"CA", Secret(""), b"")
        known = password.reveal() or f"password-{len(self.minted)}"
        return Way(b"CA", Secret(f"https://edge-7.eu:{known}@hub:7447"), b"HUB CA")

    async def close(self, uid: str) -> None:
        self.closed += 1


class Memory(KeptGrants):
    """What is kept, without a store."""

    def __init__(self) -> None:
        self._rows: dict[str, Kept] = {}

    async def load(self) -> None:
        return

    async def put(self, uid: str, kept: Kept) -> None:
        self._rows[uid] = kept

    async def drop(self, uid: str) -> None:
        self._rows.pop(uid, None)


class Audit:
    """Plays the journal."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str, str]] = []

    async def audit(self, actor: str, action: str, subject: str, outcome: str, peer: str, detail: str) -> None:
        self.entries.append((actor, action, subject, outcome))


class World:
    """Use as an async context."""

    def __init__(self, members: Members | None = None, objects: FakeObjects | None = None) -> None:
        """members, objects: of another world, which a second hub shares."""
        self.objects = objects or FakeObjects()
        self.members = members or Members()
        self.kept = Memory()
        self.audit = Audit()
        self.clock = ManualClock()
        # only its reflector would ask the API server, and that doesn't run
        self.requests = self.objects.feed(Collection(cast(ApiServer, None), AUTH_TOKEN_REQUEST))
        self.requests.begin()
        self.requests.end("")
        self._controller = AuthTokenRequests(
            self.requests,
            cast(Objects, self.objects),
            self.members,
            cast(Issuing, self.members),
            self.kept,
            cast(Journal, self.audit),
            MANAGER,
            self.clock,
            self.clock.monotonic,
            chance=lambda: 0.0,
        )

    async def __aenter__(self) -> World:
        self._task = asyncio.create_task(self._controller.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def ask(self, **spec: Any) -> None:
        """Make the request, and let everything settle."""
        body = {
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"targetClusterProfile": {"name": "eu-edge-7"}, "serviceAccountName": "work", **spec},
        }
        await self.objects.create(AUTH_TOKEN_REQUEST, body)
        await self.settle()

    async def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the request as its owner does."""
        body = copy.deepcopy(self.request)
        change(body)
        await self.objects.replace(AUTH_TOKEN_REQUEST, body)
        await self.settle()

    async def delete(self) -> None:
        await self.objects.delete(AUTH_TOKEN_REQUEST, NAME, NAMESPACE)
        await self.settle()

    async def settle(self) -> None:
        """Let every task go on until nothing is left to do at this moment."""
        for _ in range(200):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """In small steps, as time passes."""
        left = seconds
        while left > 0:
            step = min(left, 60.0)
            self.clock.advance(step)
            left -= step
            await self.settle()

    @property
    def request(self) -> dict[str, Any]:
        found = self.objects.of(AUTH_TOKEN_REQUEST, NAME, NAMESPACE)
        assert found is not None
        return found

    @property
    def gone(self) -> bool:
        return self.objects.of(AUTH_TOKEN_REQUEST, NAME, NAMESPACE) is None

    def condition(self, kind: str = "Ready") -> tuple[str, str]:
        """Status and reason."""
        found = {each["type"]: each for each in self.request.get("status", {}).get("conditions", ())}
        return (found[kind]["status"], found[kind]["reason"]) if kind in found else ("", "")

    def secret(self) -> dict[str, str] | None:
        """What is in the Secret, decoded; None: there is none."""
        found = self.objects.of(SECRET, NAME, NAMESPACE)
        return found and {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
