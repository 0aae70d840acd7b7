"""Grants on the command line: which roles are asked for, under which id, and how grants look. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from arbora.cli.lines import Column
from arbora.errors import InvalidInput
from arbora.v1 import credential_pb2 as pb

_HASH = 8
_LABEL = 63


def asked_grant(id: str, roles: Iterable[str], cluster_roles: Iterable[str]) -> pb.Grant:
    """roles: namespace/name. Raises InvalidInput naming the option."""
    grant = pb.Grant(id=id)
    for text in roles:
        namespace, _, name = text.partition("/")
        if not namespace or not name or "/" in name:
            raise InvalidInput(
                f"{text!r} is not namespace/role",
                field="--role",
                hint="Name the namespace, too, such as team/reader. A cluster role goes with --cluster-role.",
            )
        grant.roles.add(namespace=namespace, name=name)
    for name in cluster_roles:
        if "/" in name or not name:
            raise InvalidInput(
                f"{name!r} is not the name of a cluster role",
                field="--cluster-role",
                hint="A role of a namespace is asked for with --role.",
            )
        grant.cluster_roles.add(name=name)
    return grant


def grant_id(namespace: str, service_account: str, caller: str) -> str:
    """The same for the same account and caller, and another for any other: a DNS label that begins readably."""
    digest = hashlib.sha256("\0".join((namespace, service_account, caller)).encode()).hexdigest()[:_HASH]
    readable = re.sub(r"[^a-z0-9]+", "-", service_account.lower()).strip("-")[: _LABEL - _HASH - 1].strip("-")
    return f"{readable}-{digest}" if readable else f"grant-{digest}"


def account(grant: pb.GrantInfo) -> str:
    """`team/runner`."""
    return f"{grant.namespace}/{grant.service_account}"


def roles(grant: pb.GrantInfo) -> str:
    """`team/reader,view`; `-` if there are none."""
    named = [f"{role.namespace}/{role.name}" for role in grant.roles]
    return _listed([*named, *(role.name for role in grant.cluster_roles)])


def _listed(words: Sequence[str]) -> str:
    return ",".join(words) or "-"


GRANT_COLUMNS: Sequence[Column[pb.GrantInfo]] = (
    Column("ID", lambda grant: grant.id),
    Column("ACCOUNT", account),
    Column("ROLES", roles, long=True),
    Column("REQUESTER", lambda grant: grant.requester or "-", long=True),
    Column("MADE", lambda grant: _listed(grant.made), wide=True),
)
