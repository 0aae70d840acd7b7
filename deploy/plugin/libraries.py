"""Finds the shared libraries that programs and extension modules need, as the system's own loader does.

The loader is asked itself, so run paths, the cache and everything else count as they do for this Python. Only
glibc: another C library says it in other words, and that is an error.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

LINE = re.compile(r"^\s*(?:(?P<name>\S+) => )?(?P<path>/\S+) \(0x[0-9a-f]+\)$")
MISSING = re.compile(r"^\s*(\S+) => not found$", re.MULTILINE)
RESOLVERS = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")
"""glibc before 2.34 loads them by name when a host name is looked up; nothing else names them."""


class Unusable(Exception):
    """This Python can't be made into a tree; says why."""


def loader_of(program: Path) -> Path:
    """The dynamic loader that the program is started by. Raises Unusable."""
    listed = _listed([str(program)], {"LD_TRACE_LOADED_OBJECTS": "1"})
    found = [path for name, path in listed.items() if name.startswith("ld-") or name.startswith("ld64.")]
    if len(found) != 1:
        raise Unusable(f"{program} names no loader of glibc: build on a system with glibc, such as Debian")
    return found[0]


def needed(loader: Path, files: Iterable[Path]) -> dict[str, Path]:
    """Every library that the files need, directly or not: the name that it is asked for -> its file.

    Raises Unusable if one of them is missing here.
    """
    found = {loader.name: loader}
    for file in files:
        found.update(_listed([str(loader), "--list", str(file)], {}))
    beside = found["libc.so.6"].resolve().parent
    found.update({name: beside / name for name in RESOLVERS if (beside / name).exists()})
    return found


def _listed(command: list[str], environment: dict[str, str]) -> dict[str, Path]:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    if missing := MISSING.findall(done.stdout):
        raise Unusable(f"{command[-1]} needs what is not here: {', '.join(missing)}")
    if done.returncode:
        raise Unusable(f"{' '.join(command)}: {done.stderr.strip()}")
    found = {}
    for line in done.stdout.splitlines():
        if parts := LINE.match(line):
            path = Path(parts["path"])
            found[Path(parts["name"] or path).name] = path
    return found
