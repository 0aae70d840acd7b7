"""What an answer of the API server that is not a success means for us.

For: every module here that asks the API server. No I/O. The API server explains refusals in a Status
object; its own words are kept, since they name the field. What another try may cure is ClusterUnavailable,
all else is ObjectRejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arbora.errors import ArboraError

RETRYABLE = frozenset({401, 408, 409, 410, 429})
"""Client errors that another try may cure: credentials renewed, conflicts gone, load gone."""
MAX_WORDS = 2000
"""Characters of the API server's message that are kept."""


class ObjectRejected(ArboraError):
    """The API server refuses an object. The message is the API server's own; a repetition doesn't help
    until the manifest, the member's policy or its CRDs change."""

    reason = "OBJECT_REJECTED"


class ClusterUnavailable(ArboraError):
    """The API server can't be reached or answers with a server error; a repetition helps."""

    reason = "CLUSTER_UNAVAILABLE"
    retryable = True


def words_of(status: int, body: Mapping[str, Any]) -> str:
    """The API server's own message, or the status where it gave none."""
    message = body.get("message")
    return message[:MAX_WORDS] if isinstance(message, str) and message else f"HTTP {status}"


def failure(
    status: int, body: Mapping[str, Any], subject: str, retry_after: float | None = None
) -> ObjectRejected | ClusterUnavailable:
    """The error for an answer about `subject` (such as `ConfigMap team/settings`), not yet raised."""
    words = words_of(status, body)
    if status in RETRYABLE or status >= 500 or status < 400:
        return ClusterUnavailable(f"{subject}: {words}", retry_after=retry_after)
    return ObjectRejected(f"{subject}: {words}", hint=_hint(status))


def is_unknown_path(status: int, body: Mapping[str, Any]) -> bool:
    """Whether a 404 means that the API server doesn't serve the kind, rather than that an object is missing."""
    if status != 404:
        return False
    details = body.get("details") or {}
    return not details.get("name")


def _hint(status: int) -> str:
    if status == 403:
        return "Grant it to the agent's service account, for example with `arbora agent manifest --grant`."
    if status in (400, 422):
        return "Correct the manifest."
    return ""
