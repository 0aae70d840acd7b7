"""Pages of a list: a page token is the last key of the page before. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from arbora.errors import InvalidInput

T = TypeVar("T")

MAX_PAGE = 1000


def size_of(wanted: int, default: int) -> int:
    """How many entries a page holds. Raises InvalidInput."""
    if wanted > MAX_PAGE:
        raise InvalidInput(f"is {wanted}, {MAX_PAGE} at most", field="page_size")
    return wanted or default


def page(
    entries: Sequence[T], key: Callable[[T], str], wanted: int, token: str, default: int
) -> tuple[list[T], str]:
    """The entries after `token` and the token of the next page, empty at the end; sorted by key."""
    size = size_of(wanted, default)
    rest = [entry for entry in entries if key(entry) > token] if token else list(entries)
    chosen = rest[:size]
    return chosen, key(chosen[-1]) if len(rest) > size else ""
