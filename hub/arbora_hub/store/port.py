"""The port `Store`: what the hub needs of a durable store, one interface for each noun.

A caller passes a function; it gets a transaction with the nouns on it, and may run again or never: it
changes nothing but the transaction, waits for nothing else, and keeps no reference to it afterwards.

    async def write(tx: WriteTx) -> int:
        return await tx.children.bump_epoch("edge-7")

    epoch = await store.write(write)      # durable from here on

Adapters: `sqlite.py`. `tests/contract/store.py` says what each adapter does.
Every method raises StorageFailed where the store can't read or write now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import ClassVar, Protocol, TypeVar

from arbora.errors import StorageFailed
from arbora_hub.store.rows import (
    AccessRow,
    AssignmentRow,
    AuditRow,
    AuthorityRow,
    ChildRow,
    EventRow,
    GpuHistoryRow,
    JoinTokenRow,
    Page,
    WorkloadRow,
)

T = TypeVar("T")

AUDIT_FLOOR = 100_000
"""The newest audit entries are kept up to this many, whatever a caller asks for."""


class StoreDamaged(StorageFailed):
    """What the store holds can't be read; a repetition does not help."""

    retryable: ClassVar[bool] = False


class ReadChildren(Protocol):
    """Children, evicted ones too."""

    async def get(self, name: str) -> ChildRow | None:
        """The child `name`."""

    async def by_cluster(self, cluster_uid: str) -> ChildRow | None:
        """The active child whose cluster has this UID; none for an empty UID."""

    async def list(self) -> tuple[ChildRow, ...]:
        """All, in the order of their names."""


class Children(ReadChildren, Protocol):
    """Children."""

    async def put(self, row: ChildRow) -> None:
        """Add it, or replace the one of its name."""

    async def delete(self, name: str) -> bool:
        """Remove it and its assignments; False if there is none."""

    async def bump_epoch(self, name: str) -> int:
        """Raise the child's session epoch by one and give the new one back. Raises NotFound."""

    async def set_serials(self, name: str, current: str, new: str, cert_not_after: float) -> None:
        """Set the child's certificates. Raises NotFound."""

    async def save_last(self, statuses: Mapping[str, bytes], now: float) -> None:
        """Save what children last reported, by name, as of `now`; names that are gone are left out."""


class ReadJoinTokens(Protocol):
    """Join tokens."""

    async def get(self, token_id: str) -> JoinTokenRow | None:
        """The token with this id."""

    async def list(self) -> tuple[JoinTokenRow, ...]:
        """All, in the order of their expiry."""


class JoinTokens(ReadJoinTokens, Protocol):
    """Join tokens."""

    async def put(self, row: JoinTokenRow) -> None:
        """Add it, or replace the one of its id."""

    async def delete(self, token_id: str) -> bool:
        """Remove it; False if there is none."""

    async def delete_expired(self, before: float) -> int:
        """Remove those that expired before a time; gives their number."""


class ReadAccess(Protocol):
    """Clients' accesses."""

    async def get(self, name: str) -> AccessRow | None:
        """The access `name`."""

    async def by_id(self, access_id: str) -> AccessRow | None:
        """The access with this id."""

    async def list(self) -> tuple[AccessRow, ...]:
        """All, in the order of their names."""


class Access(ReadAccess, Protocol):
    """Clients' accesses."""

    async def put(self, row: AccessRow) -> None:
        """Add it, or replace the one of its name. Raises Conflict if another name has its id."""

    async def delete(self, name: str) -> bool:
        """Remove it; False if there is none."""


class ReadWorkloads(Protocol):
    """Workloads."""

    async def get(self, uid: str) -> WorkloadRow | None:
        """The workload with this uid."""

    async def by_name(self, name: str) -> WorkloadRow | None:
        """The workload `name`."""

    async def list(self) -> tuple[WorkloadRow, ...]:
        """All, in the order of their names."""


class Workloads(ReadWorkloads, Protocol):
    """Workloads."""

    async def put(self, row: WorkloadRow) -> None:
        """Add it, or replace the one of its uid. Raises Conflict if another uid has its name."""

    async def put_many(self, rows: Iterable[WorkloadRow]) -> None:
        """Put several. Raises Conflict as `put` does, and then none of them is kept."""

    async def delete(self, uid: str) -> bool:
        """Remove it and its assignments; False if there is none."""


class ReadAssignments(Protocol):
    """Assignments."""

    async def get(self, uid: str, child: str) -> AssignmentRow | None:
        """The assignment of a workload to a child."""

    async def list(self, *, uid: str | None = None, child: str | None = None) -> tuple[AssignmentRow, ...]:
        """All, or those of one workload or one child, in the order of (uid, child)."""


class Assignments(ReadAssignments, Protocol):
    """Assignments."""

    async def put(self, row: AssignmentRow) -> None:
        """Add it, or replace the one of its key but keep that one's status.

        Raises Conflict if its workload or child does not exist.
        """

    async def put_many(self, rows: Iterable[AssignmentRow]) -> None:
        """`put` for each of them."""

    async def save_statuses(self, statuses: Mapping[tuple[str, str], bytes]) -> None:
        """Save what children last reported, by (uid, child); keys that are gone are left out."""

    async def delete(self, uid: str, child: str) -> bool:
        """Remove it; False if there is none."""

    async def delete_many(self, keys: Iterable[tuple[str, str]]) -> None:
        """Remove those with these (uid, child); keys that are gone are left out."""


