"""What can be set at a hub. One frozen dataclass, filled by the command line and the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from arbora.secret import Secret

CLIENT_PORT = 7443
JOIN_PORT = 7444
SESSION_PORT = 7445


@dataclass(frozen=True)
class HubSettings:
    """Everything has a safe default; durations are seconds."""

    data_dir: Path
    """Database, CA keys and the first admin's context; 0700."""
    client_address: str = f"127.0.0.1:{CLIENT_PORT}"
    """Where clients (the command line, the SDK) connect: TLS and bearer tokens."""
    join_address: str = ""
    """Where children enroll: server TLS and join tokens. Empty: port 7444, on every interface if the hub has a
    name to advertise, else on loopback only."""
    session_address: str = ""
    """Where children hold their sessions: mutual TLS. Empty: port 7445, likewise."""
    advertise: str = ""
    """Host name or IP under which children reach this hub; empty: only this machine is meant to."""
    trust_domain: str = ""
    """SPIFFE trust domain, fixed at first start; empty: a random one."""
    heartbeat_interval: float = 10.0
    """A child says something at least this often."""
    lease_duration: float = 40.0
    """How long a child counts as present without a word."""
    certificate_lifetime: float = 24 * 3600.0
    """Of the children's certificates."""
    admission_rate: float = 200.0
    """Sessions that the hub accepts per second; above it children are told when to come back."""
    startup_grace: float = 60.0
    """No child is called lost for so long after the hub's own start."""
    drain_seconds: float = 5.0
    """How long a stopping hub waits for its children to leave."""
    max_children: int = 6000
    """Sessions held at once."""
    event_limit: int = 10_000
    """Events kept."""
    prices: str = ""
    """A JSON file or http(s) URL with prices of GPUs, for the cost score; empty: cost is not known."""
    parent: str = ""
    """host:port of the join port of the hub above, for the first start; empty: the one joined before, if any."""
    join_token: Secret = field(default_factory=lambda: Secret(""))
    """Of kind hub, made at the parent. One that was used already changes nothing."""
    name: str = ""
    """What this hub is called at its parent; empty: as the join token says."""
    standby: tuple[tuple[str, Secret], ...] = ()
    """Further parents, join address and join token, in the order in which they are tried."""
    standby_after: float = 60.0
    """How long the parent is not reached before a standby is asked."""
    export: Literal["lines", "summary"] = "lines"
    """What the parent hears: a line for each member below, or only sums."""
    coalesce_seconds: float = 0.25
    """Changes of GPUs go up at most this often; 0: each at once."""
    metrics_address: str = ""
    """host:port at which Prometheus reads metrics, over plain HTTP; empty: nowhere."""
    gateway_address: str = ""
    """host:port of the HTTPS proxy into members; empty: there is none."""
    kubernetes: bool = True
    """Have a face in Kubernetes, where there is an API server: the pod's own cluster's, or `kubeconfig`'s."""
    kubeconfig: str = ""
    """A kubeconfig file of that API server; empty: the pod's service account, if there is one."""
    context: str = ""
    """The context of that file."""
    manager_name: str = "arbora"
    """Who manages the ClusterProfiles, as they say; one name per hub that publishes into an API server."""
    profile_seconds: float = 30.0
    """A ClusterProfile is written at most this often, but for a change of its health; consumers build their
    connections anew each time."""
    extra_names: tuple[str, ...] = field(default=())
    """Further DNS names and IPs for the server certificate; only clients that check names need them."""

    def bind(self, address: str, port: int) -> str:
        """Where to listen: `address`, or the default for `port`."""
        return address or f"{'0.0.0.0' if self.advertise else '127.0.0.1'}:{port}"
