"""One child as this process knows it: durable facts, the exchange with it, what it last reported."""

from __future__ import annotations

from dataclasses import dataclass, field

from arbora.mirror.exchange import Exchange
from arbora.v1 import member_pb2
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.store.rows import ChildRow


@dataclass(slots=True, eq=False)
class Child:
    """Mutable on purpose, and changed only by Inventory and Sessions, on the loop."""

    row: ChildRow
    exchange: Exchange
    """Outlives sessions, so that a cut costs only what changed."""
    liveness: Liveness = Liveness.JOINING
    heard: float | None = None
    """Loop time of the last frame; None: not since this process started."""
    connected_at: float | None = None
    """Loop time at which the present session began; None: there is none."""
    status: member_pb2.ClusterStatus | None = None
    sketches: dict[str, member_pb2.Sketch] = field(default_factory=dict)
    """By record key."""
    lines: dict[str, member_pb2.MemberLine] = field(default_factory=dict)
    """Of a hub: one for each member below it, by path relative to it. Only in memory."""
    restored: bool = False
    """The sketches were loaded from the store; the first one that comes in takes the place of all of them."""
    fresh: bool = False
    """What it reported is from a session of this process; else it was loaded from the store."""
    moved: bool = False
    """A hub that said that it went to another parent: lost at once, without waiting for its lease."""
    unsaved: bool = False
    """What it reported has changed since it was last saved."""

    @property
    def name(self) -> str:
        """Its name at this hub."""
        return self.row.name

    @property
    def subtree(self) -> member_pb2.SubtreeStatus | None:
        """What a hub last said of everything below it; None: nothing, or it is an agent."""
        if self.row.kind != "hub" or self.status is None or not self.status.HasField("subtree"):
            return None
        return self.status.subtree
