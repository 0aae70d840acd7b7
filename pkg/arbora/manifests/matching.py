"""Do these labels satisfy this selector? Pure; the semantics are those of Kubernetes node selectors.

For: everything that selects by labels and must not import the hub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from arbora.manifests.selectors import Requirement, Selector

INTEGER = re.compile(r"-?[0-9]{1,18}")
"""What Gt and Lt take for a number; anything else matches neither."""


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """All requirements must hold. NotIn and DoesNotExist hold where the key is absent."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(requirement, labels.get(requirement.key)) for requirement in selector.match_expressions
    )


def _holds(requirement: Requirement, value: str | None) -> bool:
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            if value is None or not INTEGER.fullmatch(value):
                return False
            bound = int(requirement.values[0])
            return int(value) > bound if requirement.operator == "Gt" else int(value) < bound
        case _:
            raise AssertionError(f"operator {requirement.operator} was not validated")
