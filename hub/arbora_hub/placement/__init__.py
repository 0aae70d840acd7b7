"""Where a workload goes. No I/O: plain data in, plain data out, with a reason for everything left out."""
