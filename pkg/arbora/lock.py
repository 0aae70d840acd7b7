"""One daemon per data directory: two would write one store, or speak under one identity."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arbora.errors import Conflict, StorageFailed


@contextmanager
def lock_directory(directory: Path) -> Iterator[None]:
    """Hold `directory`, made if need be, for the length of the block; the kernel lets go when the process dies.

    Raises Conflict if another process holds it, StorageFailed if it can't be used.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageFailed(
            f"the data directory {directory} can't be used: {error.strerror}",
            hint="Check its owner and mode, or choose another with --data-dir.",
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(
                f"another process runs on the data directory {directory}",
                hint="Stop it first, or choose another with --data-dir.",
            ) from error
        yield
    finally:
        os.close(handle)
