"""A session of a child of this hub: the accepting end, and the certificate that the child proved itself with."""

from __future__ import annotations

from collections.abc import Callable

from arbora.mirror.inbox import Applied
from arbora.rpc.guard import Context
from arbora.rpc.peer import Peer
from arbora.session.accepted import Accepted
from arbora_hub.inventory.child import Child


class Session(Accepted[Child]):
    """Carries both maps for one child until it ends."""

    __slots__ = ("peer",)

    def __init__(
        self,
        child: Child,
        peer: Peer,
        epoch: int,
        instance_id: str,
        context: Context,
        heartbeat_interval: float,
        applied: Callable[[Child, Applied], None],
    ) -> None:
        """applied: called for each batch of the observed map, on the loop; must not block."""
        super().__init__(child, epoch, instance_id, context, heartbeat_interval, applied)
        self.peer = peer
