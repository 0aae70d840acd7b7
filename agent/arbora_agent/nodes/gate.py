"""Who may dial the port for node agents: who shows a token that the API server vouches for and that names a node.

    for our audience? -> not too many at once? -> TokenReview -> the account is the node agents', a node is named

The first step costs nothing and keeps strangers from making this agent ask the API server. A token is bound to
its pod, so a pod that is gone is refused, and one speaks only for the node it runs on: the node is never taken
from a message.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import structlog

from arbora.errors import Exhausted, Unauthenticated, Unavailable
from arbora.identity.bearer import Role
from arbora.rpc.guard import Caller
from arbora.secret import Secret
from arbora_agent.cluster.port import Cluster, ClusterUnavailable, ObjectRejected
from arbora_agent.manifest.names import NODE_AGENT, NODE_AUDIENCE

log = structlog.get_logger(__name__)

REVIEWS_AT_ONCE = 8
REVIEW_SECONDS = 5.0
MAX_TOKEN = 16 * 1024


class NodeGate:
    """The guard's view of a cluster's agent."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._turn = asyncio.Semaphore(REVIEWS_AT_ONCE)
        self._waiting = 0

    async def node(self, bearer: str) -> tuple[str, float | None]:
        """See rpc.guard.Gate."""
        claims = claims_of(bearer)
        if not bearer or NODE_AUDIENCE not in audiences_of(claims):
            raise Unauthenticated(
                "no token of a node agent",
                hint=f"Mount a service account token for the audience {NODE_AUDIENCE}.",
            )
        if self._waiting >= 16 * REVIEWS_AT_ONCE:
            raise Exhausted("too many node agents at once", retry_after=2.0)
        self._waiting += 1
        try:
            async with asyncio.timeout(REVIEW_SECONDS), self._turn:
                found = await self._cluster.review_token(Secret(bearer), NODE_AUDIENCE)
        except TimeoutError as error:
            raise Unavailable("the API server does not review tokens in time", retry_after=2.0) from error
        except ClusterUnavailable as error:
            raise Unavailable(f"the token can't be reviewed now: {error}", retry_after=2.0) from error
        except ObjectRejected as error:
            raise Unauthenticated(
                f"the API server does not accept the token: {error}", hint=error.hint
            ) from error
        finally:
            self._waiting -= 1
        if found.service_account != NODE_AGENT or found.namespace != self._cluster.namespace:
            raise Unauthenticated(
                f"the token is one of {found.namespace}/{found.service_account}",
                hint=f"Node agents run as {self._cluster.namespace}/{NODE_AGENT}.",
            )
        if not found.node:
            raise Unauthenticated(
                "the token names no node", hint="It must be a projected one, bound to a pod that has a node."
            )
        ends = claims.get("exp")
        return found.node, float(ends) if isinstance(ends, int | float) else None

    def client(self, bearer: str) -> tuple[str, Role]:
        """See rpc.guard.Gate: there are no clients here."""
        raise Unauthenticated("only node agents dial this port")

    async def audited(
        self, caller: Caller, method: str, request: object, answer: object | None, outcome: str
    ) -> None:
        """See rpc.guard.Gate: nothing that is called here changes anything."""


def claims_of(token: str) -> Mapping[str, Any]:
    """What a token says of itself, not verified; empty for what is no token. Never raises."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > MAX_TOKEN:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def audiences_of(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """For whom a token is, as it says."""
    audiences = claims.get("aud", ())
    if isinstance(audiences, str):
        return (audiences,)
    return tuple(each for each in audiences if isinstance(each, str)) if isinstance(audiences, list) else ()
