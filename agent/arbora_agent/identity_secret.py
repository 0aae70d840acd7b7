"""Keeps the agent's identity in a Secret of its own namespace, so that it survives the pod and the node.

Implements `session.credential.CredentialStore`. The Secret has a fixed name, which is all that the agent's
Role lets it read or change.
"""

from __future__ import annotations

import base64
import binascii

from arbora.errors import InvalidInput, StorageFailed
from arbora.session.credential import Credential
from arbora_agent.cluster.kubernetes.access import AccessSource
from arbora_agent.cluster.kubernetes.api import MERGE, ApiServer
from arbora_agent.cluster.kubernetes.failures import words_of
from arbora_agent.cluster.port import ClusterUnavailable
from arbora_agent.manifest import IDENTITY_SECRET

_IDENTITY = "identity.json"
_PENDING = "pending.key"


class IdentitySecret:
    """One Secret, read and changed key by key."""

    def __init__(self, access: AccessSource) -> None:
        self._access = access

    async def load(self) -> Credential | None:
        """See CredentialStore."""
        data = await self._get(_IDENTITY)
        return Credential.from_json(data.decode()) if data is not None else None

    async def save(self, credential: Credential) -> None:
        """See CredentialStore."""
        await self._set(_IDENTITY, credential.to_json().encode())

    async def pending_key(self) -> bytes | None:
        """See CredentialStore."""
        return await self._get(_PENDING)

    async def save_pending_key(self, key_pem: bytes) -> None:
        """See CredentialStore."""
        await self._set(_PENDING, key_pem)

    async def _get(self, key: str) -> bytes | None:
        access = await self._access()
        api = ApiServer(access)
        try:
            answer = await api.request("GET", f"/api/v1/namespaces/{access.namespace}/secrets/{IDENTITY_SECRET}")
        except ClusterUnavailable as error:
            raise _failed(str(error)) from error
        finally:
            await api.close()
        if answer.status == 404:
            return None
        if not answer.ok:
            raise _failed(words_of(answer.status, answer.body))
        text = (answer.body.get("data") or {}).get(key)
        if text is None:
            return None
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError) as error:
            raise InvalidInput(
                f"the Secret {IDENTITY_SECRET} is damaged", hint="Delete it and join again with a new join token."
            ) from error

    async def _set(self, key: str, value: bytes) -> None:
        access = await self._access()
        api = ApiServer(access)
        collection = f"/api/v1/namespaces/{access.namespace}/secrets"
        data = {key: base64.b64encode(value).decode()}
        try:
            answer = await api.request(
                "PATCH", f"{collection}/{IDENTITY_SECRET}", body={"data": data}, content_type=MERGE
            )
            if answer.status == 404:
                secret = {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": IDENTITY_SECRET},
                    "type": "Opaque",
                    "data": data,
                }
                answer = await api.request("POST", collection, body=secret)
        except ClusterUnavailable as error:
            raise _failed(str(error)) from error
        finally:
            await api.close()
        if not answer.ok:
            raise _failed(words_of(answer.status, answer.body))


def _failed(words: str) -> StorageFailed:
    return StorageFailed(
        f"the Secret {IDENTITY_SECRET} can't be used: {words}",
        hint="Check the agent's Role, or keep the identity in a directory with --data-dir.",
    )
