"""NVIDIA's library: imported, loaded and initialised when it is opened, shut down when it is closed.

The only place that imports pynvml. The library stays loaded for as long as the process lives, since pynvml keeps
it; a driver that was loaded again is found by shutting it down and initialising it anew.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from arbora_agent.gpu.nvml.calls import unavailable
from arbora_agent.gpu.port import GpusUnavailable


class Library:
    """At most once initialised at a time. Not for several threads."""

    def __init__(self) -> None:
        self._nvml: Any = None

    def open(self) -> Any:
        """The module pynvml, with the library initialised. Raises GpusUnavailable."""
        self.close()
        try:
            import pynvml  # here, because it costs memory where there are no GPUs
        except ImportError as error:
            raise GpusUnavailable(
                "the Python package nvidia-ml-py is not installed", hint="pip install 'arbora[agent]'"
            ) from error
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise unavailable(error, "NVIDIA's driver can't be reached") from error
        self._nvml = pynvml
        return pynvml

    def close(self) -> None:
        """Shut the library down, if it is initialised. Nobody may be in a call of it."""
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            with suppress(nvml.NVMLError):  # a driver that is gone needs no goodbye
                nvml.nvmlShutdown()

    def leave(self) -> None:
        """Forget that it is initialised, because a call of it hangs: shutting it down would crash that call."""
        self._nvml = None
