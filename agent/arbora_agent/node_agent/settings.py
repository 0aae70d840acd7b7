"""What can be set at a node agent. One frozen dataclass, filled by the command line and the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NODE_PORT = 7446
"""Where a cluster's agent listens for the agents of its nodes."""
MOUNTED = Path("/var/run/secrets/arbora")
"""Where the manifest mounts the token and the certificate."""


@dataclass(frozen=True)
class NodeSettings:
    """Everything that decides what a node agent reads and whom it tells. Durations are seconds."""

    cluster_agent: str
    """host:port of the cluster's agent."""
    token_file: Path = MOUNTED / "token"
    """A service account token for the audience NODE_AUDIENCE, renewed by the kubelet."""
    ca_file: Path = MOUNTED / "ca.crt"
    """What verifies the cluster's agent, in PEM."""
    interval: float = 10.0
    """Between two readings of a device."""
    kernel_log: bool = True
    """Look for error codes in the kernel log at the start. Where that is not allowed it is said once."""
    pod_resources: Path | None = None
    """The kubelet's socket that tells which pods hold which devices; None: it is not asked."""
    replay: str = ""
    """A recording to play instead of reading devices: its name or its file."""
    replay_again: bool = False
    """Begin the recording anew when it has ended."""
    metrics_address: str = ""
    """host:port at which Prometheus reads metrics; empty: nowhere."""
    node_name: str = ""
    """What metrics call this node; empty: the name of this machine."""
