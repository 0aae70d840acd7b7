"""Short-lived service account tokens through the TokenRequest API.

For: `cluster.py`. Whether a token may be asked for at all is decided by the agent's policy before, and by
the API server's RBAC. A token is never logged or kept here.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from arbora.secret import Secret
from arbora_agent.cluster.kubernetes.api import Answer, ApiServer
from arbora_agent.cluster.kubernetes.discovery import segment
from arbora_agent.cluster.kubernetes.failures import failure
from arbora_agent.cluster.port import ClusterUnavailable, MintedToken, ObjectRejected


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


def lifetime(answer: Answer, expires: str) -> float:
    """Seconds until `expires` by the API server's own clock, as ours may be wrong. Raises ClusterUnavailable."""
    try:
        now = parsedate_to_datetime(answer.date)
        end = datetime.datetime.fromisoformat(expires)
        return (end - now).total_seconds()
    except (TypeError, ValueError) as error:
        raise ClusterUnavailable(f"the API server told no usable time with the token: {error}") from error
