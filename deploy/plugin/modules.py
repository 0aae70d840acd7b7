"""Puts Python's modules into the tree: the standard library without what no plugin needs, and whole packages.

Whole, because libraries import some of their parts late. Only compiled modules are put there: they start without
a look at a source, and hold no path of the machine that built them.
"""

from __future__ import annotations

import fnmatch
import os
import py_compile
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

NOT_NEEDED = (
    "site-packages",
    "dist-packages",
    "test",
    "config-*",
    "_sysconfigdata*",
    "__phello__*",
    "_pydecimal.py",
    "idlelib",
    "tkinter",
    "turtle.py",
    "turtledemo",
    "pydoc.py",
    "pydoc_data",
    "lib2to3",
    "distutils",
    "ensurepip",
    "venv",
    "unittest",
    "doctest.py",
    "sqlite3",
    "dbm",
    "curses",
    "xmlrpc",
    "wsgiref",
    "cgi.py",
    "cgitb.py",
    "imaplib.py",
    "nntplib.py",
    "poplib.py",
    "smtplib.py",
    "smtpd.py",
    "telnetlib.py",
    "ftplib.py",
    "mailbox.py",
    "msilib",
    "multiprocessing",
    "ctypes",
    "ssl.py",
    "zoneinfo",
)
"""Of the standard library, at its top."""
EXTENSIONS_NOT_NEEDED = (
    "_ssl.*",
    "_hashlib.*",
    "_ctypes*",
    "_sqlite3.*",
    "_dbm.*",
    "_gdbm.*",
    "_tkinter.*",
    "_curses*",
    "readline.*",
    "nis.*",
    "ossaudiodev.*",
    "audioop.*",
    "spwd.*",
    "_crypt.*",
    "_test*",
    "_xx*",
    "xx*",
    "_codecs_*",
    "_multibytecodec.*",
    "_multiprocessing.*",
    "_posixshmem.*",
    "_zoneinfo.*",
    "_elementtree.*",
    "pyexpat.*",
    "_uuid.*",
    "_lsprof.*",
    "_decimal.*",
    "termios.*",
    "syslog.*",
)
NEVER = ("__pycache__", "test", "tests", "testing", "idle_test")
"""Folders, wherever they are."""


def put_standard_library(source: Path, target: Path) -> None:
    """Compile it into `target`, and its extension modules into lib-dynload below that."""
    for entry in sorted(source.iterdir()):
        if entry.name == "lib-dynload":
            put(entry, target / entry.name, EXTENSIONS_NOT_NEEDED)
        elif not _matches(entry.name, (*NOT_NEEDED, *NEVER)):
            put(entry, target / entry.name)


def put(source: Path, target: Path, leave_out: tuple[str, ...] = ()) -> None:
    """A module, or a folder of them; what is neither Python nor an extension module stays away."""
    if not source.is_dir():
        _put_file(source, target)
        return
    for folder, folders, files in os.walk(source):
        folders[:] = sorted(set(folders) - set(NEVER))
        for name in sorted(files):
            if not _matches(name, leave_out):
                _put_file(Path(folder, name), target / Path(folder, name).relative_to(source))


def packages(modules: Mapping[str, str], standard: Path) -> dict[str, Path]:
    """What has to be put into site-packages, by its place there.

    modules: those that were loaded, with their files. What lies in the standard library (`standard`) is left out.
    A package comes whole; of a package without a file of its own (google), its parts that were loaded.
    """
    found: dict[str, Path] = {}
    for name, file in modules.items():
        path = Path(file)
        if "site-packages" not in path.parts and path.is_relative_to(standard):
            continue
        for place, root in _roots(name.split("."), path):
            found.setdefault(place, root)
            break
    return dict(sorted(found.items()))


def _roots(parts: list[str], file: Path) -> Iterator[tuple[str, Path]]:
    """The packages that hold the module, outermost first, and then itself."""
    depth = len(parts) if file.name == "__init__.py" else len(parts) - 1
    for level in range(1, depth + 1):
        folder = file.parents[depth - level]
        if (folder / "__init__.py").exists():
            yield "/".join(parts[:level]), folder
    yield "/".join([*parts[:-1], file.name]), file


def _put_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".py":
        py_compile.compile(
            str(source),
            str(target.with_suffix(".pyc")),
            dfile="/".join(target.parts[-3:]),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    elif source.suffix == ".so":
        shutil.copyfile(source, target)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
