"""The objects of a grant: which ones, under which names, and what of an existing one says that it is right. Pure.

A binding is named `arbora.<grant id>.<role>`: the id has no dots, so the first two delimit it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arbora.manifests.objects import Gvk, Manifest, ObjectRef
from arbora_agent.cluster import rights
from arbora_agent.cluster.rights import Standing
from arbora_agent.grants import covering, model
from arbora_agent.grants.model import AskedRole, Grant, Rule

_RBAC_GROUP = "rbac.authorization.k8s.io"
STEP_OF = {
    rights.NAMESPACE: model.ACCOUNT,
    rights.SERVICE_ACCOUNT: model.ACCOUNT,
    rights.ROLE: model.ROLE,
    rights.CLUSTER_ROLE: model.CLUSTER_ROLE,
    rights.ROLE_BINDING: model.ROLE_BINDING,
    rights.CLUSTER_ROLE_BINDING: model.CLUSTER_ROLE_BINDING,
}
"""The step that an object belongs to, by its kind."""


@dataclass(frozen=True, slots=True)
class Part:
    """One object that a grant needs."""

    ref: ObjectRef
    manifest: Manifest | None
    """What is made if it is not there; None: it has to be there."""
    rules: tuple[Rule, ...] = ()
    """Of a role that is asked for with rules."""

    @property
    def step(self) -> str:
        """The type of its step."""
        return STEP_OF[self.ref.gvk]

    @property
    def is_binding(self) -> bool:
        """Whether it belongs to this grant alone."""
        return self.ref.gvk in (rights.ROLE_BINDING, rights.CLUSTER_ROLE_BINDING)


def parts_of(grant: Grant) -> tuple[Part, ...]:
    """Everything that the grant needs, in the order in which it is made."""
    home = _made(rights.NAMESPACE, "", grant.namespace, grant.id)
    account = _made(rights.SERVICE_ACCOUNT, grant.namespace, grant.service_account, grant.id)
    return (
        home,
        account,
        *(_role(each, grant.id) for each in grant.asked),
        *(_binding(each, grant) for each in grant.asked),
    )


def difference(part: Part, found: Standing, grant_id: str) -> str:
    """What is wrong with the object that is there, in words; empty if it is what the part needs."""
    # What an aggregated cluster role says now is what others make of it tomorrow.
    aggregated = found.body.get("aggregationRule") is not None
    if part.rules and (aggregated or not covering.same(part.rules, rules_of(found))):
        return f"{part.ref} exists with other rules"
    if not part.is_binding or part.manifest is None:
        return ""
    if found.grant != grant_id:
        return f"{part.ref} exists and does not belong to the grant {grant_id}"
    said = (_subjects(found.body), _role_ref(found.body))
    if said != (_subjects(part.manifest), _role_ref(part.manifest)):
        return f"{part.ref} was changed and binds something else"
    return ""


def is_binding_of(id: str, ref: ObjectRef) -> bool:
    """Whether a binding has a name that only this grant gives."""
    return ref.name.startswith(_binding_name(id, ""))


def rules_of(role: Standing) -> tuple[Rule, ...]:
    """The rules of a role that is there."""
    return tuple(
        Rule(
            tuple(rule.get("apiGroups") or ()),
            tuple(rule.get("resources") or ()),
            tuple(rule.get("verbs") or ()),
            tuple(rule.get("resourceNames") or ()),
            tuple(rule.get("nonResourceURLs") or ()),
        )
        for rule in role.body.get("rules") or ()
    )


def _role(asked: AskedRole, grant_id: str) -> Part:
    gvk = rights.ROLE if asked.namespace else rights.CLUSTER_ROLE
    if not asked.rules:
        return Part(ObjectRef(gvk, asked.namespace, asked.name), None)
    rules = [_rule(each) for each in asked.rules]
    return _made(gvk, asked.namespace, asked.name, grant_id, asked.rules, rules=rules)


def _binding(asked: AskedRole, grant: Grant) -> Part:
    gvk, role = (
        (rights.ROLE_BINDING, rights.ROLE)
        if asked.namespace
        else (rights.CLUSTER_ROLE_BINDING, rights.CLUSTER_ROLE)
    )
    return _made(
        gvk,
        asked.namespace,
        _binding_name(grant.id, asked.name),
        grant.id,
        roleRef={"apiGroup": _RBAC_GROUP, "kind": role.kind, "name": asked.name},
        subjects=[{"kind": "ServiceAccount", "name": grant.service_account, "namespace": grant.namespace}],
    )


def _binding_name(id: str, role: str) -> str:
    return f"arbora.{id}.{role}"


def _made(
    gvk: Gvk, namespace: str, name: str, grant_id: str, asked: tuple[Rule, ...] = (), **rest: object
) -> Part:
    metadata: dict[str, Any] = {"name": name, "labels": {rights.LABEL_GRANT: grant_id}}
    if namespace:
        metadata["namespace"] = namespace
    manifest = {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": metadata, **rest}
    return Part(ObjectRef(gvk, namespace, name), manifest, asked)


def _rule(rule: Rule) -> dict[str, Sequence[str]]:
    written = {
        "apiGroups": rule.api_groups,
        "resources": rule.resources,
        "verbs": rule.verbs,
        "resourceNames": rule.resource_names,
        "nonResourceURLs": rule.non_resource_urls,
    }
    return {field: list(values) for field, values in written.items() if values}


def _subjects(body: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (str(each.get("kind")), str(each.get("namespace", "")), str(each.get("name")))
        for each in body.get("subjects") or ()
    }


def _role_ref(body: Mapping[str, Any]) -> tuple[str, str]:
    named = body.get("roleRef") or {}
    return str(named.get("kind")), str(named.get("name"))
