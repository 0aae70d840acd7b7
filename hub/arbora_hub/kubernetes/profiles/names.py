"""What the profile of a member is called in a namespace. Pure.

    /eu/edge-7 -> eu-edge-7, or eu-edge-7-1a2b3c4d where that name stands for another member or is somebody else's

A name once given stays: consumers know a member by it. So decisions that can't be made again from the path alone
are kept over restarts (`kept`). Never is a name read back from the profile, where users can write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b

MAX_NAME = 253
HASH_DIGITS = (8, 16, 32)
"""Of the hash behind a name, in the order in which they are tried."""

Taken = Callable[[str], bool]


class Names:
    """Names of profiles, by namespace and member."""

    def __init__(self, kept: Mapping[str, str] | None = None) -> None:
        """kept: `<namespace>/<name>` -> path, as `kept` said before."""
        self._names: dict[tuple[str, str], str] = {}
        self._paths: dict[tuple[str, str], str] = {}
        self.kept: dict[str, str] = dict(kept or {})
        """What must be remembered."""
        self._kept_names: dict[tuple[str, str], str] = {}
        for where, path in self.kept.items():
            namespace, _, name = where.partition("/")
            self._kept_names[namespace, path] = name

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Every namespace and name that is given."""
        return iter(tuple(self._paths))

    def name_of(self, namespace: str, path: str) -> str | None:
        """The name of a member's profile; None: it was not given one."""
        return self._names.get((namespace, path))

    def path_of(self, namespace: str, name: str) -> str | None:
        """The member that a name stands for; None: the name is not given."""
        return self._paths.get((namespace, name))

    def assign(
        self, namespace: str, path: str, foreign: Taken, reserved: Taken = lambda name: False
    ) -> str | None:
        """The name of a member's profile, given now or before; None: every name that it could have is taken.

        foreign: whether a profile of that name is somebody else's. reserved: whether one of that name is ours and
        of a member that is not heard of yet.
        """
        before = self._names.get((namespace, path))
        if before is not None and not foreign(before):
            return before
        self.release(namespace, path, forget=False)
        for name in self._candidates(namespace, path):
            owner = self._paths.get((namespace, name)) or self.kept.get(f"{namespace}/{name}")
            decided = self.kept.get(f"{namespace}/{name}") == path
            if not foreign(name) and owner in (None, path) and (decided or not reserved(name)):
                self._give(namespace, path, name)
                return name
        return None

    def release(self, namespace: str, path: str, *, forget: bool = True) -> None:
        """The member has no profile there any more. forget: its name may be another's from now on."""
        name = self._names.pop((namespace, path), None)
        if name is not None:
            del self._paths[namespace, name]
        if forget:
            kept = self._kept_names.pop((namespace, path), None)
            if kept is not None:
                del self.kept[f"{namespace}/{kept}"]

    def forget(self, namespace: str, name: str) -> None:
        """Nothing stands for this name any more, whoever it was kept for."""
        path = self.kept.get(f"{namespace}/{name}")
        if path is not None and self._paths.get((namespace, name)) is None:
            self.release(namespace, path)

    def _candidates(self, namespace: str, path: str) -> Iterator[str]:
        kept = self._kept_names.get((namespace, path))
        if kept is not None:
            yield kept
        yield from candidates(path)

    def _give(self, namespace: str, path: str, name: str) -> None:
        self._names[namespace, path] = name
        self._paths[namespace, name] = path
        plain = plain_name(path)
        kept = self._kept_names.get((namespace, path))
        if kept is not None and kept != name:
            del self.kept[f"{namespace}/{kept}"]
            del self._kept_names[namespace, path]
        if name != plain:
            self._keep(namespace, path, name)
            # whoever has the plain name must have it after a restart, too
            holder = self._paths.get((namespace, plain))
            if holder is not None:
                self._keep(namespace, holder, plain)

    def _keep(self, namespace: str, path: str, name: str) -> None:
        self.kept[f"{namespace}/{name}"] = path
        self._kept_names[namespace, path] = name


def plain_name(path: str) -> str:
    """The path with dashes, which may be longer than a name may be."""
    return path.strip("/").replace("/", "-")


def candidates(path: str) -> Iterator[str]:
    """The names that a member's profile may have, the best first."""
    plain = plain_name(path)
    if len(plain) <= MAX_NAME:
        yield plain
    digest = blake2b(path.encode(), digest_size=16).hexdigest()
    for digits in HASH_DIGITS:
        stem = plain[: MAX_NAME - 1 - digits].rstrip("-")
        yield f"{stem}-{digest[:digits]}"
