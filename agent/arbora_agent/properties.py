"""Which of a cluster's ClusterProperty objects are reported: a bounded number, and never a part of one. Pure.

Their values may have 128k characters each, there may be any number of them, and the hub keeps what is reported
for every member. So the first ones by name that fit are taken, word for word, and the others are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MAX_PROPERTIES = 64
MAX_BYTES = 64 * 1024
"""Of names and values together."""
MAX_NAMED = 64
"""Names of what was left out."""

Bounded = tuple[tuple[tuple[str, str], ...], tuple[str, ...]]
"""(name, value) of what is taken, and the names of what is not; both in the order of names."""


def bounded(properties: Mapping[str, str]) -> Bounded:
    """What is reported of `properties`, by name. One that does not fit does not keep a smaller one away."""
    taken: list[tuple[str, str]] = []
    left_out: list[str] = []
    size = 0
    for name, value in sorted(properties.items()):
        needed = len(name.encode()) + len(value.encode())
        if len(taken) < MAX_PROPERTIES and size + needed <= MAX_BYTES:
            taken.append((name, value))
            size += needed
        else:
            left_out.append(name)
    return tuple(taken), tuple(left_out[:MAX_NAMED])


def left_out_sentence(names: Sequence[str]) -> str:
    """For an event; at most a few of the names."""
    shown = ", ".join(names[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (
        f"ClusterProperty {shown}{more}: not reported, as a member reports at most {MAX_PROPERTIES} of them and "
        f"{MAX_BYTES // 1024} KiB in all."
    )
