"""Patterns of member paths. Pure.

/eu/paris/edge-7    that member
/eu/*               every member that the hub /eu has itself
/eu/*/gpu           the member `gpu` of every hub right below /eu
/eu/**              every member below /eu, at any depth
/**                 every member
"""

from __future__ import annotations

from dataclasses import dataclass

from arbora.errors import InvalidInput
from arbora.identity.names import MAX_DEPTH, check_name

ONE, ANY = "*", "**"


@dataclass(frozen=True, slots=True)
class PathPattern:
    """Labels from the root, `*` for any one; `deep`: and anything below them, not they themselves."""

    labels: tuple[str, ...]
    deep: bool = False

    @classmethod
    def parse(cls, text: str, field: str = "path") -> PathPattern:
        """Read one. Raises InvalidInput."""
        if not text.startswith("/"):
            raise InvalidInput(
                f"{text[:100]!r} does not begin with a slash",
                field=field,
                hint="Write it from the root of the tree, such as /eu/**.",
            )
        labels = text[1:].split("/")
        deep = labels[-1] == ANY
        if deep:
            labels.pop()
        if len(labels) > MAX_DEPTH:
            raise InvalidInput(f"{text[:100]!r} is deeper than {MAX_DEPTH} levels", field=field)
        for label in labels:
            if label == ANY:
                raise InvalidInput(f"{text[:100]!r} has ** before its end", field=field, hint="Use * there.")
            if label != ONE:
                check_name(label, field)
        return cls(tuple(labels), deep)

    def matches(self, path: str) -> bool:
        """Whether the member at `path`, from the root, is meant."""
        labels = path.strip("/").split("/")
        if len(labels) <= len(self.labels) if self.deep else len(labels) != len(self.labels):
            return False
        return all(wanted in (ONE, label) for wanted, label in zip(self.labels, labels, strict=False))

    def __str__(self) -> str:
        return "/" + "/".join((*self.labels, *([ANY] if self.deep else [])))
