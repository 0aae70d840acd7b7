"""Keeps the agent's identity in a Secret of its own namespace, so that it survives the pod and the node.

Implements `session.credential.CredentialStore`. The Secret has a fixed name, which is all that the agent's
Role lets it read or change.
"""

from __future__ import annotations

from arbora.kubernetes.access import AccessSource
from arbora.session.credential import Credential
from arbora_agent.cluster.kubernetes.kept import Kept
from arbora_agent.manifest.names import IDENTITY_SECRET, NODE_CA_KEY, NODE_CONFIG

_IDENTITY = "identity.json"
_PENDING = "pending.key"
_NODE_CERTIFICATE, _NODE_KEY = "node-ca.crt", "node-ca.key"


class AuthoritySecret:
    """The CA of node agents beside the identity; implements `nodes.authority.AuthorityStore`."""

    def __init__(self, access: AccessSource) -> None:
        self._kept = Kept(access, "Secret", IDENTITY_SECRET)
        self._shown = Kept(access, "ConfigMap", NODE_CONFIG)

    async def load(self) -> tuple[bytes, bytes] | None:
        """See AuthorityStore."""
        certificate, key = await self._kept.get(_NODE_CERTIFICATE), await self._kept.get(_NODE_KEY)
        return None if certificate is None or key is None else (certificate, key)

    async def save(self, certificate: bytes, key: bytes) -> None:
        """See AuthorityStore."""
        await self._kept.set({_NODE_CERTIFICATE: certificate, _NODE_KEY: key})

    async def publish(self, certificate: bytes) -> None:
        """See AuthorityStore."""
        await self._shown.set({NODE_CA_KEY: certificate})


class IdentitySecret:
    """One Secret, read and changed key by key."""

    def __init__(self, access: AccessSource) -> None:
        self._access = access
        self._kept = Kept(access, "Secret", IDENTITY_SECRET)

    def node_authority(self) -> AuthoritySecret:
        """Where the CA of node agents is kept."""
        return AuthoritySecret(self._access)

    async def load(self) -> Credential | None:
        """See CredentialStore."""
        data = await self._kept.get(_IDENTITY)
        return Credential.from_json(data.decode()) if data is not None else None

    async def save(self, credential: Credential) -> None:
        """See CredentialStore."""
        await self._kept.set({_IDENTITY: credential.to_json().encode()})

    async def pending_key(self) -> bytes | None:
        """See CredentialStore."""
        return await self._kept.get(_PENDING)

    async def save_pending_key(self, key_pem: bytes) -> None:
        """See CredentialStore."""
        await self._kept.set({_PENDING: key_pem})
