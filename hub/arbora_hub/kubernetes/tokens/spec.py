"""What an AuthTokenRequest asks for, read from the object. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arbora.errors import InvalidInput
from arbora.identity.names import check_name
from arbora.v1 import credential_pb2 as pb

PROFILE_GROUP, PROFILE_KIND = "multicluster.x-k8s.io", "ClusterProfile"
DEFAULT_SECONDS = 3600
MIN_SECONDS, MAX_SECONDS = 600, 24 * 3600
DEFAULT_FRACTION = 0.8
MIN_FRACTION, MAX_FRACTION = 0.1, 0.95

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """One request."""

    profile: str
    """Name of the ClusterProfile, in the request's own namespace."""
    account_namespace: str
    account: str
    roles: tuple[pb.AskedRole, ...] = ()
    cluster_roles: tuple[pb.AskedRole, ...] = ()
    audiences: tuple[str, ...] = ()
    seconds: int = DEFAULT_SECONDS
    fraction: float = DEFAULT_FRACTION
    """Of the token's actual life after which it is renewed."""
    secret: str = ""
    """Name of the Secret."""

    def grant(self, uid: str) -> pb.Grant:
        """The rights, under the id that stands for the request with this uid."""
        return pb.Grant(id=grant_id(uid), roles=self.roles, cluster_roles=self.cluster_roles)


def grant_id(uid: str) -> str:
    """The id of a request's grant in the member."""
    return f"atr-{uid}"


def read_spec(body: Raw) -> RequestSpec:
    """From the object; what the CRD's schema checks is checked again where we rely on it. Raises InvalidInput."""
    spec: Raw = body.get("spec") or {}
    namespace = str(body["metadata"].get("namespace", ""))
    target: Raw = spec.get("targetClusterProfile") or {}
    if (target.get("apiGroup", PROFILE_GROUP), target.get("kind", PROFILE_KIND)) != (PROFILE_GROUP, PROFILE_KIND):
        raise InvalidInput(
            f"is no {PROFILE_KIND} of {PROFILE_GROUP}", field="spec.targetClusterProfile", hint="Name one."
        )
    if target.get("namespace", namespace) != namespace:
        # who may ask in a namespace may ask for what was published into it, and nothing else
        raise InvalidInput(
            f"lies in {target['namespace']}, and the request in {namespace}",
            field="spec.targetClusterProfile.namespace",
            hint="Make the request in the namespace of the profile.",
        )
    seconds = int(spec.get("expirationSeconds", DEFAULT_SECONDS))
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise InvalidInput(f"is not {MIN_SECONDS} to {MAX_SECONDS}", field="spec.expirationSeconds")
    fraction = float(spec.get("rotateAtFraction", DEFAULT_FRACTION))
    if not MIN_FRACTION <= fraction <= MAX_FRACTION:
        raise InvalidInput(f"is not {MIN_FRACTION} to {MAX_FRACTION}", field="spec.rotateAtFraction")
    account = str(spec.get("serviceAccountName") or "")
    if not account:
        raise InvalidInput("is missing", field="spec.serviceAccountName")
    return RequestSpec(
        profile=str(target.get("name") or ""),
        account_namespace=check_name(
            str(spec.get("serviceAccountNamespace") or "default"), "spec.serviceAccountNamespace"
        ),
        account=account,
        roles=tuple(
            _role(each, f"spec.roles[{index}]", namespaced=True)
            for index, each in enumerate(spec.get("roles") or ())
        ),
        cluster_roles=tuple(
            _role(each, f"spec.clusterRoles[{index}]", namespaced=False)
            for index, each in enumerate(spec.get("clusterRoles") or ())
        ),
        audiences=tuple(map(str, spec.get("audiences") or ())),
        seconds=seconds,
        fraction=fraction,
        secret=str(spec.get("secretName") or body["metadata"]["name"]),
    )


def _role(each: Raw, field: str, *, namespaced: bool) -> pb.AskedRole:
    if not each.get("name"):
        raise InvalidInput("is missing", field=f"{field}.name")
    if namespaced and not each.get("namespace"):
        raise InvalidInput("is missing", field=f"{field}.namespace")
    return pb.AskedRole(
        namespace=str(each["namespace"]) if namespaced else "",
        name=str(each["name"]),
        rules=[_rule(rule) for rule in each.get("rules") or ()],
    )


def _rule(rule: Raw) -> pb.PolicyRule:
    return pb.PolicyRule(
        api_groups=_texts(rule, "apiGroups"),
        resources=_texts(rule, "resources"),
        verbs=_texts(rule, "verbs"),
        resource_names=_texts(rule, "resourceNames"),
        non_resource_urls=_texts(rule, "nonResourceURLs"),
    )


def _texts(rule: Raw, key: str) -> Sequence[str]:
    return [str(each) for each in rule.get(key) or ()]
