"""What the devices of a node say, and what follows for their health.

reading.py     the plain data: facts, readings, events
port.py        `GpuReader`, what the node agent needs of a driver
nvml/          the reader over NVIDIA's library
recorded/      a reader that replays a recording, and what makes recordings
kernel_log.py  XIDs from before the node agent was there
health/        evidence in, state and reason out                 (pure)
deadband.py    which changes of values are worth a message       (pure)
"""
