"""Forms that the objects of an installation share."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from arbora_agent.manifest.names import METRICS_PORT, NAME

Object = dict[str, Any]

USER = 65532
RBAC = "rbac.authorization.k8s.io/v1"


def make(api_version: str, kind: str, name: str, namespace: str = "", *, app: str = NAME, **rest: Any) -> Object:
    """An object with our label."""
    metadata: Object = {"name": name, "labels": labels(app)}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def labels(app: str) -> dict[str, str]:
    """What our objects are known by."""
    return {"app.kubernetes.io/name": app}


def binding(kind: str, role_kind: str, role: str, namespace: str, own: str) -> Object:
    """Binds the agent's account in the namespace `own` to a role of `namespace`, or of the cluster."""
    return make(
        RBAC,
        kind,
        role,
        namespace,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": own}],
    )


def restricted(*capabilities: str) -> Object:
    """Of a container: nothing but these capabilities."""
    dropped: Object = {"drop": ["ALL"]}
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {**dropped, "add": list(capabilities)} if capabilities else dropped,
    }


def configured(*settings: Any) -> dict[str, str]:
    """An annotation of pods: they read their settings once, so that other settings have to be other pods."""
    written = json.dumps(settings, sort_keys=True).encode()
    return {"arbora.dev/configuration": hashlib.sha256(written).hexdigest()[:16]}


def scraped(wanted: bool) -> dict[str, str]:
    """Annotations of pods that make Prometheus read them, where it looks at these."""
    read = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }
    return read if wanted else {}


def ports(**numbers: int) -> Object:
    """A container's field `ports`, by name; nothing without one, as the API server would leave it out."""
    listed = [{"name": name, "containerPort": number, "protocol": "TCP"} for name, number in numbers.items()]
    return {"ports": listed} if listed else {}


def pod_security(user: int = USER) -> Object:
    """Of a pod; user 0 is root."""
    who = {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "fsGroup": user}
    seccomp = {"seccompProfile": {"type": "RuntimeDefault"}}
    return {**who, **seccomp} if user else {"runAsUser": 0, "runAsGroup": 0, **seccomp}
