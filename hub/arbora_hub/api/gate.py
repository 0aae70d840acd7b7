"""What the guard asks of this hub: who is behind a bearer token, and a line in the audit log."""

from __future__ import annotations

import structlog

from arbora.errors import InvalidInput, StorageFailed, Unauthenticated
from arbora.identity.bearer import Role
from arbora.rpc.guard import Caller
from arbora_hub.api.access import AccessList
from arbora_hub.journal import Journal

log = structlog.get_logger(__name__)

_SUBJECT_FIELDS = ("path", "member", "name", "id", "step", "parent")
_FACTS = (
    "namespace",
    "service_account",
    "reason",
    "dry_run",
    "cordoned",
    "orphan",
    "forced",
    "standby",
    "detach",
)
"""Fields of a request that are worth keeping and hold no secret."""
_NOT_AUDITED = frozenset({Unauthenticated.reason, InvalidInput.reason, "EXHAUSTED"})
"""A stranger's failures go to the process log only: they must not be able to fill the hub's disk."""


class HubGate:
    """The guard's view of this hub."""

    def __init__(self, accesses: AccessList, journal: Journal) -> None:
        self._accesses = accesses
        self._journal = journal

    def client(self, bearer: str) -> tuple[str, Role]:
        """See rpc.guard.Gate."""
        row = self._accesses.check(bearer)
        return row.name, Role(row.role)

    async def node(self, bearer: str) -> tuple[str, float | None]:
        """See rpc.guard.Gate: nodes speak with the agent of their cluster."""
        raise Unauthenticated("the agent of a node has no business at a hub")

    async def audited(
        self, caller: Caller, method: str, request: object, answer: object | None, outcome: str
    ) -> None:
        """See rpc.guard.Gate."""
        action = method.rpartition("/")[2]
        subject = (_first(request, _SUBJECT_FIELDS) or _chosen(answer))[:200]
        if caller.name == "anyone" and outcome in _NOT_AUDITED:
            log.info("call refused", action=action, outcome=outcome, peer=caller.address)
            return
        try:
            await self._journal.audit(caller.name, action, subject, outcome, caller.address, _detail(request))
        except StorageFailed as error:
            log.error("audit entry lost", action=action, subject=subject, outcome=outcome, error=str(error))


def _first(message: object, fields: tuple[str, ...]) -> str:
    return next((str(getattr(message, name)) for name in fields if getattr(message, name, "")), "")


def _chosen(answer: object | None) -> str:
    """What a call that names nothing was about: the name that a child got, the id of a new join token."""
    return _first(answer, ("name", "path")) or _first(getattr(answer, "join_token", None), ("id",))


def _detail(request: object) -> str:
    """Facts that are worth keeping and hold no secret."""
    facts = []
    for name in _FACTS:
        value = getattr(request, name, None)
        if value:
            facts.append(f"{name}={value}")
    return " ".join(facts)[:500]
