"""Whether somebody else changed or removed an object that we applied. Pure.

What a manifest says and what the API server stores differ from the start (defaults, normalised quantities), so
the two are never compared. `remember` takes the API server's answer to our apply and keeps only the paths that
the manifest names; `differences` looks at the same paths later. `Repairs` slows us down where somebody keeps
changing the object back, so that two controllers that disagree don't wear the API server out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arbora.manifests.objects import Manifest
from arbora_agent.cluster.port import ANNOTATION_GENERATION, LABEL_WORKLOAD

FIRST_DELAY = 1.0
"""Seconds before the second repair of an object; doubles with each further one."""
LONGEST_DELAY = 300.0
QUIET = 600.0
"""Seconds without a repair after which an object is trusted again."""

_OUR_METADATA = {"labels": {LABEL_WORKLOAD: ""}, "annotations": {ANNOTATION_GENERATION: ""}}


@dataclass(frozen=True, slots=True)
class Expectation:
    """How the named paths of an object looked when we applied it."""

    manifest: Manifest
    projection: Any


@dataclass(frozen=True, slots=True)
class Repairs:
    """How often an object was put right lately."""

    count: int = 0
    last: float = 0.0
    """Moment of the last repair."""

    def due(self) -> float:
        """The moment from which the next repair may be made; the first one at once."""
        if self.count == 0:
            return 0.0
        return self.last + min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self.count - 1, 32))

    def made(self, now: float) -> Repairs:
        """One more repair, at `now`."""
        return Repairs(1 if now - self.last > QUIET else self.count + 1, now)


def remember(manifest: Manifest, answer: Mapping[str, Any]) -> Expectation:
    """What to expect of the object from now on. `answer`: the object as the API server stored it."""
    named = _named_by(manifest)
    return Expectation(named, _project(named, answer))


def differences(expectation: Expectation, live: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths that somebody changed, such as `spec.replicas`; nothing if it is as it should be."""
    now = _project(expectation.manifest, live)
    return tuple(_paths(expectation.projection, now, "")) if now != expectation.projection else ()


def _named_by(manifest: Manifest) -> Manifest:
    """The part of a manifest that we hold on to: not status, and of the metadata labels and annotations only."""
    metadata = manifest.get("metadata", {})
    kept = {field: {**(metadata.get(field) or {}), **ours} for field, ours in _OUR_METADATA.items()}
    named = {key: value for key, value in manifest.items() if key != "status"} | {"metadata": kept}
    if manifest.get("kind") == "Secret" and "stringData" in named:
        # write-only: the server keeps it under data
        named["data"] = {**(named.get("data") or {}), **(named.pop("stringData") or {})}
    return named


def _project(named: Any, live: Any) -> Any:
    """`live` cut down to the paths of `named`; lists of named items item by item, other lists whole."""
    if isinstance(named, Mapping) and isinstance(live, Mapping):
        return {
            key: _project(value, live[key]) for key, value in named.items() if value is not None and key in live
        }
    wanted, found = _by_name(named), _by_name(live)
    if wanted and found is not None:
        return [_project(item, found[name]) for name, item in wanted.items() if name in found]
    return live


def _by_name(value: Any) -> dict[str, Any] | None:
    """The items of a list of named objects by name; None for anything else."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    named = {
        item["name"]: item for item in value if isinstance(item, Mapping) and isinstance(item.get("name"), str)
    }
    return named if len(named) == len(value) else None


def _paths(expected: Any, found: Any, path: str) -> Iterator[str]:
    if expected == found:
        return
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted({*expected, *found}):
            yield from _paths(expected.get(key), found.get(key), f"{path}.{key}" if path else str(key))
        return
    wanted, have = _by_name(expected), _by_name(found)
    if wanted and have and wanted.keys() == have.keys():
        for name, item in wanted.items():
            yield from _paths(item, have[name], f"{path}[{name}]")
        return
    yield path
