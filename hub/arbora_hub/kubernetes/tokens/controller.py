"""Follows AuthTokenRequests, asks `decide` what is due, and does it.

    a request, its profile or the member changed, or it is time -> one pass -> Secret, then status

What is made in a member is kept in the hub's store first (`kept.py`), so that it is found whatever becomes of the
request. A pass that is cut off anywhere is done again: the grant has the request's uid as its id, so a repetition
makes nothing twice. Of several hubs with a face here, each looks after the requests for its own profiles.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from arbora.clock import Clock
from arbora.errors import ArboraError, Conflict, InvalidInput
from arbora.kubernetes.failures import ObjectRejected
from arbora_hub.journal import Journal
from arbora_hub.kubernetes.collection import Collection, Key
from arbora_hub.kubernetes.conditions import Condition
from arbora_hub.kubernetes.controller import Controller
from arbora_hub.kubernetes.kinds import AUTH_TOKEN_REQUEST, MANAGER, SECRET
from arbora_hub.kubernetes.objects import Objects, Raw
from arbora_hub.kubernetes.tokens import decide as due
from arbora_hub.kubernetes.tokens.issuing import Issuing
from arbora_hub.kubernetes.tokens.kept import Kept, KeptGrants
from arbora_hub.kubernetes.tokens.secret import holds_token, password_of, secret_for, whose
from arbora_hub.kubernetes.tokens.spec import RequestSpec, read_spec
from arbora_hub.kubernetes.tokens.status import (
    READY,
    failed,
    read_issued,
    ready_reason,
    retrieval_reason,
    status_body,
    succeeded,
)

log = structlog.get_logger(__name__)

FINALIZERS = "grant.arbora.dev/"
"""Stands before the manager's name in our finalizer: a request is held by the hub that gave it something."""
RETRY_REFUSED = 300.0
"""Seconds until a member is asked again that refused: its allow-list is changed by a restart of its agent."""
WORKERS = 32
"""Requests at once. Many members may be slow to answer, and the tokens of others must be renewed all the same."""
_GONE = "gone:"
"""Before the uid, as the key of a request that is not there any more."""


