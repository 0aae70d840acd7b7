"""Which member stands behind a ClusterProfile, for requests that name one: the publisher's own word.

Users can write into profiles; what a request reaches must not follow from that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from arbora.errors import Unavailable
from arbora_hub.kubernetes.members import Members
from arbora_hub.kubernetes.profiles.profiles import Keep, Profiles, Show
from arbora_hub.kubernetes.tokens.decide import Target

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

    def target(self, request: Metadata, profile: str) -> Target | None:
        """The member; None: there is no such profile of ours, or it is about to go. request: its metadata.

        Raises Unavailable while that can't be told, as a hub on the way is away.
        """
        namespace = str(request["namespace"])
        path = self._profiles.path_of(namespace, profile)
        if path is None or not isinstance(self._profiles.wish(namespace, profile), Show | Keep):
            path = self._retained(request)
        if path is None:
            return None
        view = self._members.get(path)
        if view is None and self._members.unsure(path) is None:
            return None
        if view is None:
            raise Unavailable(f"nothing is known of {path} now: a hub on the way is away, or has just come back")
        return Target(path, view.cluster_uid)

    def stands(self, path: str, cluster_uid: str) -> bool:
        """Whether that cluster is the member at that path now, or may be: then it is asked."""
        view = self._members.get(path)
        return view.cluster_uid == cluster_uid if view is not None else self._members.unsure(path) is not None

    def on_target(self, callback: Callable[[str, str], None]) -> None:
        """Hear namespace and name of each profile whose member may be another, or may be there again."""
        self._profiles.on_change(callback)
