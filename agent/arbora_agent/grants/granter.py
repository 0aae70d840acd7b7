"""Grants carried out: read, decide, write down, make, take back.

One call at a time; whoever calls sees to it (`arbora_agent.credentials`). It may end anywhere, by a crash or a
deadline: everything that it made was on the ledger before, so the same request again, or a revocation, goes on
from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import structlog

from arbora.errors import ArboraError
from arbora.manifests.objects import ObjectRef
from arbora_agent.allow_grants import GrantPolicy
from arbora_agent.cluster.rights import CLUSTER_ROLE, Page, Rights
from arbora_agent.grants import ledger as ledgers
from arbora_agent.grants.ledger import Ledger
from arbora_agent.grants.model import Grant, Rule, Step
from arbora_agent.grants.objects import STEP_OF, is_binding_of, parts_of, rules_of
from arbora_agent.grants.plan import decide, steps

log = structlog.get_logger(__name__)


class Granter:
    """Makes, lists and revokes grants in one cluster."""

    def __init__(self, rights: Callable[[], Rights], policy: GrantPolicy) -> None:
        """rights: there once the cluster is connected."""
        self._rights = rights
        self._policy = policy

    async def grant(self, grant: Grant) -> tuple[Step, ...]:
        """See to it that everything the grant asks for is there, and nothing that it asked for before.

        Raises ArboraError, whose `field` is the step that failed, if one did.
        """
        rights = self._rights()
        self._policy.check(grant, await self._ceiling(rights, grant))
        page = await rights.ledger()
        ledger = ledgers.read(page.data)
        found = {}
        for part in parts_of(grant):
            with _during(part.ref):
                found[part.ref] = await rights.look(part.ref)
        plan = decide(grant, found, ledger, self._policy.names)
        page = await self._write(rights, page, ledger, plan.before)
        now = plan.before
        for part in plan.make:
            assert part.manifest is not None
            with _during(part.ref):
                made = await rights.make(part.manifest)
            now = now.marked(part.ref, made.uid)
            log.info("made for a grant", grant=grant.id, object=str(part.ref), requester=grant.requester)
        kept = [part.ref for part in plan.parts]
        await self._remove(rights, now, grant.id, set(now.entries[grant.id].objects) - set(kept))
        await self._write(rights, page, plan.before, now.using_only(grant.id, kept))
        return steps(plan)

    async def revoke(self, id: str, requester: str) -> Ledger:
        """Delete what was made for this grant alone; the grants that are left. Raises ArboraError.

        Of a grant that is not on the ledger (any more) that is known of its bindings only.
        """
        rights = self._rights()
        page = await rights.ledger()
        ledger = ledgers.read(page.data)
        if id not in ledger.entries:
            await self._remove_lost(rights, id, requester)
            return ledger
        await self._remove(rights, ledger, id, ledger.entries[id].objects)
        left = ledger.without(id)
        await self._write(rights, page, ledger, left)
        log.info("grant revoked", grant=id, requester=requester)
        return left

    async def grants(self) -> Ledger:
        """All grants that this member keeps. Raises ArboraError."""
        return ledgers.read((await self._rights().ledger()).data)

    async def _ceiling(self, rights: Rights, grant: Grant) -> tuple[Rule, ...] | None:
        if not self._policy.wants_ceiling(grant):
            return None
        role = await rights.look(ObjectRef(CLUSTER_ROLE, "", self._policy.rules_of))
        return None if role is None else rules_of(role)

    @staticmethod
    async def _remove(rights: Rights, ledger: Ledger, id: str, refs: Iterable[ObjectRef]) -> None:
        for ref, uid in ledger.released(id, refs):
            with _during(ref):
                if not uid:
                    # It was about to be made when something ended it; ours if it is there with our label.
                    standing = await rights.look(ref)
                    uid = standing.uid if standing is not None and standing.grant else ""
                if uid:
                    await rights.remove(ref, uid)
                    log.info("deleted with a grant", grant=id, object=str(ref))

    @staticmethod
    async def _remove_lost(rights: Rights, id: str, requester: str) -> None:
        """The bindings of a grant that the ledger does not know: nobody else uses those."""
        found = await rights.bindings(id)
        lost = {ref: each.uid for ref, each in found.items() if is_binding_of(id, ref)}
        for ref, uid in lost.items():
            with _during(ref):
                await rights.remove(ref, uid)
            log.info("deleted with a grant", grant=id, object=str(ref))
        if lost:
            log.warning(
                "revoked a grant that is not on the ledger: its bindings went",
                why="accounts and roles stay, as nobody knows who uses them",
                grant=id,
                requester=requester,
            )

    @staticmethod
    async def _write(rights: Rights, page: Page, before: Ledger, after: Ledger) -> Page:
        changes = before.changes_to(after)
        return await rights.write(page, changes) if changes else page


@contextmanager
def _during(ref: ObjectRef) -> Iterator[None]:
    """What fails here belongs to the step of this object."""
    try:
        yield
    except ArboraError as error:
        error.field = STEP_OF[ref.gvk]
        raise
