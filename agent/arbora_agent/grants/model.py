"""What a grant asks for, as plain data. Pure."""

from __future__ import annotations

from dataclasses import dataclass

ACCOUNT = "ServiceAccountFoundOrCreated"
ROLE = "RoleFoundOrCreated"
CLUSTER_ROLE = "ClusterRoleFoundOrCreated"
ROLE_BINDING = "RoleBindingCreated"
CLUSTER_ROLE_BINDING = "ClusterRoleBindingCreated"
STEPS = (ACCOUNT, ROLE, CLUSTER_ROLE, ROLE_BINDING, CLUSTER_ROLE_BINDING)
"""Types of GrantStep, in the order in which they are done; an error's `field` names the one that failed."""

FOUND, CREATED, NOTHING_ASKED = "Found", "Created", "NothingAsked"
"""Reasons of a GrantStep."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a role, as in rbac.authorization.k8s.io/v1."""

    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskedRole:
    """A role that is asked for. Without rules it must exist."""

    namespace: str
    """Empty: a cluster role."""
    name: str
    rules: tuple[Rule, ...] = ()

    @property
    def step(self) -> str:
        """The type of the step that finds or makes it."""
        return ROLE if self.namespace else CLUSTER_ROLE

    def __str__(self) -> str:
        return f"Role {self.namespace}/{self.name}" if self.namespace else f"ClusterRole {self.name}"


@dataclass(frozen=True, slots=True)
class Grant:
    """Roles for one service account, under one id."""

    id: str
    namespace: str
    service_account: str
    roles: tuple[AskedRole, ...] = ()
    cluster_roles: tuple[AskedRole, ...] = ()
    requester: str = ""

    @property
    def asked(self) -> tuple[AskedRole, ...]:
        """Roles of both kinds."""
        return (*self.roles, *self.cluster_roles)


@dataclass(frozen=True, slots=True)
class Step:
    """What was done for one part of a grant."""

    type: str
    """One of STEPS."""
    reason: str
    message: str
