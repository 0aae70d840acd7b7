"""Tokens that `arbora credential-plugin` has got, each in a file of its own that only its owner can read.

Imports nothing but the standard library, and of that little: a command that waits for kubectl reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LEFT = 0.2
"""Of a token's life; with less than this left it is not given out again."""
LEAST_SECONDS = 60.0
LAST = 1e11
"""No token lives until then, and no calendar reaches much further."""


def folder(environ: Mapping[str, str]) -> Path:
    """Where they lie."""
    cache = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache")
    return cache / "arbora" / "credentials"


def place(directory: Path, asked: Sequence[str]) -> Path:
    """The file for what was asked."""
    return directory / hashlib.sha256(json.dumps(list(asked)).encode()).hexdigest()[:40]


def read(file: Path, now: float | None = None) -> dict[str, Any] | None:
    """`token`, `expires` and `made` (Unix time), or None if there is none that is still good. Raises nothing."""
    now = time.time() if now is None else now
    try:
        if file.stat().st_mode & 0o077:
            return None
        kept = json.loads(file.read_bytes())
        left = kept["expires"] - now
        fresh = left > max(LEAST_SECONDS, LEFT * (kept["expires"] - kept["made"])) and kept["made"] <= now
        return kept if fresh and kept["expires"] < LAST and isinstance(kept["token"], str) else None
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        return None


def write(file: Path, token: str, made: float, expires: float) -> None:
    """Keep one, and forget those that have ended. A disk that is full is no reason to fail."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = file.with_name(f"{file.name}.{os.getpid()}")
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as written:
            json.dump({"token": token, "made": made, "expires": expires}, written)
        scratch.replace(file)
        for other in file.parent.iterdir():
            if other.stat().st_mtime < made - 86_400:
                other.unlink()
