"""Speaking to a Kubernetes API server: the agent to its cluster's, a hub to the one that it has a face in.

    access.py      where the API server is and who we are (in a cluster, or from a kubeconfig)
    api.py         requests and watches, as plain JSON, each with a deadline; who is healthy
    sockets.py     the connections, so that none outlives us
    failures.py    what an answer of the API server means for us
    discovery.py   kind -> path
    reflector.py   list + watch of one collection, for ever

Objects stay dicts: the client library's models would cost more memory than the rest of the agent.
"""
