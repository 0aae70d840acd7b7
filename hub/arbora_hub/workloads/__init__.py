"""Workloads: what was submitted (record.py), what follows for each child (bind.py), the controller around it."""
