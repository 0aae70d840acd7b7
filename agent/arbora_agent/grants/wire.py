"""Grants from and to credential.proto. Pure.

What comes in is checked here once, as a hub may be older than its checks, or hostile.
"""

from __future__ import annotations

from collections.abc import Sequence

from arbora.errors import InvalidInput
from arbora.identity.names import check_name
from arbora.v1 import credential_pb2 as pb
from arbora_agent.grants import covering
from arbora_agent.grants.ledger import Ledger
from arbora_agent.grants.model import AskedRole, Grant, Rule, Step

MAX_ROLES = 20
"""Of each kind in one grant."""
MAX_RULES = 50
"""Of one role."""
_MAX_NAME = 253


def grant_from_wire(request: pb.TokenRequest) -> Grant:
    """What a token request asks for beside the token. Raises InvalidInput naming the field."""
    asked = request.grant
    check_name(asked.id, "grant.id")
    check_name(request.namespace, "namespace")
    if not request.service_account or len(request.service_account) > _MAX_NAME:
        raise InvalidInput("is missing or too long", field="service_account")
    roles = _roles(asked.roles, "grant.roles", namespaced=True)
    cluster_roles = _roles(asked.cluster_roles, "grant.cluster_roles", namespaced=False)
    rights = sum(covering.size(rule) for role in (*roles, *cluster_roles) for rule in role.rules)
    if rights > covering.MAX_RIGHTS:
        raise InvalidInput(
            f"the rules come to {rights} single rights, at most {covering.MAX_RIGHTS}",
            field="grant",
            hint="Use wildcards, or a role that exists.",
        )
    return Grant(
        asked.id, request.namespace, request.service_account, roles, cluster_roles, request.requester[:_MAX_NAME]
    )


def steps_to_wire(steps: Sequence[Step]) -> list[pb.GrantStep]:
    """What was done."""
    return [pb.GrantStep(type=step.type, reason=step.reason, message=step.message) for step in steps]


def grants_to_wire(ledger: Ledger) -> list[pb.GrantInfo]:
    """All grants, in the order of their ids."""
    return [
        pb.GrantInfo(
            id=id,
            namespace=entry.grant.namespace,
            service_account=entry.grant.service_account,
            roles=[pb.AskedRole(namespace=each.namespace, name=each.name) for each in entry.grant.roles],
            cluster_roles=[pb.AskedRole(name=each.name) for each in entry.grant.cluster_roles],
            requester=entry.grant.requester,
            made=ledger.made_for(id),
        )
        for id, entry in sorted(ledger.entries.items())
    ]


def _roles(asked: Sequence[pb.AskedRole], field: str, *, namespaced: bool) -> tuple[AskedRole, ...]:
    if len(asked) > MAX_ROLES:
        raise InvalidInput(f"has {len(asked)} entries, at most {MAX_ROLES}", field=field)
    roles: dict[tuple[str, str], AskedRole] = {}
    for index, each in enumerate(asked):
        role = _role(each, f"{field}[{index}]", namespaced=namespaced)
        if (role.namespace, role.name) in roles:
            raise InvalidInput(
                f"asks for the {role} again", field=f"{field}[{index}]", hint="Name each role once."
            )
        roles[(role.namespace, role.name)] = role
    return tuple(roles.values())


def _role(asked: pb.AskedRole, where: str, *, namespaced: bool) -> AskedRole:
    if namespaced:
        check_name(asked.namespace, f"{where}.namespace")
    elif asked.namespace:
        raise InvalidInput("has a namespace, but is one for the whole cluster", field=f"{where}.namespace")
    if not asked.name or len(asked.name) > _MAX_NAME:
        raise InvalidInput("is missing or too long", field=f"{where}.name")
    if len(asked.rules) > MAX_RULES:
        raise InvalidInput(f"has {len(asked.rules)} entries, at most {MAX_RULES}", field=f"{where}.rules")
    rules = tuple(_rule(rule) for rule in asked.rules)
    for index, rule in enumerate(rules):
        wrong = covering.wrong(rule, namespaced=namespaced)
        if wrong:
            raise InvalidInput(wrong, field=f"{where}.rules[{index}]")
    return AskedRole(asked.namespace, asked.name, rules)


def _rule(rule: pb.PolicyRule) -> Rule:
    return Rule(
        tuple(rule.api_groups),
        tuple(rule.resources),
        tuple(rule.verbs),
        tuple(rule.resource_names),
        tuple(rule.non_resource_urls),
    )
