"""Which parents this hub has, which of them is the present one, and which comes next. Pure.

    joined, moved, detached  ->  another `Parents`, to be kept on disk (`parent_store.py`) before it counts
    next_parent(...)         ->  the standby to ask whether it answers, while the present parent does not

The placement epoch rises with every change of the parent, so of two hubs that both count this one as theirs
the newer is known. A hub never goes back to an earlier parent by itself, only when the present one is silent.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from arbora.errors import InvalidInput
from arbora.v1 import enrollment_pb2 as pb

MAX_PARENTS = 8
"""Parents at once: each is asked in turn, and each has a certificate that has to be kept fresh."""
TOKENS_REMEMBERED = 200

STAYS: frozenset[int] = frozenset(
    {pb.REFUSAL_BANNED, pb.REFUSAL_LOOP, pb.REFUSAL_EPOCH_STALE, pb.REFUSAL_CLUSTER_MISMATCH}
)
"""Refusals after which no standby is tried: an operator of the parent has decided, or the tree is at fault."""


@dataclass(frozen=True, slots=True)
class Parent:
    """One hub that this one has joined."""

    slot: str
    """Names the folder with the identity at that hub: the id of the join token."""
    address: str
    """host:port of its join port."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the present parent says of where this hub stands."""

    ancestors: tuple[str, ...] = ()
    """Hub ids from the parent up to the root."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """This hub's labels at its parent, with those inherited from above."""


@dataclass(frozen=True, slots=True)
class Parents:
    """All of it. Changed only by making another one."""

    known: tuple[Parent, ...] = ()
    """In the order in which they are tried."""
    present: str = ""
    """Slot of the one that is held on to; empty: this hub is a root."""
    placement_epoch: int = 0
    leaving: bool = False
    """What the parent before had assigned is not withdrawn yet."""
    place: Place = field(default_factory=Place)
    used_tokens: tuple[str, ...] = ()
    """Ids of join tokens that were used, so that a restart with the same ones changes nothing."""

    def of_slot(self, slot: str) -> Parent | None:
        """The parent with this slot."""
        return next((parent for parent in self.known if parent.slot == slot), None)

    def at(self, address: str) -> Parent | None:
        """The parent with this join address; the latest, if it was joined more than once."""
        return next((parent for parent in reversed(self.known) if parent.address == address), None)

    def current(self) -> Parent | None:
        """The one that is held on to."""
        return self.of_slot(self.present)

    def standbys(self) -> tuple[Parent, ...]:
        """The others, in the order in which they are tried: those after the present one, then from the start."""
        index = next((i for i, parent in enumerate(self.known) if parent.slot == self.present), -1)
        if index < 0:
            return self.known
        return self.known[index + 1 :] + self.known[:index]

    def joined(self, parent: Parent) -> Parents:
        """A further parent, used only while those before it can't be reached. Raises InvalidInput."""
        # Joined again at the same address: the older identity there is of no use any more.
        others = tuple(one for one in self.known if one.slot == self.present or parent.address != one.address)
        return self._with((*(one for one in others if one.slot != parent.slot), parent), parent.slot)

    def replaced_by(self, parent: Parent) -> Parents:
        """Another parent is wanted: a new one takes the present one's place, a standby changes places with it.

        Raises InvalidInput.
        """
        if self.of_slot(parent.slot) is not None:
            return self.moved_to(parent.slot)
        return self._in_place(parent).moved_to(parent.slot, leaving=self.current() is not None)

    def rejoined(self, parent: Parent) -> Parents:
        """The present parent, with a new identity there: nothing else changes."""
        if self.of_slot(parent.slot) is not None:
            return self
        return replace(self._in_place(parent), present=parent.slot)

    def _in_place(self, parent: Parent) -> Parents:
        others = [one for one in self.known if one.slot != parent.slot]
        if self.current() is None:
            return self._with((parent, *others), parent.slot)
        index = next((i for i, one in enumerate(others) if one.slot == self.present), 0)
        return self._with((*others[:index], parent, *others[index + 1 :]), parent.slot)

    def _with(self, known: tuple[Parent, ...], token: str) -> Parents:
        if len(known) > MAX_PARENTS:
            raise InvalidInput(
                f"a hub has at most {MAX_PARENTS} parents, the standbys among them",
                field="parent",
                hint="Leave them all and begin anew: arbora hub move --detach",
            )
        used = (*(one for one in self.used_tokens if one != token), token)
        return replace(self, known=known, used_tokens=used[-TOKENS_REMEMBERED:])

    def moved_to(self, slot: str, *, leaving: bool | None = None) -> Parents:
        """Hold on to another one; all of them stay known."""
        if leaving is None:
            leaving = self.current() is not None
        return replace(
            self,
            present=slot,
            placement_epoch=self.placement_epoch + 1,
            leaving=self.leaving or leaving,
            place=Place(),
        )

    def detached(self) -> Parents:
        """No parent any more: a root."""
        return replace(self.moved_to(""), known=())

    def left(self) -> Parents:
        """What the parent before had assigned is withdrawn."""
        return replace(self, leaving=False)


def next_parent(
    parents: Parents,
    *,
    away: float,
    standby_after: float,
    silent: Collection[str],
    refusal: int = pb.REFUSAL_NONE,
) -> Parent | None:
    """The standby to ask now whether it answers; None: stay.

    away: seconds since the present parent was last reached. standby_after: seconds of that which are borne.
    silent: slots of those that were asked in this round and did not answer. refusal: the present parent's, if
    it has refused this hub (a value of arbora.v1.Refusal).

    Nobody is left for a standby that does not answer: a hub whose own network is cut stays where it is.
    """
    if parents.current() is None or refusal in STAYS or away < standby_after:
        return None
    return next((parent for parent in parents.standbys() if parent.slot not in silent), None)


def to_json(parents: Parents) -> str:
    """For the disk. Holds no secret."""
    return json.dumps(
        {
            "parents": [{"slot": one.slot, "address": one.address} for one in parents.known],
            "present": parents.present,
            "placementEpoch": parents.placement_epoch,
            "leaving": parents.leaving,
            "ancestors": list(parents.place.ancestors),
            "labels": dict(parents.place.labels),
            "usedTokens": list(parents.used_tokens),
        },
        indent=1,
    )


def from_json(text: str) -> Parents:
    """Raises InvalidInput if this is not what `to_json` wrote."""
    try:
        data: dict[str, Any] = json.loads(text)
        known = tuple(Parent(_slot(one["slot"]), str(one["address"])) for one in data["parents"])
        read = Parents(
            known=known,
            present=str(data["present"]),
            placement_epoch=int(data["placementEpoch"]),
            leaving=bool(data["leaving"]),
            place=Place(tuple(map(str, data["ancestors"])), dict(data["labels"])),
            used_tokens=tuple(map(str, data["usedTokens"])),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(type(error).__name__) from error
    if read.present and read.current() is None:
        raise _unreadable("the present parent is not among the parents")
    return read


def _slot(text: str) -> str:
    """A slot names a folder: nothing but letters and digits. Raises ValueError."""
    if not text.isascii() or not text.isalnum():
        raise ValueError(text)
    return text


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput(
        f"what is kept of this hub's parents can't be read: {why}",
        hint="Move the folder `uplink` out of the data directory and join again with a new join token.",
    )
