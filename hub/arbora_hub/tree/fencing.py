"""The same hub or cluster in two places below this hub: which of them counts. Pure.

It happens when a hub or an agent moved and its old place has not noticed, when a hub on the way is cut off and
what is below it went elsewhere, or when somebody copied an identity.

    of two children              the newer placement (a hub), the one that is online, the newer session (an agent)
    of a child and of a hub's    the child if it is online: this hub proved its identity itself, and a hub speaks
                                 for its own subtree only; else whoever is online
    of two hubs' subtrees        the one whose hub is online

A child that lost is left out of rows and counts. A hub in whose subtree the loser stands is left out as a whole,
as its sums can't be taken apart, unless both hubs are online: then the old one is about to notice by itself, and
no hub may silence another by what it says. Lines are always told apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from arbora.v1 import member_pb2
from arbora_hub.inventory.liveness import Liveness


class Claimant(Protocol):
    """What is read of a child; `subtree.Branch` is one."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def cluster_uid(self) -> str: ...  # noqa: D102
    @property
    def session_epoch(self) -> int: ...  # noqa: D102
    @property
    def liveness(self) -> Liveness: ...  # noqa: D102
    @property
    def subtree(self) -> member_pb2.SubtreeStatus | None: ...  # noqa: D102
    @property
    def lines(self) -> Mapping[str, member_pb2.MemberLine]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, order=True)
class Fenced:
    """One place that does not count."""

    path: str
    """Relative to this hub; of a hub's sums, that hub."""
    counted: str
    """The place that counts."""
    uid: str
    """Cluster UID or hub id that stands at both."""

    @property
    def sentence(self) -> str:
        """For an event."""
        return f"{self.uid} stands at {self.counted} and at {self.path}; only {self.counted} counts."


@dataclass(frozen=True, slots=True)
class Fence:
    """What is left out."""

    children: frozenset[str] = frozenset()
    """Names of children that are left out of rows and counts."""
    paths: frozenset[str] = frozenset()
    """Relative paths whose lines, and those below them, are left out."""
    fenced: frozenset[Fenced] = frozenset()
    """Why."""

    def covers(self, path: str) -> bool:
        """Whether the line of `path` is left out."""
        if not self.paths:
            return False
        labels = path.split("/")
        return any("/".join(labels[:count]) in self.paths for count in range(1, len(labels) + 1))

    def __or__(self, other: Fence) -> Fence:
        """What either leaves out."""
        return Fence(self.children | other.children, self.paths | other.paths, self.fenced | other.fenced)


NOTHING = Fence()


@dataclass(frozen=True, slots=True)
class _Claim:
    """Somebody says that `uid` stands at `path`, which is `child` or lies below it."""

    child: str
    path: str
    direct: bool
    online: bool
    """As far as this hub knows."""
    rank: tuple[object, ...] = ()
    """Of direct ones the least wins."""


def fence(children: Iterable[Claimant]) -> Fence:
    """Which children are left out, by the ids that they have and the hubs that they name."""
    claims: defaultdict[str, list[_Claim]] = defaultdict(list)
    for child in children:
        if child.cluster_uid:
            claims[child.cluster_uid].append(_own(child))
        if child.subtree is not None:
            online = child.liveness is Liveness.ONLINE
            for uid in child.subtree.hubs:
                if uid != child.cluster_uid:
                    claims[uid].append(_Claim(child.name, child.name, False, online))
    left_out: set[str] = set()
    fenced: set[Fenced] = set()
    for uid, each in claims.items():
        if len(each) < 2:
            continue
        winner = _winner(each)
        for loser in each:
            if loser.child != winner.child:
                fenced.add(Fenced(loser.path, winner.path, uid))
                if loser.direct or winner.direct or not loser.online:
                    left_out.add(loser.child)
    return Fence(frozenset(left_out), fenced=frozenset(fenced))


def fence_lines(children: Iterable[Claimant]) -> Fence:
    """Which paths are left out, and which agents of this hub, by the lines that child hubs sent."""
    known = tuple(children)
    claims: dict[str, list[_Claim]] = {uid: [] for uid in _twice(known)}
    if not claims:
        return NOTHING
    for child in known:
        if child.cluster_uid in claims:
            claims[child.cluster_uid].append(_own(child))
        online = child.liveness is Liveness.ONLINE
        for path, line in child.lines.items():
            if line.cluster_uid in claims:
                present = online and line.liveness == member_pb2.LIVENESS_ONLINE
                claims[line.cluster_uid].append(_Claim(child.name, f"{child.name}/{path}", False, present))
    left_out: set[str] = set()
    paths: set[str] = set()
    fenced: set[Fenced] = set()
    for uid, each in claims.items():
        winner = _winner(each)
        for loser in each:
            if loser.path != winner.path:
                fenced.add(Fenced(loser.path, winner.path, uid))
                (left_out if loser.direct else paths).add(loser.path)
    return Fence(frozenset(left_out), frozenset(paths), frozenset(fenced))


def _twice(children: Iterable[Claimant]) -> set[str]:
    """Ids that stand in a line and somewhere else."""
    once: set[str] = set()
    twice: set[str] = set()
    for child in children:
        for line in child.lines.values():
            uid = line.cluster_uid
            (twice if uid in once else once).add(uid)
    twice.update(child.cluster_uid for child in children if child.cluster_uid in once)
    twice.discard("")
    return twice


def _own(child: Claimant) -> _Claim:
    """A child's claim to its own id."""
    online = child.liveness is Liveness.ONLINE
    rank: tuple[object, ...] = (not online, -child.session_epoch)
    if child.subtree is not None:
        rank = (-child.subtree.placement_epoch, *rank)
    return _Claim(child.name, child.name, True, online, rank)


def _winner(claims: Iterable[_Claim]) -> _Claim:
    """The claim that counts; see the top of this module."""
    direct = min((one for one in claims if one.direct), key=lambda one: (one.rank, one.path), default=None)
    reported = min(
        (one for one in claims if not one.direct), key=lambda one: (not one.online, one.path), default=None
    )
    if direct is None or (reported is not None and reported.online and not direct.online):
        assert reported is not None
        return reported
    return direct
