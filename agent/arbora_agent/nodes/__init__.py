"""The agents of a cluster's nodes, as the cluster's agent sees them.

authority.py  the CA that node agents know this agent by, and where it is kept
gate.py       who may dial: the API server vouches for the token, and the token names the node
sessions.py   one session for each node, the newest wins
server.py     the port
devices.py    what all nodes' devices are, kept current, and what follows from each change
usage.py      which pods hold which devices, and which are idle or leaked    (pure)
told.py       what is told of a change, to whom                              (pure)
marks.py      taints and conditions on nodes, where the member allows it
"""
