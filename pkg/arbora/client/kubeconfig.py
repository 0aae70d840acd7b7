"""A kubeconfig for a member behind a hub: through its gateway, with short-lived tokens. Pure.

server        https://kubernetes.default.svc    the name in every API server's certificate
proxy-url     https://<member>:<connect token>@<gateway>
CAs           the member's and the gateway's: Go takes one list for both
user          `arbora credential-plugin`, which asks the member for a token through the hub
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from arbora.secret import Secret

SERVER = "https://kubernetes.default.svc:443"
EXEC_VERSION = "client.authentication.k8s.io/v1"


def proxy_url(user: str, token: Secret, gateway: str) -> str:
    """With the password in it."""
    return f"https://{quote(user, safe='')}:{quote(token.reveal(), safe='')}@{gateway}"


def kubeconfig(
    name: str, proxy: str, authorities: bytes, command: Sequence[str], namespace: str = ""
) -> dict[str, Any]:
    """The file as plain data.

    name: of its one context. proxy: from `proxy_url`. authorities: PEM. command: the credential plugin, with its
    arguments. namespace: of the context; empty: none.
    """
    plugin = {
        "apiVersion": EXEC_VERSION,
        "command": command[0],
        "args": list(command[1:]),
        "interactiveMode": "Never",
        "provideClusterInfo": False,
        "installHint": "Install it with: pip install arbora",
    }
    return _file(name, proxy, authorities, {"exec": plugin}, namespace)


def token_kubeconfig(name: str, proxy: str, authorities: bytes, token: Secret) -> dict[str, Any]:
    """A file with everything inline: for consumers that run no plugin, such as Kueue. See `kubeconfig`."""
    return _file(name, proxy, authorities, {"token": token.reveal()}, "")


def _file(name: str, proxy: str, authorities: bytes, user: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    cluster = {
        "server": SERVER,
        "proxy-url": proxy,
        "certificate-authority-data": base64.b64encode(authorities).decode(),
    }
    context = {"cluster": name, "user": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": dict(user)}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
