"""What a link is doing, as plain data, and how a child reacts to each refusal. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from arbora.v1 import enrollment_pb2 as pb


class Phase(Enum):
    """Where the dialing side stands."""

    CONNECTING = "connecting"
    ONLINE = "online"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class LinkState:
    """One state of the link with the sentence that explains it."""

    phase: Phase
    sentence: str
    epoch: int = 0
    path: str = ""


class Reaction(Enum):
    """What a child does after a session has ended or was refused."""

    RECONNECT = "reconnect"
    """At once, then with back-off."""
    WAIT = "wait"
    """As long as the hub says, then reconnect."""
    STOP = "stop"
    """Nothing helps but an operator."""


REACTIONS: dict[int, Reaction] = {
    pb.REFUSAL_UNSPECIFIED: Reaction.RECONNECT,
    pb.REFUSAL_NONE: Reaction.RECONNECT,
    pb.REFUSAL_MUST_REJOIN: Reaction.STOP,
    pb.REFUSAL_BANNED: Reaction.STOP,
    # A newer certificate exists, and only this child can have asked for it: its answer was lost after a
    # restore of an older state. Nothing but joining again helps.
    pb.REFUSAL_NOT_ACTIVE: Reaction.STOP,
    pb.REFUSAL_EPOCH_STALE: Reaction.STOP,
    pb.REFUSAL_VERSION_UNSUPPORTED: Reaction.STOP,
    pb.REFUSAL_LOOP: Reaction.STOP,
    pb.REFUSAL_BUSY: Reaction.WAIT,
    pb.REFUSAL_PROTOCOL: Reaction.RECONNECT,
    pb.REFUSAL_CLUSTER_MISMATCH: Reaction.STOP,
}
"""Exactly one reaction for each refusal."""

HINTS: dict[int, str] = {
    pb.REFUSAL_MUST_REJOIN: "Create a join token at the hub (arbora join-token create) and start the child "
    "with --join-token.",
    pb.REFUSAL_BANNED: "This member was evicted. To let it back in, join again with a new join token.",
    pb.REFUSAL_NOT_ACTIVE: "A newer certificate of this identity is in use: another process runs under this "
    "name, or an old state was restored. Stop the other one, or join again with a new join token.",
    pb.REFUSAL_EPOCH_STALE: "Another process has taken over this identity. Stop one of the two.",
    pb.REFUSAL_VERSION_UNSUPPORTED: "Upgrade the older of the two programs.",
    pb.REFUSAL_LOOP: "Choose another parent: this one is below this hub.",
    pb.REFUSAL_CLUSTER_MISMATCH: "Choose another name with --name, or evict the member that holds it.",
}
"""What an operator can do where the child stops."""


def reaction_to(refusal: int) -> Reaction:
    """Unknown refusals (a newer hub's) are worth another try."""
    return REACTIONS.get(refusal, Reaction.RECONNECT)
