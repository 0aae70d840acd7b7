"""A manifest's field with the path at which it stands, so that whatever is wrong can be named.

For: the readers of kinds, which never touch raw data. An absent field and `null` are the same, as for the API
server. Nothing here knows a kind. Pure. Flow: manifest -> `Field` -> a reader of a kind -> `Shape`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arbora.errors import InvalidInput
from arbora.manifests.strict_yaml import FieldPath, show_path, type_name

MAX_COUNT = 2**31 - 1
"""Replica counts are int32 in every Kubernetes API."""


@dataclass(frozen=True, slots=True)
class Field:
    """A value and where it was found. Every method raises InvalidInput with the field's path."""

    value: Any
    path: FieldPath = ()

    def error(self, message: str, *, hint: str = "") -> InvalidInput:
        """An error at this field, to be raised by the caller."""
        return InvalidInput(message, field=show_path(self.path), hint=hint)

    @property
    def absent(self) -> bool:
        """Whether there is nothing here."""
        return self.value is None

    def map(self) -> Mapping[str, Any]:
        """The map that stands here; empty if absent."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            raise self.error(f"is {type_name(self.value)}, not a map")
        return self.value

    def at(self, *keys: str) -> Field:
        """The field below, through maps. What is not there is an absent field."""
        found = self
        for key in keys:
            found = Field(found.map().get(key), (*found.path, key))
        return found

    def entries(self) -> tuple[tuple[str, Field], ...]:
        """The fields of a map, sorted by key."""
        below = self.map()
        for key in below:
            if not isinstance(key, str):
                raise self.error(f"the key {key!r} is not a text")
        return tuple((key, Field(below[key], (*self.path, key))) for key in sorted(below))

    def items(self) -> tuple[Field, ...]:
        """The maps of a list; empty if absent."""
        if self.value is None:
            return ()
        if not isinstance(self.value, list | tuple):
            raise self.error(f"is {type_name(self.value)}, not a list")
        found = tuple(Field(value, (*self.path, index)) for index, value in enumerate(self.value))
        for each in found:
            if not isinstance(each.value, Mapping):
                raise each.error(f"is {type_name(each.value)}, not a map")
        return found

    def texts(self) -> tuple[str, ...]:
        """The texts of a list; empty if absent."""
        if self.value is None:
            return ()
        if not isinstance(self.value, list | tuple):
            raise self.error(f"is {type_name(self.value)}, not a list")
        return tuple(Field(value, (*self.path, index)).text() for index, value in enumerate(self.value))

    def count(self, default: int) -> int:
        """A number of pods or groups."""
        if self.value is None:
            return default
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.error(f"is {type_name(self.value)}, not an integer")
        if not 0 <= self.value <= MAX_COUNT:
            raise self.error(f"{self.value} is not between 0 and {MAX_COUNT}")
        return self.value

    def text(self, default: str = "") -> str:
        """A text."""
        if self.value is None:
            return default
        if not isinstance(self.value, str):
            raise self.error(f"is {type_name(self.value)}, not a text")
        return self.value

    def flag(self, default: bool = False) -> bool:
        """True or false."""
        if self.value is None:
            return default
        if not isinstance(self.value, bool):
            raise self.error(f"is {type_name(self.value)}, not true or false")
        return self.value
