"""Which member stands behind a ClusterProfile, for requests that name one: the publisher's own word.

Users can write into profiles; what a request reaches must not follow from that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from arbora.errors import Unavailable
from arbora_hub.kubernetes.members import Members
from arbora_hub.kubernetes.profiles.content import is_ours
from arbora_hub.kubernetes.profiles.profiles import Keep, Profiles, Show
from arbora_hub.kubernetes.tokens.decide import Target
from arbora_hub.kubernetes.view import MemberView

Metadata = Mapping[str, Any]


class ProfileTargets:
    """What the publisher has decided, as requests see it."""

    def __init__(self, profiles: Profiles, members: Members, retained: Callable[[Metadata], str | None]) -> None:
        """retained: the member of a request whose profile is gone, where the hub itself still needs it."""
        self._profiles = profiles
        self._members = members
        self._retained = retained

    async def settled(self) -> None:
        """Return once it is known what stands behind each profile."""
        await self._profiles.ready.wait()

    def target(self, request: Metadata, profile: str, issued_uid: str) -> Target | None:
        """The member; None: there is no such profile of ours, or it is about to go.

        request: its metadata. issued_uid: the cluster whose token this hub already gave out for it; empty: none.
        Raises Unavailable while that can't be told, as a hub on the way is away.
        """
        namespace = str(request["namespace"])
        path = self._profiles.path_of(namespace, profile)
        if path is None or not isinstance(self._profiles.wish(namespace, profile), Show | Keep):
            # Only who has a token already can keep it.
            path = self._retained(request) if issued_uid else None
        if path is None:
            return None
        view = self._members.get(path) or self._by_uid(issued_uid)
        if view is None and self._members.unsure(path) is None:
            return None
        if view is None or not view.cluster_uid:
            raise Unavailable(f"nothing is known of {path} now: a hub on the way is away, or has just come back")
        return Target(view.path, view.cluster_uid)

    def foreign(self, namespace: str, profile: str) -> bool:
        """Whether the profile is one of another manager, whose requests are none of ours."""
        body = self._profiles.live.get(profile, namespace)
        return body is not None and not is_ours(body, self._profiles.manager)

    def where(self, path: str, cluster_uid: str) -> str:
        """Where that cluster stands now, or may stand, having been at `path`; empty: it is no member any more."""
        view = self._members.get(path)
        if view is not None and view.cluster_uid == cluster_uid:
            return path
        moved = self._by_uid(cluster_uid)
        if moved is not None:
            return moved.path
        return path if view is None and self._members.unsure(path) is not None else ""

    def _by_uid(self, cluster_uid: str) -> MemberView | None:
        """Wherever it stands: hubs move, and members with them."""
        if not cluster_uid:
            return None
        return next((one for one in self._members if one.cluster_uid == cluster_uid), None)

    def on_target(self, callback: Callable[[str, str], None]) -> None:
        """Hear namespace and name of each profile whose member may be another, or may be there again."""
        self._profiles.on_change(callback)
