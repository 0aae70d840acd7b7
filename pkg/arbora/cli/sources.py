"""The files of `apply -f`: a file, a directory, or `-` for stdin. Reads text; what it says is read elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from arbora.errors import InvalidInput, NotFound
from arbora.manifests.strict_yaml import MAX_BYTES

_SUFFIXES = (".yaml", ".yml", ".json")


def read_sources(names: Iterable[str], recursive: bool = False) -> Iterator[tuple[str, str]]:
    """Name and text of each file. Of a directory: its .yaml, .yml and .json files, in the order of their names.

    Raises NotFound, InvalidInput.
    """
    for name in names:
        if name == "-":
            yield "stdin", _decoded(sys.stdin.buffer.read(MAX_BYTES + 1), "stdin")
            continue
        path = Path(name)
        if not path.is_dir():
            yield name, _text(path)
            continue
        inside = path.rglob("*") if recursive else path.iterdir()
        files = sorted(each for each in inside if each.suffix in _SUFFIXES and each.is_file())
        if not files:
            raise NotFound(f"{name} holds no {', '.join(_SUFFIXES)} file", hint="Add -R to look below it, too.")
        for file in files:
            yield str(file), _text(file)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist") from error
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}") from error
    return _decoded(data, str(path))


def _decoded(data: bytes, source: str) -> str:
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"{source} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{source} is not UTF-8") from error
