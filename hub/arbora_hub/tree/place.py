"""Where a hub stands, read from what its parent says, and who stands below it. Pure.

What comes from a parent is checked before use like what comes from a child: a hub follows its parent's word on
its place, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.tree.parents import Place
from arbora_hub.workloads.labels import check_labels

MAX_ANCESTORS = 64
MAX_ID = 64
"""Longest hub id, in characters."""
MAX_HUBS = 10_000
"""Hubs below one hub that are named in its Hello."""


def read_place(
    path: str, ancestors: Iterable[str], labels: Mapping[str, str] | None, before: Place
) -> tuple[Path, Place]:
    """The path and the place that a parent tells. labels: None keeps those before. Raises InvalidInput."""
    ids = tuple(ancestors)
    if len(ids) > MAX_ANCESTORS:
        raise InvalidInput(f"there are more than {MAX_ANCESTORS} hubs above", field="ancestors")
    if any(not one or len(one) > MAX_ID or not one.isprintable() for one in ids):
        raise InvalidInput("holds something that is not a hub id", field="ancestors")
    kept = before.labels if labels is None else check_labels(dict(labels), "labels")
    return Path.parse(path), Place(ids, kept)


def hub_ids(own: str, children: Iterable[Child]) -> tuple[str, ...]:
    """This hub's id and those of all hubs that are below it now, for Hello.

    A hub that is lost may stand elsewhere by now, even above this one, so it does not count.
    """
    below: set[str] = set()
    for child in children:
        if child.row.kind != "hub" or child.moved or child.liveness not in (Liveness.ONLINE, Liveness.SUSPECT):
            continue
        below.add(child.row.cluster_uid)
        if child.status is not None and child.status.HasField("subtree"):
            below.update(child.status.subtree.hubs)
    below.discard(own)
    return (own, *sorted(below)[: MAX_HUBS - 1])
