"""A cluster in memory: GPU nodes from a spec, objects as an API server keeps them, pods on a simulated clock.

fleet.py        `4x8xH100` -> nodes                                  (pure)
kinds.py        which kinds there are, and where they live           (pure)
admission.py    what an API server would reject, and what it defaults (pure)
merging.py      server-side apply and merge patch of JSON-like data  (pure)
objects.py      the store: uids, resource versions, generations      (no I/O)
pods.py         GPU requests, pods, and the scheduler                (pure)
controllers.py  Jobs, Deployments ... -> pods and status             (pure)
simulation.py   all of them together, moment by moment, with the means to disturb it
tokens.py       service account tokens signed with a local key
cluster.py      the port `Cluster` on a simulation
"""

from arbora_agent.cluster.simulated.cluster import SimulatedCluster
from arbora_agent.cluster.simulated.fleet import SimulatedNode, parse_fleet
from arbora_agent.cluster.simulated.simulation import Simulation

__all__ = ["SimulatedCluster", "SimulatedNode", "Simulation", "parse_fleet"]
