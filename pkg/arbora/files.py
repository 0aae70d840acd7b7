"""Writing files so that a crash leaves either the old or the new content, never a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from arbora.errors import StorageFailed


def write_atomic(path: Path, data: bytes, mode: int) -> None:
    """Write beside `path`, fsync, rename, fsync the directory. Blocking. Raises StorageFailed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StorageFailed(
            f"{path} can't be written: {error.strerror}", hint="Check free space, owner and mode of its folder."
        ) from error