class ReadEvents(Protocol):
    """Events."""

    async def list(self, *, subject: str = "", page_size: int = 0, page_token: str = "") -> Page[EventRow]:
        """A page of them, newest first.

        subject: only those about it or about what lies below it (`member/a` takes `member/a/b`, not
        `member/ab`); empty: all. page_size: 0 is 100, at most 1000. Raises InvalidInput for a wrong page_token.
        """


class Events(ReadEvents, Protocol):
    """Events."""

    async def add(self, row: EventRow) -> None:
        """Add it. One whose id is there already is left as it is, so that a repetition does no harm."""

    async def add_many(self, rows: Iterable[EventRow]) -> None:
        """`add` for each of them."""

    async def trim(self, keep: int) -> int:
        """Remove all but the newest `keep`; gives the number removed."""


class ReadAudit(Protocol):
    """The audit log."""

    async def list(self, *, subject: str = "", page_size: int = 0, page_token: str = "") -> Page[AuditRow]:
        """A page of it, as `ReadEvents.list`."""


class Audit(ReadAudit, Protocol):
    """The audit log."""

    async def add(self, row: AuditRow) -> None:
        """Add an entry. One whose id is there already is left as it is."""

    async def add_many(self, rows: Iterable[AuditRow]) -> None:
        """Add several."""

    async def trim(self, keep: int) -> int:
        """Remove all but the newest `keep`, but never one of the newest AUDIT_FLOOR; gives the number removed."""


class ReadGpuHistory(Protocol):
    """Minutes of members' GPUs."""

    async def list(self, child: str, since: int) -> tuple[GpuHistoryRow, ...]:
        """The minutes of one child from `since` on, oldest first."""


class GpuHistory(ReadGpuHistory, Protocol):
    """Minutes of members' GPUs."""

    async def add_many(self, rows: Iterable[GpuHistoryRow]) -> None:
        """Add them; a minute that is there is left as it is. Raises Conflict if a child does not exist."""

    async def trim(self, before: int) -> int:
        """Remove the minutes before `before`, of all children; gives the number removed."""


class ReadAuthority(Protocol):
    """The hub's CAs."""

    async def list(self) -> tuple[AuthorityRow, ...]:
        """All, oldest first."""


class Authority(ReadAuthority, Protocol):
    """The hub's CAs."""

    async def replace_all(self, rows: Iterable[AuthorityRow]) -> None:
        """Put these in the place of all that are there."""


class ReadSettings(Protocol):
    """Single values."""

    async def items(self, prefix: str) -> Mapping[str, bytes]:
        """All whose keys begin with `prefix`, in the order of the keys."""

    async def get(self, key: str) -> bytes | None:
        """The value of `key`."""


class Settings(ReadSettings, Protocol):
    """Single values."""

    async def put(self, key: str, value: bytes) -> None:
        """Set it."""

    async def delete(self, key: str) -> bool:
        """Remove it; False if it is not set."""


class ReadTx(Protocol):
    """Everything as of one moment."""

    @property
    def children(self) -> ReadChildren:
        """Children."""

    @property
    def join_tokens(self) -> ReadJoinTokens:
        """Join tokens."""

    @property
    def access(self) -> ReadAccess:
        """Clients' accesses."""

    @property
    def workloads(self) -> ReadWorkloads:
        """Workloads."""

    @property
    def assignments(self) -> ReadAssignments:
        """Assignments."""

    @property
    def events(self) -> ReadEvents:
        """Events."""

    @property
    def audit(self) -> ReadAudit:
        """The audit log."""

    @property
    def gpu_history(self) -> ReadGpuHistory:
        """Minutes of members' GPUs."""

    @property
    def authority(self) -> ReadAuthority:
        """The hub's CAs."""

    @property
    def settings(self) -> ReadSettings:
        """Single values."""


class WriteTx(Protocol):
    """A transaction: all of its changes are kept, or none."""

    @property
    def children(self) -> Children:
        """Children."""

    @property
    def join_tokens(self) -> JoinTokens:
        """Join tokens."""

    @property
    def access(self) -> Access:
        """Clients' accesses."""

    @property
    def workloads(self) -> Workloads:
        """Workloads."""

    @property
    def assignments(self) -> Assignments:
        """Assignments."""

    @property
    def events(self) -> Events:
        """Events."""

    @property
    def audit(self) -> Audit:
        """The audit log."""

    @property
    def gpu_history(self) -> GpuHistory:
        """Minutes of members' GPUs."""

    @property
    def authority(self) -> Authority:
        """The hub's CAs."""

    @property
    def settings(self) -> Settings:
        """Single values."""


class Store(Protocol):
    """A durable store."""

    async def write(self, fn: Callable[[WriteTx], Awaitable[T]]) -> T:
        """Run `fn` in a transaction; its result, once everything it changed is durable.

        One writes at a time, in the order of the calls. If `fn` raises, nothing of it is kept and its error is
        raised here. Raises StorageFailed, and nothing is kept, if the store can't write now. If the
        caller is cancelled, `fn` takes effect as a whole or not at all.
        """

    async def read(self, fn: Callable[[ReadTx], Awaitable[T]]) -> T:
        """Run `fn` over one snapshot, which holds every write that was answered before; gives its result."""

    async def close(self) -> None:
        """Finish the writes that wait, refuse new ones, let go of everything. Can be repeated."""
