"""One Secret or ConfigMap of the agent's own namespace, read and changed key by key.

For: what an agent keeps in its cluster (its identity, the CA of its node agents). The object's name is fixed,
which is all that the agent's Role lets it read or change; it is made when it is written first.
"""

from __future__ import annotations

import base64
import binascii

from arbora.errors import InvalidInput, StorageFailed
from arbora.kubernetes.access import AccessSource
from arbora.kubernetes.api import MERGE, ApiServer
from arbora.kubernetes.failures import words_of
from arbora_agent.cluster.port import ClusterUnavailable


class Kept:
    """One object. kind: Secret or ConfigMap."""

    def __init__(self, access: AccessSource, kind: str, name: str) -> None:
        self._access = access
        self._kind = kind
        self._name = name
        self._secret = kind == "Secret"

    async def get(self, key: str) -> bytes | None:
        """The value of `key`. Raises StorageFailed, InvalidInput for one that can't be read."""
        access = await self._access()
        api = ApiServer(access)
        try:
            answer = await api.request("GET", f"{self._collection(access.namespace)}/{self._name}")
        except ClusterUnavailable as error:
            raise self._failed(str(error)) from error
        finally:
            await api.close()
        if answer.status == 404:
            return None
        if not answer.ok:
            raise self._failed(words_of(answer.status, answer.body))
        text = (answer.body.get("data") or {}).get(key)
        if text is None:
            return None
        if not self._secret:
            return str(text).encode()
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError) as error:
            raise InvalidInput(
                f"the Secret {self._name} is damaged",
                hint="Delete it; an identity that was in it needs a new join token.",
            ) from error

    async def set(self, values: dict[str, bytes]) -> None:
        """Set these keys, all at once. Raises StorageFailed."""
        access = await self._access()
        api = ApiServer(access)
        collection = self._collection(access.namespace)
        data = {
            key: base64.b64encode(value).decode() if self._secret else value.decode()
            for key, value in values.items()
        }
        try:
            answer = await api.request(
                "PATCH", f"{collection}/{self._name}", body={"data": data}, content_type=MERGE
            )
            if answer.status == 404:
                made = {
                    "apiVersion": "v1",
                    "kind": self._kind,
                    "metadata": {"name": self._name},
                    "data": data,
                    **({"type": "Opaque"} if self._secret else {}),
                }
                answer = await api.request("POST", collection, body=made)
        except ClusterUnavailable as error:
            raise self._failed(str(error)) from error
        finally:
            await api.close()
        if not answer.ok:
            raise self._failed(words_of(answer.status, answer.body))

    def _collection(self, namespace: str) -> str:
        return f"/api/v1/namespaces/{namespace}/{self._kind.lower()}s"

    def _failed(self, words: str) -> StorageFailed:
        return StorageFailed(
            f"the {self._kind} {self._name} can't be used: {words}",
            hint="Check the agent's Role, or keep the identity in a directory with --data-dir.",
        )
