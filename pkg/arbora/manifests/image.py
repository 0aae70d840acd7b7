"""The parts of a container image's name: `registry.example.org:5000/team/app:1.2@sha256:...`.

For: overrides that change one part and keep the others. Pure. The rule that tells a registry from a repository
is that of container engines: the first segment is one if it holds a dot, a colon or a capital letter, or is
localhost.
Source: github.com/distribution/reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from arbora.errors import InvalidInput

PARTS = ("registry", "repository", "tag", "digest")

_FORMS = {
    "registry": re.compile(r"([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?"),
    "repository": re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"),
    "tag": re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]{0,127}"),
    "digest": re.compile(r"[a-z0-9]+([+._-][a-z0-9]+)*:[0-9a-fA-F]{32,128}"),
}


@dataclass(frozen=True, slots=True)
class Image:
    """An image's name, taken apart. What is not written is empty; no default is filled in."""

    repository: str
    registry: str = ""
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Image:
        """Read a name. Raises InvalidInput naming the part that is wrong."""
        name, at, digest = text.partition("@")
        head, slash, rest = name.partition("/")
        is_registry = bool(slash) and (head == "localhost" or any(c in ".:" or c.isupper() for c in head))
        registry, path = (head, rest) if is_registry else ("", name)
        repository, colon, tag = path.partition(":")
        image = cls(repository, registry, tag, digest)
        image._check(text)
        if (colon and not tag) or (at and not digest):
            raise InvalidInput(f"{text!r} is not the name of an image: it ends in nothing")
        return image

    def with_part(self, part: str, value: str) -> Image:
        """This image with one part (of PARTS) set; empty takes it away. Raises InvalidInput.

        A tag takes an old digest away, and a digest the tag: with both, the tag would mean nothing.
        """
        if part == "tag" and value:
            changed = replace(self, tag=value, digest="")
        elif part == "digest" and value:
            changed = replace(self, digest=value, tag="")
        else:
            changed = replace(self, **{part: value})
        changed._check(str(changed))
        if Image.parse(str(changed)) != changed:  # such as the registry `mirror`, read back as a repository
            raise InvalidInput(
                f"{value!r} as the {part} makes {str(changed)!r}, which would be read as something else",
                hint="A registry holds a dot or a port, or is localhost.",
            )
        return changed

    def _check(self, text: str) -> None:
        for part in PARTS:
            value = getattr(self, part)
            if (value or part == "repository") and not _FORMS[part].fullmatch(value):
                raise InvalidInput(
                    f"{text!r} is not the name of an image: its {part} can't be {value!r}",
                    hint="Such as registry.example.org/team/app:1.2.",
                )

    def __str__(self) -> str:
        registry = f"{self.registry}/" if self.registry else ""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{registry}{self.repository}{tag}{digest}"
