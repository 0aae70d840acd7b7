"""Service account tokens: short-lived ones through the TokenRequest API, and whose a given one is.

For: `cluster.py`. Whether a token may be asked for at all is decided by the agent's policy before, and by
the API server's RBAC. A token is never logged or kept here.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from arbora.kubernetes.api import Answer, ApiServer
from arbora.kubernetes.discovery import segment
from arbora.kubernetes.failures import failure
from arbora.secret import Secret
from arbora_agent.cluster.port import ClusterUnavailable, MintedToken, ObjectRejected, ReviewedToken


async def mint(
    api: ApiServer, namespace: str, service_account: str, audiences: Sequence[str], seconds: int
) -> MintedToken:
    """Ask for a token. Raises ObjectRejected (no such account, not allowed), ClusterUnavailable."""
    if not namespace or not service_account:
        raise ObjectRejected("a token needs a namespace and a service account", hint="Name both.")
    spec: dict[str, Any] = {"audiences": list(audiences), "expirationSeconds": seconds}
    answer = await api.request(
        "POST",
        f"/api/v1/namespaces/{segment(namespace)}/serviceaccounts/{segment(service_account)}/token",
        body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
    )
    if not answer.ok:
        subject = f"token of {namespace}/{service_account}"
        raise failure(answer.status, answer.body, subject, answer.retry_after)
    status = answer.body["status"]
    return MintedToken(Secret(status["token"]), lifetime(answer, status["expirationTimestamp"]))


async def review(api: ApiServer, token: Secret, audience: str) -> ReviewedToken:
    """Ask whose token this is. Raises ObjectRejected (no good, or not allowed to ask), ClusterUnavailable.

    API servers from 1.30 on tell the node of the pod that a token is bound to; older ones only the pod.
    """
    spec = {"token": token.reveal(), "audiences": [audience]}
    answer = await api.request(
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec},
    )
    if not answer.ok:
        raise failure(answer.status, answer.body, "a token review", answer.retry_after)
    status = answer.body.get("status") or {}
    if not status.get("authenticated"):
        raise ObjectRejected(f"the token is not valid: {status.get('error') or 'no reason given'}")
    if audience not in (status.get("audiences") or ()):
        raise ObjectRejected(f"the token is not for {audience}")
    user = status.get("user") or {}
    parts = str(user.get("username", "")).split(":")
    if parts[:2] != ["system", "serviceaccount"] or len(parts) != 4:
        raise ObjectRejected("the token is not one of a service account")
    namespace, account = parts[2:]
    extra = user.get("extra") or {}
    node = _first(extra, "authentication.kubernetes.io/node-name")
    pod = _first(extra, "authentication.kubernetes.io/pod-name")
    if not node and pod:
        found = await api.request("GET", f"/api/v1/namespaces/{segment(namespace)}/pods/{segment(pod)}")
        if not found.ok:
            raise failure(found.status, found.body, f"pod {namespace}/{pod}", found.retry_after)
        if found.body["metadata"]["uid"] != _first(extra, "authentication.kubernetes.io/pod-uid"):
            raise ObjectRejected(f"the pod {namespace}/{pod} of the token is gone")
        node = str((found.body.get("spec") or {}).get("nodeName") or "")
    return ReviewedToken(namespace, account, node)


def _first(extra: Mapping[str, Any], key: str) -> str:
    values = extra.get(key) or ()
    return str(values[0]) if values else ""


def lifetime(answer: Answer, expires: str) -> float:
    """Seconds until `expires` by the API server's own clock, as ours may be wrong. Raises ClusterUnavailable."""
    try:
        now = parsedate_to_datetime(answer.date)
        end = datetime.datetime.fromisoformat(expires)
        return (end - now).total_seconds()
    except (TypeError, ValueError) as error:
        raise ClusterUnavailable(f"the API server told no usable time with the token: {error}") from error
