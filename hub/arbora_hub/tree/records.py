"""The two maps between this hub and its parent: what goes up, and who hears of what comes down.

An exchange begins with a parent and ends with it; while there is none, putting is a no-op, and whoever exports
puts everything anew when `on_parent` says so.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import structlog

from arbora.mirror.exchange import Exchange
from arbora.mirror.inbox import Applied

log = structlog.get_logger(__name__)

Observer = Callable[[str, bytes | None], None]
"""Called with a record's key and its value, None if it was deleted. Must not block."""
HANDLED_ELSEWHERE = frozenset({"settings"})


class Records:
    """This hub's end of the mirror to its parent."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """wake: the exchange may have something to say."""
        self._wake = wake
        self.exchange: Exchange | None = None
        self._told = False
        self._observers: dict[str, Observer] = {}
        self._unknown: set[str] = set()
        self._on_parent: list[Callable[[], None]] = []

    def put(self, key: str, value: bytes, *, volatile: bool = False) -> None:
        """Set a record of the observed map; it goes up as soon as there is a session."""
        if self.exchange is not None and self.exchange.put(key, value, volatile=volatile):
            self._wake()

    def delete(self, key: str) -> None:
        """Delete a record of the observed map."""
        if self.exchange is not None and self.exchange.delete(key):
            self._wake()

    def discard(self, key: str) -> None:
        """Forget a record of the parent that was consumed; the parent does not hear of it."""
        if self.exchange is not None:
            self.exchange.discard(key)

    def received(self, kind: str) -> dict[str, bytes]:
        """The parent's records `kind` and `kind/...`, as far as they have arrived."""
        items = self.exchange.received_items() if self.exchange is not None else ()
        return {key: value for key, value in items if key.partition("/")[0] == kind}

    def observe(self, kind: str, observer: Observer) -> None:
        """Route records `kind` and `kind/...` that the parent sends to `observer`."""
        self._observers[kind] = observer

    def on_parent(self, callback: Callable[[], None]) -> None:
        """See Uplink."""
        self._on_parent.append(callback)

    def open(self) -> Exchange:
        """The exchange with the present parent, a new one if there is none."""
        if self.exchange is None:
            self.exchange = Exchange(secrets.randbits(62) + 1)
        return self.exchange

    # for whoever holds on to the parent

    def begin(self) -> Exchange:
        """A parent is held on to: tell whoever exports, once for each parent."""
        exchange = self.open()
        if not self._told:
            self._told = True
            for callback in self._on_parent:
                callback()
        return exchange

    def end(self) -> None:
        """The parent was left."""
        self.exchange, self._told = None, False

    def applied(self, applied: Applied) -> None:
        """A batch of the parent came in."""
        exchange = self.exchange
        assert exchange is not None
        for key in (*applied.changed, *applied.removed):
            kind = key.partition("/")[0]
            observer = self._observers.get(kind)
            if observer is not None:
                observer(key, exchange.received_value(key))
            elif kind not in HANDLED_ELSEWHERE and kind not in self._unknown and len(self._unknown) < 100:
                self._unknown.add(kind)
                log.warning("the parent sends records of an unknown kind; they are left out", kind=kind[:64])
