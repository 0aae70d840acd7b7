"""Fleets: sets of members that are published into namespaces.

patterns.py     which paths `/eu/*` and `/eu/**` mean
spec.py         a Fleet object as plain data, and each thing that is wrong with it
selection.py    which member belongs into which namespace
status.py       what a Fleet says of itself
controller.py   the rim: reads Fleets, writes their status
"""
