"""Where a path leads from here: to this hub itself, to one of its children, or further down.

    /eu/paris/edge-7    at the root    Below("eu", paris/edge-7)
    paris/edge-7        at /eu         Below("paris", edge-7)
    edge-7              at /eu/paris   Direct("edge-7")

Pure, and only about names: whether there is such a child, and whether it is a hub, its caller looks up.
"""

from __future__ import annotations

from dataclasses import dataclass

from arbora.errors import InvalidInput, NotFound
from arbora.identity.names import Path


@dataclass(frozen=True, slots=True)
class Here:
    """This hub itself."""


@dataclass(frozen=True, slots=True)
class Direct:
    """A child of this hub."""

    name: str


@dataclass(frozen=True, slots=True)
class Below:
    """Something further down."""

    child: str
    """The child on the way there."""
    rest: Path
    """Where it stands below that child; never empty."""

    @property
    def text(self) -> str:
        """`rest` as one says it to that child: relative, without a slash in front."""
        return "/".join(self.rest.labels)


Route = Here | Direct | Below


def route(own_path: Path, text: str, field: str = "path") -> Route:
    """Where `text` leads from the hub at `own_path`.

    text: a path from the root of the tree (`/eu/paris/edge-7`), or one from this hub (`paris/edge-7`, `edge-7`).
    Raises InvalidInput if it is no path, NotFound if it does not lie below this hub.
    """
    path = Path.parse(text, field)
    rest = path.relative_to(own_path) if text.startswith("/") else path
    if rest is None:
        raise NotFound(f"{path} is not below this hub, {own_path}", hint="Ask a hub that stands above it.")
    if not rest.labels:
        return Here()
    if len(rest.labels) == 1:
        return Direct(rest.labels[0])
    return Below(rest.labels[0], Path(rest.labels[1:]))


def to_member(own_path: Path, text: str, field: str = "path") -> Direct | Below:
    """Like `route`, for what only a child can be asked: this hub itself is refused, too."""
    found = route(own_path, text, field)
    if isinstance(found, Here):
        raise InvalidInput(
            "names no member" if not text else f"{text} is this hub itself, not a member of it",
            field=field,
            hint="Give the path or the name of something below this hub.",
        )
    return found
