"""YAML as plain data that still knows its lines, read strictly and within bounds.

Strict: a key given twice is an error, keys are strings, only YAML's plain types are known. Bounded: size,
depth, and what aliases expand to. The reader works on the parser's events, one by one, and so never builds
what it would then have to refuse. Pure; the text comes in, data or `InvalidDocument` comes out.

Flow: text -> `read_yaml` -> `YamlDocument`s -> a schema reader (`documents.py`, `arbora/context.py`), which
asks `YamlDocument.error(path, ...)` for errors that name path and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from arbora.errors import InvalidInput
from arbora.manifests.scalars import Scalar, needs_quotes, resolve

MAX_BYTES = 4 * 2**20
"""Of one text."""
MAX_DEPTH = 64
"""Of nested maps and lists. An API server's own objects stay far below."""
MAX_ALIAS_WEIGHT = 4 * 2**20
"""Nodes and bytes that all aliases of a document may stand for."""

FieldPath = tuple[str | int, ...]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_PREFIX = "tag:yaml.org,2002:"
_SIMPLE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class InvalidDocument(InvalidInput):
    """A document is wrong at one place: `workload.yaml:12: spec.placment: unknown field`."""

    def __init__(self, source: str, line: int, field: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, field=field)
        self.source = source
        self.line = line

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {super().__str__()}"


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One document: its data, and on which line (from 1) each path begins."""

    value: Any
    source: str
    lines: Mapping[FieldPath, int] = field(repr=False)

    def line(self, path: FieldPath) -> int:
        """The line of `path`, or of the nearest thing around it."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)

    def error(self, path: FieldPath, message: str, *, hint: str = "") -> InvalidDocument:
        """An error at `path`, to be raised by the caller."""
        return InvalidDocument(self.source, self.line(path), show_path(path), message, hint=hint)


@dataclass(frozen=True, slots=True)
class _Node:
    value: Any
    weight: int
    """Nodes and bytes of text, aliases expanded."""
    height: int


