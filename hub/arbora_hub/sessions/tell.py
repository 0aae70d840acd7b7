"""What a hub keeps telling every child: the record `settings`. And what children tell for people: `event/...`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.message import DecodeError

from arbora.v1 import event_pb2, session_pb2
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.journal import NORMAL, WARNING, Journal
from arbora_hub.sessions.registry import Sessions


class SettingsTeller:
    """Keeps `settings` current in every child's desired map."""

    def __init__(
        self,
        inventory: Inventory,
        sessions: Sessions,
        authority: HubAuthority,
        ancestors: Callable[[], tuple[str, ...]] = tuple,
        inherited: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """ancestors: ids of the hubs above this one. inherited: the labels that this hub has from them."""
        self._inventory = inventory
        self._sessions = sessions
        self._authority = authority
        self._ancestors = ancestors
        self._inherited = inherited

    def tell(self, child: Child) -> None:
        """A child joined, or its labels changed."""
        message = session_pb2.Settings(
            trust_bundle=self._authority.bundle_der(),
            labels={**self._inherited(), **child.row.labels},
            path=str(self._inventory.path_of(child)),
            ancestors=(self._authority.hub_id, *self._ancestors()),
        )
        self._sessions.put(child, "settings", message.SerializeToString(deterministic=True))

    def tell_all(self) -> None:
        """The trust bundle changed, or this hub's own place in the tree."""
        for child in self._inventory:
            self.tell(child)


class EventListener:
    """Takes children's events into the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def observed(self, child: Child, key: str, value: bytes | None) -> None:
        """A record `event/<id>` came in; it is consumed here."""
        child.exchange.discard(key)
        if value is None:
            return
        try:
            event = event_pb2.Event.FromString(value)
        except DecodeError:
            self._journal.event(WARNING, "InvalidRecord", f"member/{child.name}", f"{key[:80]!r} can't be read.")
            return
        severity = WARNING if event.severity == WARNING else NORMAL
        subject = f"member/{child.name}" + (f"/{event.subject[:200]}" if event.subject else "")
        self._journal.event(severity, event.reason[:64], subject, event.message)
