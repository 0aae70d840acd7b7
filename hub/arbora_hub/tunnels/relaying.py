"""Tunnels that the hub above asks for: opened to a child of this hub, and joined to a stream up."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from arbora.tunnel.dialing import TunnelDialer
from arbora.tunnel.ends import TunnelEnd
from arbora.v1 import tunnel_pb2 as pb
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.tree.calls import FROM_ABOVE
from arbora_hub.tree.uplink import Uplink
from arbora_hub.tunnels.opening import OPEN_SECONDS, Tunnels


def relay(uplink: Uplink, tunnels: Tunnels, inventory: Inventory) -> TunnelDialer:
    """What opens them; run it."""

    def way(request: pb.TunnelRequest) -> AbstractAsyncContextManager[TunnelEnd]:
        # By its fields, as not every number of seconds that travels is a timedelta.
        patience = request.patience.seconds + request.patience.nanos / 1e9 or OPEN_SECONDS
        return tunnels.open(request.path, FROM_ABOVE + request.requester, min(patience, OPEN_SECONDS))

    dialer = TunnelDialer(uplink.tunnel, way, lambda: str(inventory.own_path))

    def asked(key: str, value: bytes | None) -> None:
        uplink.discard(key)
        if value:
            dialer.request(value)
        else:
            dialer.cut(key.partition("/")[2])

    uplink.observe("tunnel", asked)
    return dialer