def show_path(path: FieldPath) -> str:
    """`spec.members[2]`, `metadata.labels[example.org/team]`."""
    text = ""
    for part in path:
        if isinstance(part, int) or not _SIMPLE_KEY.fullmatch(part):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def read_yaml(text: str, source: str) -> list[YamlDocument]:
    """All documents of `text`, empty ones left out. `source` names the text in errors.

    Raises InvalidDocument with the line, for syntax as well as for what is beyond the bounds.
    """
    if len(text) > MAX_BYTES or len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise InvalidDocument(source, 1, "", f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        return [document for document in _Reader(text, source).documents() if document.value is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise InvalidDocument(source, line, "", f"is not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        reason = getattr(error, "reason", "the text can't be decoded")
        raise InvalidDocument(source, 1, "", f"is not YAML: {reason}") from error


def dump_yaml(values: Iterable[Any]) -> str:
    """Plain data as YAML documents that `read_yaml`, kubectl and Go read back as the same data."""
    text: str = yaml.dump_all(
        values, Dumper=_QuotingDumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10**6
    )
    return text


class _QuotingDumper(_Dumper):  # type: ignore[misc]
    """Quotes every text that Kubernetes would read as something else; writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    style = '"' if needs_quotes(text) else "|" if "\n" in text.rstrip("\n") and "\t" not in text else None
    return dumper.represent_scalar(f"{_PREFIX}str", text, style=style)


_QuotingDumper.add_representer(str, _represent_text)


class _Reader:
    """Builds data from the parser's events. One per text."""

    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_Loader))
        self._lines: dict[FieldPath, int] = {}
        self._anchors: dict[str, _Node] = {}
        self._alias_weight = 0

    def documents(self) -> Iterator[YamlDocument]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._lines, self._anchors, self._alias_weight = {}, {}, 0
                root = self._node(next(self._events), ())
                yield YamlDocument(root.value, self._source, self._lines)

    def _error(self, event: Any, path: FieldPath, message: str, hint: str = "") -> InvalidDocument:
        return InvalidDocument(self._source, event.start_mark.line + 1, show_path(path), message, hint=hint)

    def _node(self, event: Any, path: FieldPath) -> _Node:
        self._lines.setdefault(path, event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if isinstance(event, yaml.ScalarEvent):
            node = _Node(self._scalar(event, path), 1 + len(event.value), 0)
        elif len(path) >= MAX_DEPTH:
            raise self._error(event, path[:4], f"is nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, path, "seq")
            node = self._sequence(path)
        else:
            self._check_tag(event, path, "map")
            node = self._mapping(path)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, path: FieldPath) -> _Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise self._error(event, path, f"the alias *{event.anchor} is used before its anchor is complete")
        self._alias_weight += node.weight
        if self._alias_weight > MAX_ALIAS_WEIGHT:
            raise self._error(event, path, "the document's aliases stand for too much", "Write the parts out.")
        if len(path) + node.height > MAX_DEPTH:
            raise self._error(event, path[:4], f"is nested deeper than {MAX_DEPTH} levels")
        return node

    def _sequence(self, path: FieldPath) -> _Node:
        items: list[Any] = []
        weight = 1
        height = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            node = self._node(event, (*path, len(items)))
            items.append(node.value)
            weight += node.weight
            height = max(height, node.height)
        return _Node(items, weight, height + 1)

    def _mapping(self, path: FieldPath) -> _Node:
        entries: dict[str, Any] = {}
        merged: list[Mapping[str, Any]] = []
        weight = 1
        height = 0
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            line = event.start_mark.line + 1
            below = (*path, key)
            if below in self._lines:
                raise self._error(event, below, f"is given twice, first on line {self._lines[below]}")
            self._lines[below] = line
            node = self._node(next(self._events), below)
            weight += len(key) + node.weight
            height = max(height, node.height)
            if key == "<<" and event.implicit[0]:
                merged += self._merged(event, below, node.value)
            else:
                entries[key] = node.value
        for other in merged:  # an own key wins, then the earlier of the merged maps
            for key, value in other.items():
                entries.setdefault(key, value)
        return _Node(entries, weight, height + 1)

    def _key(self, event: Any, path: FieldPath) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._error(event, path, "a key is not a plain text")
        if event.value == "<<":
            return "<<"
        value = self._scalar(event, path)
        if not isinstance(value, str):
            raise self._error(
                event,
                path,
                f"the key {event.value} is {type_name(value)}, quote it",
                hint=f'Write "{event.value}" if you mean the text.',
            )
        return value

    def _merged(self, event: Any, path: FieldPath, value: Any) -> list[Mapping[str, Any]]:
        maps = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in maps):
            raise self._error(event, path, "merges something that is not a map")
        return maps

    def _check_tag(self, event: Any, path: FieldPath, name: str) -> None:
        if event.tag not in (None, "!", _PREFIX + name):
            raise self._error(event, path, f"the tag {event.tag} is not allowed")

    def _scalar(self, event: Any, path: FieldPath) -> Scalar:
        tag: str | None = event.tag
        text: str = event.value
        plain = event.implicit[0]
        if tag in ("!", f"{_PREFIX}str") or (tag is None and not plain):
            return text
        try:
            value = resolve(text)
        except ValueError as error:
            raise self._error(event, path, f"{text[:40]!r} {error}", "Quote it if you mean the text.") from error
        if tag is None or tag == f"{_PREFIX}{_TAG_OF[type(value)]}":
            return value
        if tag == f"{_PREFIX}float" and type(value) is int:
            return float(value)
        raise self._error(event, path, f"the tag {tag} is not allowed here")


_TAG_OF = {str: "str", bool: "bool", int: "int", float: "float", type(None): "null"}


def type_name(value: object) -> str:
    """How an error names the type of YAML data: `a bool`, `a list`."""
    if isinstance(value, bool):
        return "a bool"
    if isinstance(value, int | float):
        return "a number"
    if value is None:
        return "null"
    names: dict[type, str] = {str: "a text", list: "a list", dict: "a map"}
    return names.get(type(value), type(value).__name__)
