"""Every error that Arbora raises on purpose.

    ArboraError
    ├── InvalidInput          the request itself is wrong; names the field
    ├── NotFound              no such member, workload, token ...
    ├── Conflict              the request contradicts what is there
    ├── Unauthenticated       who asks is not known
    ├── PermissionDenied      who asks is known and may not
    ├── Unavailable           a peer can't be reached now; a repetition helps
    ├── DeadlineExceeded      a peer did not answer in time
    ├── Exhausted             a limit is reached; a repetition may help later
    ├── Refused               a hub refuses a child; the refusal says how the child reacts
    └── StorageFailed         the store could not write; nothing of the request was kept

Each carries a reason code, whether a repetition helps, and a text that is safe to show to whoever
asked. A library's error is chained (`raise ... from`), never our base class. This module knows
nothing of grpc: `rpc/status.py` maps the tree onto status codes and back.
"""

from __future__ import annotations

from typing import ClassVar


class ArboraError(Exception):
    """The root. Only its subclasses are raised."""

    reason: ClassVar[str] = "INTERNAL"
    """Stable code for programs."""
    exit_code: ClassVar[int] = 1
    """What the command line exits with."""
    retryable: ClassVar[bool] = False
    """Whether the same request may succeed later."""

    def __init__(
        self, message: str, *, hint: str = "", field: str = "", retry_after: float | None = None
    ) -> None:
        """Name the object and what is wrong in `message`, what to do in `hint`.

        field: path of the wrong field, such as `spec.placement.members[2]`.
        retry_after: seconds after which a repetition may help.
        """
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.retry_after = retry_after
        self.hop = ""
        """Path of the hub that says so, where it is not the one that was asked; `message` begins with it."""

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{where}{self.message}"


class InvalidInput(ArboraError):
    """The request itself is wrong."""

    reason = "INVALID_INPUT"
    exit_code = 2


class NotFound(ArboraError):
    """No such thing."""

    reason = "NOT_FOUND"
    exit_code = 4


class Conflict(ArboraError):
    """The request contradicts what is there."""

    reason = "CONFLICT"
    exit_code = 5


class Unauthenticated(ArboraError):
    """Who asks is not known."""

    reason = "UNAUTHENTICATED"
    exit_code = 6


class PermissionDenied(ArboraError):
    """Who asks is known and may not."""

    reason = "PERMISSION_DENIED"
    exit_code = 6


class Unavailable(ArboraError):
    """A peer can't be reached now."""

    reason = "UNAVAILABLE"
    exit_code = 7
    retryable = True


class DeadlineExceeded(ArboraError):
    """A peer did not answer in time."""

    reason = "DEADLINE_EXCEEDED"
    exit_code = 8
    retryable = True


class Exhausted(ArboraError):
    """A limit is reached."""

    reason = "EXHAUSTED"
    exit_code = 9
    retryable = True


class StorageFailed(ArboraError):
    """The store could not write. Nothing of the request was kept."""

    reason = "STORAGE_FAILED"
    exit_code = 10
    retryable = True


class Refused(ArboraError):
    """A hub refuses a child. `refusal` is a value of the enum arbora.v1.Refusal."""

    reason = "REFUSED"
    exit_code = 11

    def __init__(self, refusal: int, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint, retry_after=retry_after)
        self.refusal = refusal
