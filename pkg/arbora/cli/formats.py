"""What `-o` takes. By itself, so that a command's options don't load what renders them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True, slots=True)
class View:
    """What the person asked for."""

    format: Format = Format.TABLE
    headers: bool = True

    @property
    def structured(self) -> bool:
        """Whether a program is going to read it."""
        return self.format in (Format.JSON, Format.YAML)

    @property
    def wide(self) -> bool:
        """Whether wide columns are shown."""
        return self.format is Format.WIDE
