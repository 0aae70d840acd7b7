"""The rights for grants: what the member's operator allows to be granted, and nothing else.

Accounts, namespaces and the ledger need nothing here: a workload may hold these kinds already (`rights.py`).

    --allow-role NS/NAME       in that namespace: bind this one role
    --allow-cluster-role NAME  bind this one cluster role
    --allow-rules-of NAME      make roles and bind them; the agent is bound to NAME itself, so that Kubernetes'
                               own check against escalation stops it where that one's rules end

With any of these: bindings are listed, to find those of a grant whose entry in the ledger is lost.

Who may not bind, can't be made to bind: `bind` is always by name, and `escalate` is never given.
"""

from __future__ import annotations

from arbora_agent.manifest.names import CEILING, GRANTS
from arbora_agent.manifest.objects import RBAC, Object, binding, make
from arbora_agent.manifest.rights import Rule, rule
from arbora_agent.manifest.settings import ManifestSettings, roles

_GROUP = "rbac.authorization.k8s.io"
_MAKE = ("get", "create", "delete")


def grants(settings: ManifestSettings) -> list[Object]:
    """The objects; none if nothing may be granted. Raises InvalidInput."""
    own = settings.namespace
    objects: list[Object] = []
    rules = _cluster_rules(settings)
    if rules:
        objects.append(make(RBAC, "ClusterRole", GRANTS, rules=rules))
        objects.append(binding("ClusterRoleBinding", "ClusterRole", GRANTS, "", own))
    if settings.allow_rules_of:
        bound = binding("ClusterRoleBinding", "ClusterRole", settings.allow_rules_of, "", own)
        bound["metadata"]["name"] = CEILING
        objects.append(bound)
    for namespace, names in roles(settings.allow_roles).items():
        inside = [
            rule(_GROUP, ("roles",), ("get", "bind"), names),
            rule(_GROUP, ("rolebindings",), _MAKE),
        ]
        objects.append(make(RBAC, "Role", GRANTS, namespace, rules=inside))
        objects.append(binding("RoleBinding", "Role", GRANTS, namespace, own))
    return objects


def _cluster_rules(settings: ManifestSettings) -> list[Rule]:
    rules = []
    if settings.allow_cluster_roles:
        names = sorted(set(settings.allow_cluster_roles))
        rules.append(rule(_GROUP, ("clusterroles",), ("get", "bind"), names))
    if settings.allow_rules_of:
        rules.append(rule(_GROUP, ("roles", "rolebindings", "clusterroles"), _MAKE))
    if settings.allow_cluster_roles or settings.allow_rules_of:
        rules.append(rule(_GROUP, ("clusterrolebindings",), _MAKE))
    if settings.grants_rights:
        rules.append(rule(_GROUP, ("rolebindings", "clusterrolebindings"), ("list",)))
    return rules
