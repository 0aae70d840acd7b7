"""Which rights may come with a token in this member. The hub can't widen it: it is kept here. Pure.

Beside `allow.py`, which says for whom tokens are minted at all. A refusal names what is missing and the option of
the agent that would allow it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from arbora.errors import InvalidInput, PermissionDenied
from arbora.identity.names import check_name
from arbora_agent.grants import covering
from arbora_agent.grants.model import AskedRole, Grant, Rule

_ROLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,252}")


@dataclass(frozen=True, slots=True)
class GrantPolicy:
    """Roles that may be bound, and how far rules of new ones may go. By default: none."""

    roles: frozenset[tuple[str, str]] = frozenset()
    """(namespace, name) of roles that exist."""
    cluster_roles: frozenset[str] = frozenset()
    """Cluster roles that exist; they are bound for the whole cluster."""
    rules_of: str = ""
    """The cluster role beyond whose rules no new role goes; empty: no new roles."""

    @classmethod
    def parse(cls, roles: Sequence[str], cluster_roles: Sequence[str], rules_of: str) -> GrantPolicy:
        """From texts such as `team/runner`, `viewer`, `edit`. Raises InvalidInput."""
        named = []
        for text in roles:
            namespace, separator, name = text.partition("/")
            if not separator:
                raise InvalidInput(f"{text!r} is not of the form namespace/role", field="allow_roles")
            named.append((check_name(namespace, "allow_roles"), _role_name(name, "allow_roles")))
        return cls(
            frozenset(named),
            frozenset(_role_name(each, "allow_cluster_roles") for each in cluster_roles),
            _role_name(rules_of, "allow_rules_of") if rules_of else "",
        )

    def names(self, role: AskedRole) -> bool:
        """Whether this very role, which exists, may be bound, whatever its rules are."""
        return (role.namespace, role.name) in self.roles if role.namespace else role.name in self.cluster_roles

    def wants_ceiling(self, grant: Grant) -> bool:
        """Whether the rules of the cluster role `rules_of` are needed to judge this grant."""
        return bool(self.rules_of) and any(role.rules for role in grant.asked)

    def check(self, grant: Grant, ceiling: Sequence[Rule] | None) -> None:
        """Raises PermissionDenied, whose `field` is the step; ceiling: rules of `rules_of`, None: not there."""
        for role in grant.asked:
            refusal = self._beyond(role, ceiling) if role.rules else self._unnamed(role)
            if refusal:
                raise PermissionDenied(refusal, field=role.step)

    def _unnamed(self, role: AskedRole) -> str:
        if self.names(role):
            return ""
        return f"the allow-list of this member does not name the {role}; {option_for(role)} would"

    def _beyond(self, role: AskedRole, ceiling: Sequence[Rule] | None) -> str:
        if not self.rules_of:
            return (
                f"the allow-list of this member lets nobody ask for rules, as for the {role}; "
                "--allow-rules-of CLUSTERROLE would, as far as that one's rules go"
            )
        if ceiling is None:
            return f"the ClusterRole {self.rules_of}, which bounds rules here (--allow-rules-of), does not exist"
        right = covering.first_beyond(ceiling, role.rules)
        if right is None:
            return ""
        return (
            f"the {role} would allow: {covering.words(right)}; this goes beyond the rules of the ClusterRole "
            f"{self.rules_of}; --allow-rules-of another one would allow it"
        )


def option_for(role: AskedRole) -> str:
    """The option of the agent that names this role."""
    if role.namespace:
        return f"--allow-role {role.namespace}/{role.name}"
    return f"--allow-cluster-role {role.name}"


def _role_name(text: str, field: str) -> str:
    if not _ROLE_NAME.fullmatch(text):
        raise InvalidInput(
            f"{text[:80]!r} is not the name of a role", field=field, hint="Name one; there are no wildcards."
        )
    return text
