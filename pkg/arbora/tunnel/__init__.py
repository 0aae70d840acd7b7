"""Bytes through hubs: what both ends of every hop of a tunnel share.

ends.py     one side of a hop: a socket, or a stream of gRPC
splice.py   two sides joined, with half-close and an end to idling

Nothing here parses what goes through: a client speaks TLS with the member's API server, end to end.
"""
