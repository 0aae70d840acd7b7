"""Where a client finds its hub: address, CA and bearer token, in a file that only its owner can read.

    current: prod
    contexts:
      prod: {hub: "hub.example.org:7443", ca: "-----BEGIN CERTIFICATE-----...", token: arbk...}

Looked for in this order: the file that was named (`--hub-config`, ARBORA_CONFIG), the user's own file, the
admin context that a hub on this machine wrote at its first start. A hub writes its file with the same
`write_context`. Blocking file I/O, so call it before the event loop runs; no network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arbora.errors import InvalidInput, NotFound
from arbora.files import write_atomic
from arbora.manifests.strict_yaml import YamlDocument, dump_yaml, read_yaml, type_name
from arbora.secret import Secret

ADMIN_FILE = "admin.yaml"
_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Context:
    """One hub as one client reaches it."""

    hub: str
    """host:port of the client port."""
    ca: str
    """The hub's CA certificates as PEM."""
    token: Secret
    """The bearer token."""


@dataclass(frozen=True, slots=True)
class ContextFile:
    """The content of one file."""

    current: str = ""
    """The context to use where none is named; may be empty."""
    contexts: Mapping[str, Context] = field(default_factory=dict)


def user_file(environ: Mapping[str, str]) -> Path:
    """The user's own file."""
    root = environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(root) / "arbora" / "config.yaml"


def hub_data_dir(environ: Mapping[str, str]) -> Path:
    """Where a hub on this machine keeps its data unless it is told otherwise."""
    if named := environ.get("ARBORA_DATA_DIR"):
        return Path(named)
    root = environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(root) / "arbora" / "hub"


def agent_data_dir(environ: Mapping[str, str], name: str) -> Path:
    """Where an agent on this machine keeps its data unless it is told otherwise: one folder per name."""
    root = environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(root) / "arbora" / "agents" / (name or "agent")


def find_context(
    config: Path | None = None, name: str = "", environ: Mapping[str, str] | None = None
) -> tuple[str, Context]:
    """The context to use, with its name.

    config: the file that was named, if any. name: the context that was named, else the file's current one.
    Raises NotFound, naming the places that were searched, and InvalidInput for a file that is wrong.
    """
    _, found, context = locate_context(config, name, environ)
    return found, context


def locate_context(
    config: Path | None = None, name: str = "", environ: Mapping[str, str] | None = None
) -> tuple[Path, str, Context]:
    """As `find_context`, with the file in which it stands, for programs that are to find the same one later."""
    environ = os.environ if environ is None else environ
    named = config or (Path(environ["ARBORA_CONFIG"]) if environ.get("ARBORA_CONFIG") else None)
    if named is not None:
        if not named.exists():
            raise NotFound(f"{named} does not exist", hint="Check --hub-config or ARBORA_CONFIG.")
        return named, *_pick(read_contexts(named), name, named)
    places = (user_file(environ), hub_data_dir(environ) / ADMIN_FILE)
    for place in places:
        if place.exists():
            file = read_contexts(place)
            if file.contexts and (place is places[-1] or not name or name in file.contexts):
                return place, *_pick(file, name, place)
    if name:
        raise NotFound(f"no context {name!r} in {places[0]} or {places[1]}", hint="See `arbora access use`.")
    raise NotFound(
        f"no hub is known: neither --hub-config nor ARBORA_CONFIG names a file, and there is no {places[0]} "
        f"and no {places[1]}",
        hint="Start a hub here with `arbora hub serve`, or ask a hub's admin for a context file "
        "(`arbora access create NAME --out FILE`) and take it with `arbora access use FILE`.",
    )


def read_contexts(path: Path) -> ContextFile:
    """Read one file, strictly. Raises InvalidInput with path and line, NotFound if it can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise NotFound(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8") from error
    documents = read_yaml(text, str(path))
    if not documents:
        return ContextFile()
    document = documents[0]
    top = _fields(document, (), ("current", "contexts"))
    if "contexts" not in top:
        raise document.error((), "contexts is missing")
    names = _fields(document, ("contexts",), None)
    contexts = {name: _context(document, ("contexts", name)) for name in names}
    current = top.get("current", "")
    if not isinstance(current, str) or (current and current not in contexts):
        raise document.error(("current",), f"names no context of this file: {current!r}")
    return ContextFile(current, contexts)


def write_context(path: Path, name: str, context: Context, *, make_current: bool = True) -> None:
    """Add or replace one context in the file, which is made if need be. Atomic, mode 0600.

    make_current: also make it the one that is used by default. The first one always is.
    Raises InvalidInput if the file that is there is wrong (it is left alone), StorageFailed.
    """
    if not name:
        raise InvalidInput("a context needs a name")
    before = read_contexts(path) if path.exists() else ContextFile()
    current = name if make_current or not before.current else before.current
    _write(path, ContextFile(current, {**before.contexts, name: context}))


def use_context(path: Path, name: str) -> None:
    """Make `name` the current context of the file. Raises NotFound if it is not there."""
    file = read_contexts(path) if path.exists() else ContextFile()
    _pick(file, name, path)
    _write(path, ContextFile(name, file.contexts))


def show_contexts(file: ContextFile) -> str:
    """The file's text, secrets included."""
    contexts = {
        name: {"hub": context.hub, "ca": context.ca, "token": context.token.reveal()}
        for name, context in file.contexts.items()
    }
    return dump_yaml([{"current": file.current, "contexts": contexts}])


def _write(path: Path, file: ContextFile) -> None:
    write_atomic(path, show_contexts(file).encode(), _MODE)


def _pick(file: ContextFile, name: str, path: Path) -> tuple[str, Context]:
    wanted = name or file.current or (next(iter(file.contexts)) if len(file.contexts) == 1 else "")
    if wanted in file.contexts:
        return wanted, file.contexts[wanted]
    known = ", ".join(file.contexts) or "none"
    if not wanted:
        raise NotFound(f"{path} has no current context", hint=f"Choose one with --context: {known}.")
    raise NotFound(f"no context {wanted!r} in {path}", hint=f"There is: {known}.")


def _context(document: YamlDocument, path: tuple[str, ...]) -> Context:
    fields = _fields(document, path, ("hub", "ca", "token"))
    for key in ("hub", "ca", "token"):
        if key not in fields:
            raise document.error(path, f"{key} is missing")
        if not isinstance(fields[key], str) or not fields[key]:
            raise document.error((*path, key), f"is {type_name(fields[key])}, or empty; it must be a text")
    host, _, port = fields["hub"].rpartition(":")
    if not host or not port.isdigit():
        raise document.error((*path, "hub"), f"{fields['hub']!r} is not host:port")
    return Context(fields["hub"], fields["ca"], Secret(fields["token"]))


def _fields(document: YamlDocument, path: tuple[str, ...], known: tuple[str, ...] | None) -> dict[str, Any]:
    """The map at `path`; with `known`, no other keys may be in it."""
    value = document.value
    for key in path:
        value = value[key]
    if not isinstance(value, dict):
        raise document.error(path, f"is {type_name(value)}, not a map")
    for key in value:
        if known is not None and key not in known:
            raise document.error((*path, key), f"unknown field; known here: {', '.join(known)}")
    return value
