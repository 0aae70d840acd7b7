"""The Secret of an AuthTokenRequest: token, CA, server and a whole kubeconfig. Pure.

token        of the service account
ca.crt       what verifies the member's API server
server       its name
proxy-url    the way there, through the hub's gateway, with the password that opens it; where there is one
kubeconfig   all of that inline, so that a consumer such as Kueue takes it
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from arbora.client.kubeconfig import SERVER, token_kubeconfig
from arbora.secret import Secret
from arbora_hub.kubernetes.kinds import AUTH_TOKEN_REQUEST

LABEL = "arbora.dev/auth-token-request"
"""On the Secret: the request's uid."""

Raw = Mapping[str, Any]


def secret_for(request: Raw, name: str, token: Secret, ca_pem: bytes, proxy: Secret, gateway_ca: bytes) -> Raw:
    """The Secret to apply. proxy: the whole URL; empty: there is no way in that the hub knows.

    Without a way in there is neither server nor kubeconfig, as the hub does not know where to send anybody.
    """
    data = {"token": token.reveal().encode(), "ca.crt": ca_pem}
    if proxy:
        config = token_kubeconfig(request["metadata"]["name"], proxy.reveal(), ca_pem + gateway_ca, token)
        data["server"] = SERVER.encode()
        data["proxy-url"] = proxy.reveal().encode()
        # JSON is YAML, and Kueue's reader takes it.
        data["kubeconfig"] = json.dumps(config).encode()
    return _body(request, name, data)


def whose(secret: Raw, request_uid: str) -> bool:
    """Whether the Secret is the request's own: by its owner, or by our label, which a restore keeps."""
    metadata = secret["metadata"]
    owned = any(owner.get("uid") == request_uid for owner in metadata.get("ownerReferences") or ())
    return owned or (metadata.get("labels") or {}).get(LABEL) == request_uid


def holds_token(secret: Raw) -> bool:
    """Whether there is a token in it."""
    return bool((secret.get("data") or {}).get("token"))


def password_of(secret: Raw | None) -> Secret:
    """The connect token in its proxy-url; empty: none."""
    encoded = ((secret or {}).get("data") or {}).get("proxy-url") or ""
    try:
        return Secret(urlsplit(base64.b64decode(encoded).decode()).password or "")
    except ValueError:
        return Secret("")


def _body(request: Raw, name: str, data: Mapping[str, bytes]) -> Raw:
    metadata = request["metadata"]
    owner = {
        "apiVersion": AUTH_TOKEN_REQUEST.gvk.api_version,
        "kind": AUTH_TOKEN_REQUEST.gvk.kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {LABEL: metadata["uid"]},
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
