"""The real adapter of the port `Cluster`, over the Kubernetes API (`arbora.kubernetes`).

    ledger.py      nodes and pods -> free GPUs            (no I/O)
    owned.py       the objects we applied                  (no I/O)
    kinds.py       which kinds we ever applied, kept in the cluster
    config_map.py  what is kept there, key by key
    rights.py      accounts, roles, bindings and the ledger of grants
    sinks.py       what the watches feed                   (no I/O)
    cluster.py     KubernetesCluster: all of it together

Objects stay dicts: the client library's models would cost more memory than the rest of the agent.
"""

from arbora.kubernetes.access import from_kubeconfig, in_cluster
from arbora_agent.cluster.kubernetes.cluster import KubernetesCluster

__all__ = ["KubernetesCluster", "from_kubeconfig", "in_cluster"]
