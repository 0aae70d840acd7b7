"""Becoming a child of another hub, and staying one at hubs that are only stood by.

    join: a join token -> an identity in `uplink/<slot>/`       the same token again -> the same identity
    wishes: what the command line asked for, without the tokens that were used already
    Renewals: keeps the certificates at standby parents fresh, for nobody else speaks to those

Says nothing about which parent is held on to: that is `uplink.py`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from arbora.errors import ArboraError, InvalidInput
from arbora.identity import join_token, keys
from arbora.identity.join_token import JoinToken
from arbora.identity.names import Kind, check_name
from arbora.rpc.channel import session_channel
from arbora.session import enroll
from arbora.session.addresses import split
from arbora.session.credential import Credential, CredentialStore, utc_now
from arbora.v1 import enrollment_pb2
from arbora.version import __version__
from arbora_hub.settings import HubSettings
from arbora_hub.tree.parent_store import ParentStore
from arbora_hub.tree.parents import Parent, Parents

log = structlog.get_logger(__name__)

LOOK_SECONDS = 60.0
"""How often the certificates at standby parents are looked at; they live for a day."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A parent that somebody wants, with the means to join it."""

    address: str
    token: JoinToken
    standby: bool

    @property
    def parent(self) -> Parent:
        """The parent that it becomes."""
        return Parent(self.token.id, self.address)


def wish(address: str, token: str, *, standby: bool = False) -> Wish:
    """Raises InvalidInput."""
    split(address, "parent")
    return Wish(address, join_token.parse(token), standby)


def wishes(settings: HubSettings, kept: Parents) -> list[Wish]:
    """What the settings ask for that is not done yet. Raises InvalidInput if they can't be meant so."""
    if settings.name:
        check_name(settings.name)
    if settings.join_token and not settings.parent:
        raise InvalidInput("a join token is of no use without a parent", hint="Say --parent HOST:PORT, too.")
    if settings.parent and not settings.join_token and kept.current() is None:
        raise InvalidInput(
            f"this hub has not joined {settings.parent} yet and has no join token to do so",
            hint="Make one there: arbora join-token create --kind hub. Start this hub with --join-token TOKEN.",
        )
    asked = []
    if settings.parent and settings.join_token:
        asked.append(wish(settings.parent, settings.join_token.reveal()))
    asked += [wish(address, token.reveal(), standby=True) for address, token in settings.standby]
    return [one for one in asked if one.token.id not in kept.used_tokens]


async def join(wanted: Wish, store: ParentStore, names: tuple[str, ...], hub_id: str) -> Credential:
    """The identity at the wanted parent, kept. Safe to repeat. Raises ArboraError; then nothing has changed.

    names: what this hub would like to be called; an empty one leaves it to the token, and the next is tried if
    the token leaves it to the hub.
    """
    identity = store.identity(wanted.token.id)
    kept = await identity.load()
    if kept is not None and kept.joined_with == wanted.token.id:
        return kept
    for index, name in enumerate(names):
        try:
            return await enroll.enroll(
                wanted.address,
                wanted.token,
                identity,
                kind=Kind.HUB,
                name=name,
                cluster_uid=hub_id,
                version=__version__,
            )
        except InvalidInput as error:
            if error.field != "name" or index + 1 == len(names):
                raise
    raise AssertionError("there is at least one name to try")


async def answers(identity: CredentialStore) -> bool:
    """Whether the hub of this identity can be reached and would let us in."""
    credential = await identity.load()
    if credential is None or credential.expired(utc_now()):
        return False
    answer = await enroll.why_refused(credential)
    return answer is not None and answer.refusal == enrollment_pb2.REFUSAL_NONE


class Renewals:
    """Renews the certificates at standby parents at half of their life."""

    def __init__(
        self, store: ParentStore, standbys: Callable[[], tuple[Parent, ...]], chance: random.Random
    ) -> None:
        self._store = store
        self._standbys = standbys
        self._chance = chance

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for parent in self._standbys():
                try:
                    await self._renew(parent)
                except ArboraError as error:
                    log.info("standby not renewed", parent=parent.address, error=str(error))

    async def _renew(self, parent: Parent) -> None:
        identity = self._store.identity(parent.slot)
        credential = await identity.load()
        if credential is None or credential.expired(utc_now()):
            return
        if credential.renew_after(utc_now(), self._chance.random()).total_seconds() > 0:
            return
        channel = session_channel(
            credential.session_address, credential.bundle_pem(), credential.key_pem, credential.leaf_pem()
        )
        try:
            renewed = await enroll.renew(channel, credential, keys.to_pem(keys.new_key()))
        finally:
            await channel.close()
        if parent in self._standbys():  # else it has become the parent, and its link has renewed by itself
            await identity.save(renewed)
            log.info("certificate at a standby renewed", parent=parent.address)
