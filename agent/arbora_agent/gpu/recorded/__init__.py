"""Recordings of what a driver said, and a `GpuReader` that plays them again.

form.py      the file: JSON lines, read strictly
reader.py    `RecordedReader`
recorder.py  makes a recording of any reader
made/        recordings made by hand, for faults that nobody has at hand
"""

from arbora_agent.gpu.recorded.form import Recording, load, named
from arbora_agent.gpu.recorded.reader import RecordedReader

__all__ = ["RecordedReader", "Recording", "load", "named"]
