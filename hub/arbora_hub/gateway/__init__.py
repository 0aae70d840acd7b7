"""The HTTP side of a hub: so far what Prometheus reads.

gateway.py   opens what the settings ask for
metrics.py   what the hub shows of itself and its members
proxy.py     CONNECT: the way to a member's API server; head.py, naming.py, tls.py are parts of it
"""
