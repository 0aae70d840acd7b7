"""What installs the agent in a cluster, as objects: `arbora agent manifest ... | kubectl apply -f -`. No I/O.

settings (checked) -> agent: namespace, account, rights, Deployment + node_agents: the same for one per node

Values only ever become strings inside objects, never text that is parsed again.
"""
