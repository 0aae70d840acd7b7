"""What an installation is made of, checked: nothing that could become more than a string gets through."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from arbora.errors import InvalidInput
from arbora.identity.names import check_name
from arbora.version import __version__
from arbora_agent.manifest.names import DEFAULT_NAMESPACE

MARKS = ("taint", "condition")

_HUB = re.compile(r"(?:[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}")
_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,512}")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")
_GROUP = re.compile(r"core|[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_RESOURCE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ROLE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9:._-]{0,251}[A-Za-z0-9_-])?")
_ACCOUNT = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ManifestSettings:
    """What an installation is made of."""

    hub: str
    """The hub's join address, HOST:PORT."""
    join_token: str = field(repr=False)
    image: str = f"arbora-agent:{__version__}"
    name: str = ""
    """The member's name; empty for the one in the join token."""
    allow_tokens: tuple[str, ...] = ()
    """`namespace/serviceaccount`, or `namespace/*`, whose tokens the agent may mint; nobody else's."""
    allow_roles: tuple[str, ...] = ()
    """`namespace/role`: roles that exist and may be bound to such accounts."""
    allow_cluster_roles: tuple[str, ...] = ()
    """Cluster roles that exist and may be bound to such accounts for the whole cluster."""
    allow_rules_of: str = ""
    """The cluster role that bounds what new roles may allow, which the agent then is allowed itself."""
    grants: tuple[str, ...] = ()
    """`group/resource` that workloads may hold beyond WORKLOAD_KINDS; the core group is `core`."""
    namespace: str = DEFAULT_NAMESPACE
    node_agents: bool = True
    """An agent on every node with NVIDIA GPUs, which reads what the devices say."""
    runtime_class: str = "nvidia"
    """The RuntimeClass that gives a container the driver's library; empty where the default one does."""
    kernel_log: bool = False
    """Node agents look for earlier GPU errors in the kernel log, for which they need CAP_SYSLOG as root."""
    pod_resources: bool = False
    """Node agents ask the kubelet which pods hold which GPUs, for which they need its socket and to be root."""
    metrics: bool = False
    """Prometheus may read both kinds of agents, without a password."""
    mark_nodes: tuple[str, ...] = ()
    """What the agent may show on nodes whose GPUs are not well, of MARKS."""

    @property
    def root(self) -> bool:
        """Whether node agents run as root."""
        return self.node_agents and (self.kernel_log or self.pod_resources)

    @property
    def grants_rights(self) -> bool:
        """Whether roles may come with a token."""
        return bool(self.allow_roles or self.allow_cluster_roles or self.allow_rules_of)


def check(settings: ManifestSettings) -> None:
    """Raises InvalidInput naming the first setting that can't be used; `accounts` and `grant` check the rest."""
    _match(_HUB, settings.hub, "hub", "Give the hub's join address, such as hub.example.org:7444.")
    _match(_TOKEN, settings.join_token, "join_token", "Make one with `arbora join-token create`.", secret=True)
    _match(_IMAGE, settings.image, "image", "Give an image reference, such as arbora-agent:1.0.")
    check_name(settings.namespace, "namespace")
    if settings.name:
        check_name(settings.name, "name")
    if settings.runtime_class:
        check_name(settings.runtime_class, "runtime_class")
    named = [("allow_cluster_roles", each) for each in settings.allow_cluster_roles]
    if settings.allow_rules_of:
        named.append(("allow_rules_of", settings.allow_rules_of))
    for where, role in named:
        _match(_ROLE, role, where, "Name a cluster role that exists, such as view. There are no wildcards.")
    for mark in settings.mark_nodes:
        if mark not in MARKS:
            raise InvalidInput(
                f"{mark!r} can't be shown on a node", field="mark_nodes", hint=f"Choose of {', '.join(MARKS)}."
            )


def accounts(allow_tokens: Iterable[str]) -> dict[str, list[str]]:
    """Allowed service accounts by namespace, sorted; `*` alone where all are. Raises InvalidInput."""
    found: dict[str, set[str]] = {}
    for entry in allow_tokens:
        namespace, _, account = entry.partition("/")
        if account != "*" and not _ACCOUNT.fullmatch(account):
            raise InvalidInput(f"{entry!r} is not namespace/serviceaccount", field="allow_tokens")
        found.setdefault(check_name(namespace, "allow_tokens"), set()).add(account)
    return {name: ["*"] if "*" in found[name] else sorted(found[name]) for name in sorted(found)}


def roles(allow_roles: Iterable[str]) -> dict[str, list[str]]:
    """Roles that may be bound by namespace, sorted. Raises InvalidInput."""
    found: dict[str, set[str]] = {}
    for entry in allow_roles:
        namespace, _, role = entry.partition("/")
        _match(
            _ROLE, role, "allow_roles", "Name a role that exists, such as team/runner. There are no wildcards."
        )
        found.setdefault(check_name(namespace, "allow_roles"), set()).add(role)
    return {namespace: sorted(found[namespace]) for namespace in sorted(found)}


def grant(text: str) -> tuple[str, str]:
    """API group and resource. Raises InvalidInput."""
    group, _, resource = text.partition("/")
    if not _GROUP.fullmatch(group) or not _RESOURCE.fullmatch(resource):
        raise InvalidInput(
            f"{text!r} is not group/resource",
            field="grants",
            hint="Name one resource, such as core/secrets or kueue.x-k8s.io/localqueues. There are no wildcards.",
        )
    return ("" if group == "core" else group), resource


def _match(form: re.Pattern[str], text: str, field_name: str, hint: str, *, secret: bool = False) -> None:
    if not form.fullmatch(text):
        shown = "the value" if secret else repr(text[:80])
        raise InvalidInput(f"{shown} can't be used", field=field_name, hint=hint)