class Targets(Protocol):
    """What is known of the profiles that this hub publishes."""

    async def settled(self) -> None:
        """Return once it is known what stands behind each profile; before, nothing may be concluded."""
        ...

    def target(self, request: Raw, profile: str, issued_uid: str) -> due.Target | None:
        """The member behind a profile; None: there is no such profile of ours. request: its metadata.

        issued_uid: the cluster that it has a token of; empty: none. Raises Unavailable while that can't be told.
        """
        ...

    def foreign(self, namespace: str, profile: str) -> bool:
        """Whether the profile is one of another manager."""
        ...

    def where(self, path: str, cluster_uid: str) -> str:
        """Where that cluster is a member now, having been at `path`; empty: it is none any more."""
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
        kept: KeptGrants,
        journal: Journal,
        manager: str,
        clock: Clock,
        wall: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """manager: whose profiles this hub publishes. wall: seconds since the epoch."""
        self._requests = requests
        self._objects = objects
        self._targets = targets
        self._issuing = issuing
        self._kept = kept
        self._journal = journal
        self._finalizer = f"{FINALIZERS}{manager}"
        self._owner = f"{MANAGER}/{manager}"
        self._wall = wall
        self._chance = chance
        self._wishes: dict[Key, object] = {}
        self._controller = Controller("AuthTokenRequest", self._pass, clock, workers=WORKERS, chance=chance)
        requests.on_change(self._changed)
        targets.on_target(self._retargeted)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._kept.load()
        await self._requests.filled.wait()
        await self._targets.settled()
        there = {body["metadata"]["uid"] for body in self._requests}
        for uid, _ in self._kept:
            if uid not in there:
                self._controller.add(f"{_GONE}{uid}")
        await self._controller.run()

    def _changed(self, key: Key) -> None:
        """Our own words in the status are no reason to look again: a refusal would be followed by the next."""
        body = self._requests.get(key[1], key[0])
        for uid, kept in self._kept:
            if (kept.namespace, kept.name) == key and (body is None or body["metadata"]["uid"] != uid):
                self._controller.add(f"{_GONE}{uid}")
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
        if key.startswith(_GONE):
            await self._forget(key.removeprefix(_GONE))
            return None
        namespace, _, name = key.partition("/")
        body = self._requests.get(name, namespace)
        if body is None:
            return None
        if body["metadata"].get("deletionTimestamp") is not None:
            if self._finalizer in (body["metadata"].get("finalizers") or ()):
                await self._release(body)
            return None
        try:
            spec = read_spec(body)
        except InvalidInput as error:
            await self._say(body, [Condition(READY, "False", "InvalidSpec", str(error))])
            return None
        if self._others(body, spec):
            return None
        try:
            secret = await self._objects.get(SECRET, spec.secret, namespace)
        except ObjectRejected as error:
            await self._say(body, [Condition(READY, "False", "SecretNotReadable", str(error))])
            return RETRY_REFUSED
        seen = self._see(body, spec, secret)
        action = due.decide(seen, self._wall())
        if isinstance(action, due.Hold):
            held = await self._hold(body)
            if held is None:
                return None
            body, action = held, due.decide(replace(seen, held=True), self._wall())
        return await self._do(action, body, spec, secret)

    async def _do(self, action: due.Action, body: Raw, spec: RequestSpec, secret: Raw | None) -> float | None:
        match action:
            case due.Refuse(reason, message):
                await self._say(body, [Condition(READY, "False", reason, message)])
                return due.RELOOK_SECONDS
            case due.TakeBack():
                await self._take_back(action, body, secret)
            case due.Mint(target):
                return await self._mint(target, body, spec, secret)
            case due.Wait(seconds):
                return seconds
            case _:
                pass
        return None

    def _others(self, body: Raw, spec: RequestSpec) -> bool:
        """Whether another hub looks after the request."""
        metadata = body["metadata"]
        held = [each for each in metadata.get("finalizers") or () if each.startswith(FINALIZERS)]
        if held:
            return self._finalizer not in held
        return self._targets.foreign(metadata["namespace"], spec.profile)

    def _see(self, body: Raw, spec: RequestSpec, secret: Raw | None) -> due.Seen:
        metadata = body["metadata"]
        ours = secret is not None and whose(secret, metadata["uid"])
        issued = self._issued(body)
        kept = self._kept.get(metadata["uid"])
        known = kept.cluster_uid if kept is not None and not kept.released else ""
        return due.Seen(
            generation=int(metadata.get("generation", 0)),
            held=self._finalizer in (metadata.get("finalizers") or ()),
            target=self._targets.target(metadata, spec.profile, known),
            issued=issued,
            secret="foreign"
            if secret is not None and not ours
            else "ours"
            if secret is not None and holds_token(secret)
            else "absent",
            accepted_uid=(metadata.get("annotations") or {}).get(due.ACCEPT, ""),
        )

    def _issued(self, body: Raw) -> due.Issued:
        """Whom the token is of, as this hub itself wrote down; the status, which others can write, says when."""
        said, kept = read_issued(body), self._kept.get(body["metadata"]["uid"])
        return said if kept is None else replace(said, path=kept.path, cluster_uid=kept.cluster_uid)

    async def _hold(self, body: Raw) -> Raw | None:
        """Put our finalizer on it, before anything is made in a member; None: it is gone."""
        metadata = body["metadata"]
        patch = {
            "metadata": {
                "finalizers": [*(metadata.get("finalizers") or ()), self._finalizer],
                "resourceVersion": metadata["resourceVersion"],
            }
        }
        return await self._objects.merge(AUTH_TOKEN_REQUEST, metadata["name"], patch, metadata["namespace"])

    async def _mint(self, target: due.Target, body: Raw, spec: RequestSpec, secret: Raw | None) -> float | None:
        metadata = body["metadata"]
        uid, requester = metadata["uid"], _requester(metadata)
        before = self._issued(body)
        if before.cluster_uid != target.cluster_uid:
            await self._let_go(uid, requester)
        # Kept first: if the answer is lost, it is known where something may have been made.
        row = Kept(metadata["namespace"], metadata["name"], target.path, target.cluster_uid)
        await self._kept.put(uid, row)
        if before.cluster_uid != target.cluster_uid:
            said = [Condition(READY, "False", "Asked", f"{target.path} is asked")]
            body = await self._say(body, said, due.Issued(target.path, target.cluster_uid))
        try:
            minted = await self._issuing.mint(requester, uid, spec, target)
            await self._audit(requester, "CreateToken", target.path, "OK", "")
            way = await self._issuing.way(uid, target.path, password_of(secret))
            now = self._wall()
            wanted = secret_for(body, spec.secret, minted.token, way.ca_pem, way.proxy, way.gateway_ca)
            await self._write(wanted, secret)
        except ArboraError as error:
            return await self._failed(error, target, body, secret)
        issued = due.Issued(
            path=target.path,
            cluster_uid=target.cluster_uid,
            generation=int(metadata.get("generation", 0)),
            expires=now + minted.lifetime,
            rotate=now + due.renewal(minted.lifetime, spec.fraction, self._chance()),
        )
        await self._say(body, succeeded(minted.steps, target.path), issued, spec.secret)
        log.info("token_issued", request=requester, member=target.path, seconds=int(minted.lifetime))
        return min(due.RELOOK_SECONDS, issued.rotate - now)

    async def _failed(
        self, error: ArboraError, target: due.Target, body: Raw, secret: Raw | None
    ) -> float | None:
        """Say it once for each reason, as a member that is away is asked again and again. Raises what passes."""
        reason = _reason(error)
        usable = secret is not None and holds_token(secret) and self._wall() < read_issued(body).expires
        message = f"{error.message}. {error.hint}" if error.hint else error.message
        if retrieval_reason(body) != reason:
            await self._audit(_requester(body["metadata"]), "CreateToken", target.path, error.reason, str(error))
            await self._say(body, failed(error.field, reason, message, usable=usable))
        if error.retryable:
            raise error
        return RETRY_REFUSED

    async def _take_back(self, action: due.TakeBack, body: Raw, secret: Raw | None) -> None:
        """The Secret and the way in go at once; what the member made goes as soon as the member can be asked."""
        metadata = body["metadata"]
        uid, requester = metadata["uid"], _requester(metadata)
        if secret is not None and whose(secret, uid):
            name = secret["metadata"]["name"]
            await self._objects.delete(SECRET, name, metadata["namespace"], uid=secret["metadata"]["uid"])
            log.info("token_taken_back", request=requester, why=action.reason)
        await self._issuing.close(uid)
        said = [Condition(READY, "False", action.reason, action.message)]
        await self._say(body, said, replace(self._issued(body), generation=0))
        await self._let_go(uid, requester)

    async def _let_go(self, uid: str, requester: str) -> None:
        """Have the member forget what it made, once. Raises ArboraError while it can't be asked."""
        kept = self._kept.get(uid)
        if kept is None or kept.released:
            return
        where = self._targets.where(kept.path, kept.cluster_uid)
        if where:
            await self._issuing.release(requester, uid, where, kept.cluster_uid)
            await self._audit(requester, "RevokeGrant", where, "OK", "")
        await self._kept.put(uid, replace(kept, released=True))
        log.info("grant_released", request=requester, member=where or kept.path)

    async def _forget(self, uid: str) -> None:
        """The request is gone, however it went: nothing of it may be left."""
        kept = self._kept.get(uid)
        if kept is None or any(body["metadata"]["uid"] == uid for body in self._requests):
            return
        await self._issuing.close(uid)
        await self._let_go(uid, f"{kept.namespace}/{kept.name}")
        await self._kept.drop(uid)

    async def _release(self, body: Raw) -> None:
        metadata = body["metadata"]
        uid, requester = metadata["uid"], _requester(metadata)
        await self._issuing.close(uid)
        try:
            await self._let_go(uid, requester)
        except ArboraError as error:
            if ready_reason(body) != "Releasing":
                await self._audit(requester, "RevokeGrant", self._issued(body).path, error.reason, str(error))
                why = f"it goes once the member has deleted what it made for it: {error}"
                await self._say(body, [Condition(READY, "False", "Releasing", why)])
            raise
        await self._kept.drop(uid)
        await self._delete_secret(body)
        left = [each for each in metadata.get("finalizers") or () if each != self._finalizer]
        patch = {"metadata": {"finalizers": left, "uid": uid}}
        await self._objects.merge(AUTH_TOKEN_REQUEST, metadata["name"], patch, metadata["namespace"])

    async def _delete_secret(self, body: Raw) -> None:
        """At once; the garbage collector would do it some time later, and does it where we may not."""
        namespace = body["metadata"]["namespace"]
        name = ((body.get("status") or {}).get("tokenResponse") or {}).get("name", "")
        try:
            secret = await self._objects.get(SECRET, name, namespace) if name else None
            if secret is not None and whose(secret, body["metadata"]["uid"]):
                await self._objects.delete(SECRET, name, namespace, uid=secret["metadata"]["uid"])
        except ObjectRejected as error:
            log.info("secret_left_to_the_garbage_collector", secret=f"{namespace}/{name}", why=str(error))

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
        said = await self._objects.apply(AUTH_TOKEN_REQUEST, after, subresource="status", manager=self._owner)
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


def _requester(metadata: Raw) -> str:
    return f"{metadata['namespace']}/{metadata['name']}"


def _reason(error: ArboraError) -> str:
    """A condition's reason: CamelCase of the error's code."""
    return "".join(word.capitalize() for word in error.reason.split("_"))
