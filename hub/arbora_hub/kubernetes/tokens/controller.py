"""Follows AuthTokenRequests, asks `decide` what is due, and does it.

    a request, its profile or the member changed, or it is time -> one pass -> Secret, then status

The Secret is written before the status that points to it. A pass that is cut off anywhere is done again: the
grant has the request's uid as its id, so a repetition makes nothing twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from arbora.clock import Clock
from arbora.errors import ArboraError, Conflict, InvalidInput
from arbora_hub.journal import Journal
from arbora_hub.kubernetes.collection import Collection, Key
from arbora_hub.kubernetes.controller import Controller
from arbora_hub.kubernetes.kinds import AUTH_TOKEN_REQUEST, SECRET
from arbora_hub.kubernetes.objects import Objects, Raw
from arbora_hub.kubernetes.tokens import decide as due
from arbora_hub.kubernetes.tokens.issuing import Issuing
from arbora_hub.kubernetes.tokens.secret import emptied, holds_token, password_of, secret_for, whose
from arbora_hub.kubernetes.tokens.spec import RequestSpec, read_spec
from arbora_hub.kubernetes.tokens.status import READY, Condition, failed, read_issued, status_body, succeeded

log = structlog.get_logger(__name__)

FINALIZER = "arbora.dev/grant"
RETRY_REFUSED = 300.0
"""Seconds until a member is asked again that refused: its allow-list is changed by a restart of its agent."""


class Targets(Protocol):
    """What is known of the profiles that this hub publishes."""

    async def settled(self) -> None:
        """Return once it is known what stands behind each profile; before, nothing may be concluded."""
        ...

    def target(self, request: Raw, profile: str) -> due.Target | None:
        """The member behind a profile; None: there is no such profile of ours. request: its metadata."""
        ...

    def stands(self, path: str, cluster_uid: str) -> bool:
        """Whether that cluster is the member at that path now."""
        ...

    def on_target(self, callback: Callable[[str, str], None]) -> None:
        """Hear namespace and name of each profile whose target changed."""
        ...


class AuthTokenRequests:
    """The controller. Run it with the collection."""

    def __init__(
        self,
        requests: Collection,
        objects: Objects,
        targets: Targets,
        issuing: Issuing,
        journal: Journal,
        clock: Clock,
        wall: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """wall: seconds since the epoch."""
        self._requests = requests
        self._objects = objects
        self._targets = targets
        self._issuing = issuing
        self._journal = journal
        self._wall = wall
        self._chance = chance
        self._wishes: dict[Key, object] = {}
        self._controller = Controller("AuthTokenRequest", self._pass, clock, chance=chance)
        requests.on_change(self._changed)
        targets.on_target(self._retargeted)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._requests.synced()
        await self._targets.settled()
        await self._controller.run()

    def _changed(self, key: Key) -> None:
        """Our own words in the status are no reason to look again: a refusal would be followed by the next."""
        body = self._requests.get(key[1], key[0])
        wishes = None if body is None else _wishes(body)
        if wishes is None:
            self._wishes.pop(key, None)
        elif wishes != self._wishes.get(key):
            self._wishes[key] = wishes
            self._controller.add("/".join(key))

    def _retargeted(self, namespace: str, profile: str) -> None:
        for body in self._requests:
            metadata = body["metadata"]
            wanted = ((body.get("spec") or {}).get("targetClusterProfile") or {}).get("name")
            if metadata["namespace"] == namespace and wanted == profile:
                self._controller.add(f"{namespace}/{metadata['name']}")

    async def _pass(self, key: str) -> float | None:
        namespace, _, name = key.partition("/")
        body = self._requests.get(name, namespace)
        if body is None:
            return None
        try:
            spec = read_spec(body)
        except InvalidInput as error:
            if body["metadata"].get("deletionTimestamp") is None:
                await self._say(body, [Condition(READY, "False", "InvalidSpec", str(error))])
                return None
            spec = None
        secret = await self._objects.get(SECRET, spec.secret, namespace) if spec is not None else None
        seen = self._see(body, spec, secret)
        action = due.decide(seen, self._wall(), self._still_there(seen))
        if isinstance(action, due.Hold):
            body = await self._hold(body)
            if body is None:
                return None
            action = due.decide(replace(seen, held=True), self._wall(), self._still_there(seen))
        return await self._do(action, body, spec, secret)

    async def _do(
        self, action: due.Action, body: Raw, spec: RequestSpec | None, secret: Raw | None
    ) -> float | None:
        match action:
            case due.Release(member, cluster_uid):
                await self._release(body, member, cluster_uid)
                return None
            case due.Refuse(reason, message):
                await self._say(body, [Condition(READY, "False", reason, message)])
                return due.RELOOK_SECONDS
            case due.TakeBack():
                assert spec is not None
                await self._take_back(action, body, spec, secret)
            case due.Mint(target):
                assert spec is not None
                return await self._mint(target, body, spec, secret)
            case due.Wait(seconds):
                return seconds
            case _:
                pass
        return None

    def _see(self, body: Raw, spec: RequestSpec | None, secret: Raw | None) -> due.Seen:
        metadata = body["metadata"]
        ours = secret is not None and whose(secret, metadata["uid"])
        return due.Seen(
            generation=int(metadata.get("generation", 0)),
            deleting=metadata.get("deletionTimestamp") is not None,
            held=FINALIZER in (metadata.get("finalizers") or ()),
            target=None if spec is None else self._targets.target(metadata, spec.profile),
            issued=read_issued(body),
            secret="foreign"
            if secret is not None and not ours
            else "ours"
            if secret is not None and holds_token(secret)
            else "absent",
            accepted_uid=(metadata.get("annotations") or {}).get(due.ACCEPT, ""),
        )

    def _still_there(self, seen: due.Seen) -> bool:
        issued = seen.issued
        return bool(issued.cluster_uid) and self._targets.stands(issued.path, issued.cluster_uid)

    async def _hold(self, body: Raw) -> Raw | None:
        """Put our finalizer on it, before anything is made in a member; None: it is gone."""
        metadata = body["metadata"]
        patch = {
            "metadata": {
                "finalizers": [*(metadata.get("finalizers") or ()), FINALIZER],
                "resourceVersion": metadata["resourceVersion"],
            }
        }
        return await self._objects.merge(AUTH_TOKEN_REQUEST, metadata["name"], patch, metadata["namespace"])

    async def _mint(self, target: due.Target, body: Raw, spec: RequestSpec, secret: Raw | None) -> float | None:
        metadata = body["metadata"]
        uid, requester = metadata["uid"], f"{metadata['namespace']}/{metadata['name']}"
        # Written down first: if the answer is lost, it is known where something may have been made.
        before = read_issued(body)
        if (before.path, before.cluster_uid) != (target.path, target.cluster_uid):
            if before.cluster_uid and self._targets.stands(before.path, before.cluster_uid):
                await self._issuing.release(requester, uid, before.path, before.cluster_uid)
            before = due.Issued(target.path, target.cluster_uid)
            body = await self._say(body, [Condition(READY, "False", "Asked", f"{target.path} is asked")], before)
        try:
            minted = await self._issuing.mint(requester, uid, spec, target)
            way = await self._issuing.way(uid, target.path, password_of(secret))
        except ArboraError as error:
            await self._audit(requester, "CreateToken", target.path, error.reason, str(error))
            usable = secret is not None and holds_token(secret) and self._wall() < before.expires
            message = f"{error.message}. {error.hint}" if error.hint else error.message
            await self._say(body, failed(error.field, _reason(error), message, usable=usable))
            if error.retryable:
                raise
            return RETRY_REFUSED
        now = self._wall()
        issued = due.Issued(
            path=target.path,
            cluster_uid=target.cluster_uid,
            generation=int(metadata.get("generation", 0)),
            expires=now + minted.lifetime,
            rotate=now + due.renewal(minted.lifetime, spec.fraction, self._chance()),
        )
        wanted = secret_for(body, spec.secret, minted.token, way.ca_pem, way.proxy, way.gateway_ca)
        await self._write(wanted, secret)
        await self._say(body, succeeded(minted.steps, target.path), issued, spec.secret)
        await self._audit(requester, "CreateToken", target.path, "OK", "")
        log.info("token_issued", request=requester, member=target.path, seconds=int(minted.lifetime))
        return min(due.RELOOK_SECONDS, issued.rotate - now)

    async def _take_back(self, action: due.TakeBack, body: Raw, spec: RequestSpec, secret: Raw | None) -> None:
        """The token goes at once; what the member made for it goes as soon as the member can be asked."""
        metadata = body["metadata"]
        requester, issued = f"{metadata['namespace']}/{metadata['name']}", read_issued(body)
        if secret is not None and (secret.get("data") or {}):
            await self._write(emptied(body, spec.secret), secret)
            await self._issuing.close(metadata["uid"])
            log.info("token_taken_back", request=requester, why=action.reason)
        if _ready_reason(body) == action.reason:
            return
        if issued.cluster_uid and self._targets.stands(issued.path, issued.cluster_uid):
            await self._issuing.release(requester, metadata["uid"], issued.path, issued.cluster_uid)
        await self._say(
            body, [Condition(READY, "False", action.reason, action.message)], replace(issued, generation=0)
        )

    async def _release(self, body: Raw, member: str, cluster_uid: str) -> None:
        metadata = body["metadata"]
        requester = f"{metadata['namespace']}/{metadata['name']}"
        await self._issuing.close(metadata["uid"])
        if member:
            try:
                await self._issuing.release(requester, metadata["uid"], member, cluster_uid)
            except ArboraError as error:
                await self._audit(requester, "RevokeGrant", member, error.reason, str(error))
                await self._say(
                    body, [Condition(READY, "False", "Releasing", f"deleted once {member} has: {error}")]
                )
                raise
            await self._audit(requester, "RevokeGrant", member, "OK", "")
        name = ((body.get("status") or {}).get("tokenResponse") or {}).get("name", "")
        secret = await self._objects.get(SECRET, name, metadata["namespace"]) if name else None
        if secret is not None and whose(secret, metadata["uid"]):
            # The garbage collector would do it, some time later.
            await self._objects.delete(SECRET, name, metadata["namespace"], uid=secret["metadata"]["uid"])
        left = [each for each in metadata.get("finalizers") or () if each != FINALIZER]
        patch = {"metadata": {"finalizers": left, "uid": metadata["uid"]}}
        await self._objects.merge(AUTH_TOKEN_REQUEST, metadata["name"], patch, metadata["namespace"])
        log.info("grant_released", request=requester, member=member)

    async def _say(
        self, body: Raw, conditions: list[Condition], issued: due.Issued | None = None, secret: str = ""
    ) -> Raw:
        """Write the status where it says something new; returns the object as it is then.

        issued: None: what it was issued for stays as it is, and so does the Secret that it names.
        """
        before = body.get("status") or {}
        if issued is None:
            issued, secret = read_issued(body), (before.get("tokenResponse") or {}).get("name", "")
        after = status_body(body, conditions, issued, secret, self._wall())
        if after["status"] == before:
            return body
        said = await self._objects.apply(AUTH_TOKEN_REQUEST, after, subresource="status")
        self._requests.put(said)
        return said

    async def _write(self, wanted: Raw, secret: Raw | None) -> None:
        """Make the Secret, or replace `secret`, which is ours; never another one. Raises Conflict."""
        if secret is None:
            if await self._objects.create(SECRET, wanted) is None:
                raise Conflict(f"somebody made the Secret {wanted['metadata']['name']} just now")
            return
        version = {key: secret["metadata"][key] for key in ("uid", "resourceVersion")}
        await self._objects.replace(SECRET, {**wanted, "metadata": {**wanted["metadata"], **version}})

    async def _audit(self, requester: str, action: str, member: str, outcome: str, why: str) -> None:
        await self._journal.audit(f"kubernetes/{requester}", action, member, outcome, "", why)


def _wishes(body: Raw) -> object:
    """What others decide about a request."""
    metadata = body["metadata"]
    accepted = (metadata.get("annotations") or {}).get(due.ACCEPT)
    return metadata["uid"], metadata.get("generation"), metadata.get("deletionTimestamp"), accepted


def _ready_reason(body: Raw) -> str:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((str(each["reason"]) for each in conditions if each["type"] == READY), "")


def _reason(error: ArboraError) -> str:
    """A condition's reason: CamelCase of the error's code."""
    return "".join(word.capitalize() for word in error.reason.split("_"))
