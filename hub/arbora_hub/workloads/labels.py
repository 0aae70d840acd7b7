"""Kubernetes labels: what is one and what isn't. Pure."""

from __future__ import annotations

import re

from arbora.errors import InvalidInput

_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def check_labels(labels: dict[str, str], field: str) -> dict[str, str]:
    """Return `labels` if they are valid Kubernetes labels, else raise InvalidInput naming the one that isn't."""
    for key, value in labels.items():
        if not _KEY.fullmatch(key):
            raise InvalidInput(f"{key!r} is not a label key", field=field, hint="Such as gpu or a.org/zone.")
        if not _VALUE.fullmatch(value):
            raise InvalidInput(
                f"{value!r} is not a label value", field=f"{field}.{key}", hint="At most 63 of A-Z a-z 0-9 - _ ."
            )
    return labels
