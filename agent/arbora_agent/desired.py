"""What comes down the link, sent to whoever does it: assignments, requests for tokens, settings.

assignment/<uid>      -> the reconciler        (gone without being withdrawn: left alone)
token-request/<id>    -> tokens and grants     (consumed)
grant-request/<id>    -> tokens and grants     (consumed)
tunnel/<id>           -> a way to the API server, or its cut  (consumed)
settings              -> the link's trust bundle, and this member's path
"""

from __future__ import annotations

import asyncio

import structlog
from google.protobuf.message import DecodeError

from arbora.errors import InvalidInput
from arbora.mirror.exchange import Exchange
from arbora.mirror.inbox import Applied
from arbora.mirror.records import Lane
from arbora.session.link import Link
from arbora.tunnel.dialing import TunnelDialer
from arbora.v1 import session_pb2, workload_pb2
from arbora.workloads.wire import assignment_from_wire
from arbora_agent.credentials import Credentials
from arbora_agent.journal import KEPT_KINDS, Journal
from arbora_agent.workloads.reconciler import Reconciler

log = structlog.get_logger(__name__)


class Desired:
    """Routes the desired map."""

    def __init__(
        self,
        exchange: Exchange,
        journal: Journal,
        reconciler: Reconciler,
        credentials: Credentials,
        tunnels: TunnelDialer,
    ) -> None:
        self._exchange = exchange
        self._journal = journal
        self._reconciler = reconciler
        self._credentials = credentials
        self._tunnels = tunnels
        self._settings_changed = asyncio.Event()
        self._unknown: set[str] = set()
        self._epoch = 0

    def restored(self) -> None:
        """Hand over what the journal kept."""
        self._epoch = self._exchange.inbox(Lane.BULK).cursor.epoch
        for key, value in self._exchange.received_items():
            self._changed(key, value)

    def applied(self, applied: Applied) -> None:
        """A batch came in."""
        for key in applied.changed:
            value = self._exchange.received_value(key)
            if value is not None:
                self._changed(key, value)
        epoch = self._exchange.inbox(Lane.BULK).cursor.epoch
        if epoch != self._epoch or any(key.startswith("assignment/") for key in applied.removed):
            # Before the first snapshot is complete, nothing may be concluded from what is not there.
            if epoch:
                self._reconciler.absent(self._assigned())
            self._epoch = epoch
        if any(key.partition("/")[0] in KEPT_KINDS for key in (*applied.changed, *applied.removed)):
            self._journal.touch()

    async def follow_settings(self, link: Link) -> None:
        """Take over the trust bundle and the path whenever the hub tells new ones, until cancelled."""
        while True:
            await self._settings_changed.wait()
            self._settings_changed.clear()
            value = self._exchange.received_value("settings")
            if value is not None:
                try:
                    settings = session_pb2.Settings.FromString(value)
                    await link.trust(tuple(settings.trust_bundle))
                    if settings.path:
                        await link.settle(settings.path)
                except (DecodeError, InvalidInput) as error:
                    log.warning("unreadable settings", error=str(error))

    def _assigned(self) -> frozenset[str]:
        """Uids of every workload that is assigned to this member."""
        return frozenset(
            key.removeprefix("assignment/")
            for key, _ in self._exchange.received_items()
            if key.startswith("assignment/")
        )

    def _changed(self, key: str, value: bytes) -> None:
        kind = key.partition("/")[0]
        if kind == "assignment":
            try:
                assignment = assignment_from_wire(workload_pb2.Assignment.FromString(value))
                self._reconciler.desired(assignment, self._journal.last_status(assignment.uid))
            except (DecodeError, InvalidInput) as error:
                log.warning("unreadable assignment", key=key, error=str(error))
        elif kind == "token-request":
            self._exchange.discard(key)
            self._credentials.token_request(value)
        elif kind == "grant-request":
            self._exchange.discard(key)
            self._credentials.grant_request(value)
        elif kind == "tunnel":
            self._exchange.discard(key)
            if value:
                self._tunnels.request(value)
            else:
                self._tunnels.cut(key.partition("/")[2])
        elif key == "settings":
            self._settings_changed.set()
        elif kind not in self._unknown and len(self._unknown) < 100:
            self._unknown.add(kind)
            log.warning("the hub sends records of an unknown kind; they are left out", kind=kind[:64])
