"""The real adapter of the port `Cluster`, over the Kubernetes API.

    access.py      where the API server is and who we are (in a cluster, or from a kubeconfig)
    api.py         requests and watches, as plain JSON, each with a deadline; who is healthy
    sockets.py     the connections, so that none outlives us
    failures.py    what an answer of the API server means for us
    discovery.py   kind -> path
    reflector.py   list + watch of one collection, for ever
    ledger.py      nodes and pods -> free GPUs            (no I/O)
    owned.py       the objects we applied                  (no I/O)
    kinds.py       which kinds we ever applied, kept in the cluster
    sinks.py       what the watches feed                   (no I/O)
    cluster.py     KubernetesCluster: all of it together

Objects stay dicts: the client library's models would cost more memory than the rest of the agent.
"""

from arbora_agent.cluster.kubernetes.access import from_kubeconfig, in_cluster
from arbora_agent.cluster.kubernetes.cluster import KubernetesCluster

__all__ = ["KubernetesCluster", "from_kubeconfig", "in_cluster"]
