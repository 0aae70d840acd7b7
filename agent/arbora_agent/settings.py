"""What can be set at an agent. One frozen dataclass, filled by the command line and the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from arbora.secret import Secret


@dataclass(frozen=True)
class AgentSettings:
    """Everything that a member's operator decides about the agent."""

    data_dir: Path
    """Identity and journal; 0700."""
    hub: str = ""
    """host:port of the hub's join port; needed until the agent has joined."""
    join_token: Secret = field(default_factory=lambda: Secret(""))
    """Needed until the agent has joined."""
    name: str = ""
    """The wanted name; empty: the one the join token is bound to."""
    simulate: str = ""
    """A fleet such as 4x8xH100 to run in memory instead of a cluster."""
    kubeconfig: str = ""
    """A kubeconfig file; empty: the service account of the pod, or else the default kubeconfig."""
    context: str = ""
    """The context of that file."""
    allow_tokens: tuple[str, ...] = ()
    """namespace/service-account, or namespace/*, for which this member lets tokens be minted; empty: for none."""
    allow_roles: tuple[str, ...] = ()
    """namespace/role: roles that exist and may be bound to such accounts."""
    allow_cluster_roles: tuple[str, ...] = ()
    """Cluster roles that exist and may be bound to such accounts for the whole cluster."""
    allow_rules_of: str = ""
    """The cluster role beyond whose rules no role may go that is asked for by its rules; empty: none may be."""
    max_token_seconds: int = 3600
    """Longest life of such a token."""
    identity_secret: bool = False
    """Keep the identity in a Secret of the agent's namespace instead of the data directory."""
    node_address: str = ""
    """host:port at which the agents of this cluster's nodes dial; empty: there are none."""
    mark_nodes: tuple[str, ...] = ()
    """What may be shown on nodes whose GPUs are not well: taint, condition. Empty: nothing."""
    metrics_address: str = ""
    """host:port at which Prometheus reads metrics; empty: nowhere."""
    tunnels: bool = True
    """Let the hub open ways to this cluster's API server, for whoever may."""
    coalesce_seconds: float = 0.05
    """How long changes of free GPUs are gathered before they go up."""
