"""Compiles the played libnvidia-ml.so.1 and puts it where pynvml finds it. For: fixtures.

pynvml loads `libnvidia-ml.so.1` by that name and keeps it for the process. The dynamic linker gives a library
that is loaded already to whoever asks for its soname, so the played one is loaded first, by its path.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SONAME = "libnvidia-ml.so.1"
SOURCES = tuple(Path(__file__).parent / name for name in ("nvml.c", "played.c"))
COMPILERS = ("cc", "gcc", "clang")
OPTIONS = ("-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-Wl,-Bsymbolic")


def why_not() -> str:
    """One line; empty where it can be compiled."""
    return (
        "" if _compiler() else f"the played {SONAME} needs a C compiler: none of {', '.join(COMPILERS)} is here"
    )


def build(folder: Path) -> Path:
    """Compile it into this folder."""
    compiler = _compiler()
    assert compiler is not None, why_not()
    library = folder / SONAME
    command = [compiler, *OPTIONS, f"-Wl,-soname,{SONAME}", *map(str, SOURCES), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return library


@dataclass(frozen=True)
class Played:
    """The library as it is loaded in this process: what was asked of it."""

    library: ctypes.CDLL

    def calls(self, name: str) -> int:
        """How often a function, or a field value such as `field.82`, was asked since the node was made."""
        return int(self.library.fake_nvml_calls(name.encode()))

    @property
    def initialised(self) -> int:
        """Initialisations without their shutdown."""
        return int(self.library.fake_nvml_initialised())

    @property
    def misused(self) -> int:
        """Sets of events that were freed while somebody waited on them, and shutdowns during a wait."""
        return int(self.library.fake_nvml_misused())


def load(path: Path) -> Played:
    """For this process, until it ends."""
    library = ctypes.CDLL(str(path))
    by_name = ctypes.CDLL(SONAME)
    assert by_name._handle == library._handle, f"{SONAME} is another library than {path}"
    return Played(library)


def _compiler() -> str | None:
    return next((found for each in COMPILERS if (found := shutil.which(each))), None)
