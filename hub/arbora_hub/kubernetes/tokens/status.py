"""The status of an AuthTokenRequest: conditions, and what the token was issued for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from arbora.v1 import credential_pb2 as pb
from arbora_hub.kubernetes.conditions import Condition, by_key, stamp, written
from arbora_hub.kubernetes.tokens.decide import Issued

STEPS = (
    "ServiceAccountFoundOrCreated",
    "RoleFoundOrCreated",
    "ClusterRoleFoundOrCreated",
    "RoleBindingCreated",
    "ClusterRoleBindingCreated",
)
RETRIEVED = "ServiceAccountTokenRetrieved"
READY = "Ready"

Raw = Mapping[str, Any]


def succeeded(steps: Iterable[pb.GrantStep], path: str) -> list[Condition]:
    """After a token came."""
    return [
        *(Condition(step.type, "True", step.reason, step.message) for step in steps if step.type in STEPS),
        Condition(RETRIEVED, "True", "Minted", f"{path} minted the token"),
        Condition(READY, "True", "Issued", f"the token of {path} is in the Secret"),
    ]


def failed(step: str, reason: str, message: str, *, usable: bool) -> list[Condition]:
    """After none came. step: the one that failed, if it is known. usable: the token before is still good."""
    found = [Condition(step, "False", reason, message)] if step in STEPS else []
    ready = (
        Condition(READY, "True", "RenewalFailed", f"the token before is still good; no new one: {message}")
        if usable
        else Condition(READY, "False", reason, message)
    )
    return [*found, Condition(RETRIEVED, "False", reason, message), ready]


def read_issued(body: Raw) -> Issued:
    """What the status says."""
    status: Raw = body.get("status") or {}
    issued: Raw = status.get("issuedFor") or {}
    return Issued(
        path=str(issued.get("path", "")),
        cluster_uid=str(issued.get("clusterUID", "")),
        generation=int(issued.get("generation", 0)),
        expires=_seconds(status.get("expirationTimestamp")),
        rotate=_seconds(status.get("rotationTimestamp")),
    )


def ready_reason(body: Raw) -> str:
    """Why it is ready, or not; empty: nobody said."""
    return _reason_of(body, READY)


def retrieval_reason(body: Raw) -> str:
    """What came of the last time that a token was asked for; empty: none was."""
    return _reason_of(body, RETRIEVED)


def _reason_of(body: Raw, kind: str) -> str:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((str(each["reason"]) for each in conditions if each["type"] == kind), "")


def status_body(
    request: Raw, conditions: Iterable[Condition], issued: Issued, secret: str, now: float
) -> dict[str, Any]:
    """The whole status to apply: conditions that are not named stay as they are.

    secret: its name; empty: there is no token in it.
    """
    metadata = request["metadata"]
    live = (request.get("status") or {}).get("conditions")
    merged = dict(by_key(live, "type"))
    for one in written(conditions, live, metadata.get("generation", 0), stamp(now)):
        merged[one["type"]] = one
    status: dict[str, Any] = {
        "observedGeneration": metadata.get("generation", 0),
        "conditions": [merged[kind] for kind in (*STEPS, RETRIEVED, READY) if kind in merged],
    }
    if issued.cluster_uid:
        status["issuedFor"] = {
            "path": issued.path,
            "clusterUID": issued.cluster_uid,
            "generation": issued.generation,
        }
    if secret:
        status["tokenResponse"] = {"kind": "Secret", "name": secret}
        status["expirationTimestamp"] = stamp(issued.expires)
        status["rotationTimestamp"] = stamp(issued.rotate)
    # The uid: another request may have the name by now.
    where = {key: metadata[key] for key in ("name", "namespace", "uid")}
    return {"metadata": where, "status": status}


def _seconds(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0
