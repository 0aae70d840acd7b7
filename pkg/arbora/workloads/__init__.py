"""What hub and agent both say about workloads: assignments and their status, as data and on the wire."""
