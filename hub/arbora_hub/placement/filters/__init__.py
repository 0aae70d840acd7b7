"""What keeps a workload away from a child, one filter per question. Registered in `registry.py`."""
