"""What an agent needs of a cluster (port.py) and the clusters that offer it."""
