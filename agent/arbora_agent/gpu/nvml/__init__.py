"""The port `GpuReader` over NVIDIA's library, through the package nvidia-ml-py.

reader.py    `NvmlReader`: which devices there are, and the port itself
library.py   the library: loaded, initialised, shut down
calls.py     one call: what its failure means, and what a device does not support
device.py    one device: its facts, its reading
mig.py       the instances of a divided device
events.py    waiting for events, on a thread of its own

Nothing outside this folder knows the package, and it is imported only when a reader is opened: it costs memory.
"""

from arbora_agent.gpu.nvml.reader import NvmlReader

__all__ = ["NvmlReader"]
