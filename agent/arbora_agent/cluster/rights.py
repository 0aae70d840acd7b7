"""The port `Rights`: what grants need of the cluster. A part of `Cluster`, with the same two errors.

Kinds: Namespace, ServiceAccount, Role, ClusterRole, RoleBinding, ClusterRoleBinding, and no others. Nothing here
is cached or watched: a grant looks, decides and makes. Contract tests: `tests/contract/rights.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from arbora.manifests.objects import Gvk, Manifest, ObjectRef

RBAC = "rbac.authorization.k8s.io/v1"
NAMESPACE = Gvk("v1", "Namespace")
SERVICE_ACCOUNT = Gvk("v1", "ServiceAccount")
ROLE, CLUSTER_ROLE = Gvk(RBAC, "Role"), Gvk(RBAC, "ClusterRole")
ROLE_BINDING, CLUSTER_ROLE_BINDING = Gvk(RBAC, "RoleBinding"), Gvk(RBAC, "ClusterRoleBinding")
KINDS = (NAMESPACE, SERVICE_ACCOUNT, ROLE, CLUSTER_ROLE, ROLE_BINDING, CLUSTER_ROLE_BINDING)
"""In the order in which a grant makes them."""

LABEL_GRANT = "arbora.dev/grant"
"""On every object that was made for a grant: the id of the grant that it was first made for."""
GRANT_LEDGER = "arbora-grants"
"""The ConfigMap of the agent's namespace that holds the ledger."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An object as it is now."""

    uid: str
    body: Mapping[str, Any]

    @property
    def grant(self) -> str:
        """The value of our label; empty: it doesn't carry it."""
        return str((self.body["metadata"].get("labels") or {}).get(LABEL_GRANT, ""))


@dataclass(frozen=True, slots=True)
class Page:
    """What the ledger says, and which state of it that is."""

    data: Mapping[str, str]
    version: str
    """Empty: there is no ledger yet."""


class Rights(Protocol):
    """The port. Every method raises ObjectRejected, ClusterUnavailable."""

    async def look(self, ref: ObjectRef) -> Standing | None:
        """The object as it is now; None: it is not there."""
        ...

    async def make(self, manifest: Manifest) -> Standing:
        """Create an object. One that is there already is left alone: ClusterUnavailable, look again."""
        ...

    async def remove(self, ref: ObjectRef, uid: str) -> None:
        """Delete exactly this object (precondition: its uid), in the background. Gone already is fine."""
        ...

    async def bindings(self, grant: str) -> Mapping[ObjectRef, Standing]:
        """RoleBindings of all namespaces and ClusterRoleBindings that carry our label with exactly this value."""
        ...

    async def ledger(self) -> Page:
        """The ledger as it is now."""
        ...

    async def write(self, page: Page, changes: Mapping[str, str | None]) -> Page:
        """Change keys of the ledger all at once, None removes; stored on return. The result is the new page.

        Raises ClusterUnavailable if somebody changed it since `page`."""
        ...
