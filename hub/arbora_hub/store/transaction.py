"""A transaction as the port shows it: the nouns, over one transaction's statements.

The same class serves reads and writes; a reader's connection refuses changes by itself (`sqlite.py`).
"""

from __future__ import annotations

from arbora_hub.store.access import SqlAccess
from arbora_hub.store.assignments import SqlAssignments
from arbora_hub.store.audit import SqlAudit
from arbora_hub.store.authority import SqlAuthority
from arbora_hub.store.children import SqlChildren
from arbora_hub.store.events import SqlEvents
from arbora_hub.store.gpu_history import SqlGpuHistory
from arbora_hub.store.join_tokens import SqlJoinTokens
from arbora_hub.store.settings import SqlSettings
from arbora_hub.store.statements import Statements
from arbora_hub.store.workloads import SqlWorkloads


class SqlTransaction:
    """`port.WriteTx` and `port.ReadTx` in SQL."""

    __slots__ = (
        "access",
        "assignments",
        "audit",
        "authority",
        "children",
        "events",
        "gpu_history",
        "join_tokens",
        "settings",
        "workloads",
    )

    def __init__(self, statements: Statements) -> None:
        self.children = SqlChildren(statements)
        self.join_tokens = SqlJoinTokens(statements)
        self.access = SqlAccess(statements)
        self.workloads = SqlWorkloads(statements)
        self.assignments = SqlAssignments(statements)
        self.events = SqlEvents(statements)
        self.audit = SqlAudit(statements)
        self.gpu_history = SqlGpuHistory(statements)
        self.authority = SqlAuthority(statements)
        self.settings = SqlSettings(statements)
