"""What the store holds, as plain data: one frozen dataclass for each table, and what stands in a column of one.

The fields stand in the order of the columns in `tables.py` (a test holds them together). Times are seconds
since the epoch. No module here does I/O; whoever changes a row makes a new one with `dataclasses.replace`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class TaintRow:
    """A taint of a child; sorts by key."""

    key: str
    value: str
    effect: str
    """NoSchedule, PreferNoSchedule or NoExecute."""
    added: float
    """When, by the hub's clock."""


@dataclass(frozen=True, slots=True)
class ChildRow:
    """An agent or a hub that joined this hub, evicted ones too: their epochs must never go back."""

    name: str
    kind: str
    """agent or hub."""
    cluster_uid: str = ""
    """UID of its namespace kube-system; empty: none was said."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[TaintRow, ...] = ()
    cordoned: bool = False
    state: str = "active"
    """active or evicted."""
    serial_current: str = ""
    """Serial of the certificate in use, hex."""
    serial_new: str = ""
    """Serial of a renewed certificate that was not used yet, hex."""
    cert_not_after: float = 0.0
    """End of the newest of these certificates."""
    session_epoch: int = 0
    """Of its last session; only rises."""
    last_status: bytes = b""
    """What it last reported, serialized; saved lazily."""
    last_seen: float = 0.0
    """When that was saved."""
    created: float = 0.0
    version: str = ""
    """Of its program, at enrollment."""


@dataclass(frozen=True, slots=True)
class JoinTokenRow:
    """A join token, without its secret."""

    id: str
    secret_hash: str = field(repr=False)
    name: str
    """The one name that may join with it; empty: any."""
    kind: str
    labels: Mapping[str, str]
    expires: float
    uses_left: int
    bound: Mapping[str, str]
    """Hash of each key that used it -> the name that was given."""
    created: float


@dataclass(frozen=True, slots=True)
class AccessRow:
    """A client's access, without its secret."""

    name: str
    id: str
    """The public part of the bearer token; unique."""
    secret_hash: str = field(repr=False)
    role: int
    """A value of arbora.v1.Role."""
    created: float
    expires: float | None
    """None: never."""
    member: str = ""
    """Relative to this hub: the member to whose API server it opens the way, and it opens nothing else. Empty:
    it is for calls to this hub, with its role."""


@dataclass(frozen=True, slots=True)
class WorkloadRow:
    """A workload as it was submitted."""

    uid: str
    name: str
    """Unique."""
    labels: Mapping[str, str]
    generation: int
    placement: bytes
    """arbora.v1.Placement, serialized."""
    manifests: bytes
    """As given."""
    created: float
    deleting: bool = False
    from_parent: bool = False
    """It was assigned by the hub above, which alone changes it."""
    budget: bytes = b""
    """Of such a one: how much of it, as arbora.v1.Budget, serialized."""

    @property
    def title(self) -> str:
        """The name that its author gave it. From a parent several may have the same."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class AssignmentRow:
    """What one child is to run of one workload; (uid, child) is its key."""

    uid: str
    """Of the workload."""
    child: str
    """Name of the child."""
    generation: int
    withdrawn: bool = False
    status: bytes = b""
    """What the child last reported, serialized; saved lazily, by `save_statuses` only."""
    replicas: int = 1
    """Units of the workload that it is to run, where they are divided."""
    copies: int = 0
    """Of a child hub that runs all of it in several members: in how many at most; 0: no limit."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened."""

    id: str
    """Sorts by time, see `record_ids.py`."""
    time: float
    severity: int
    """A value of arbora.v1.Severity."""
    reason: str
    subject: str
    """member/<path>, workload/<name>, ..."""
    message: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A call that changed something, or was refused."""

    id: str
    """Sorts by time, see `record_ids.py`."""
    time: float
    actor: str
    action: str
    subject: str
    outcome: str
    peer: str
    detail: str


@dataclass(frozen=True, slots=True)
class GpuHistoryRow:
    """One minute of a member's GPUs."""

    child: str
    minute: int
    """Of the epoch: seconds divided by 60, of its beginning."""
    data: bytes
    """Packed, see `gpus/packing.py`."""


@dataclass(frozen=True, slots=True)
class AuthorityRow:
    """One CA of the hub, with its key."""

    serial: str
    phase: str
    cert_pem: bytes
    key_pem: bytes = field(repr=False)
    phase_since: float
    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a listing."""

    rows: tuple[T, ...]
    next_token: str
    """For the page after this one; empty: this was the last."""
