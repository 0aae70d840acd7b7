"""What placement knows of one child: itself (`Place`) and its capacity by GPU class (`Row`). Plain data.

A member is one place. A child hub is one place for each set of labels and taints that members below it have, as
a selector may mean some of them and not others; what they are given is added up for the hub again.

The caller makes these from what a child reported; None means that it is not known, which is never the same as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import EMPTY, SketchRow

ONLINE, SUSPECT, LOST = "online", "suspect", "lost"
LIVENESS = (ONLINE, SUSPECT, LOST)

CLAIM_LEVELS: Mapping[str, float] = {"attested": 1.0, "observed": 0.8, "declared": 0.5}
"""How much a claim is worth by who makes it: an administrator or the hub, the agent, the member itself."""


@dataclass(frozen=True, slots=True)
class Taint:
    """As in Kubernetes."""

    key: str
    effect: str
    value: str = ""
    added: float = 0.0
    """When, in seconds on the clock of `now`; tolerations that end count from then."""

    def __str__(self) -> str:
        return f"{self.key}{'=' + self.value if self.value else ''}:{self.effect}"


PART_MARK = "#"
"""Between a child hub's name and what sets one of its places apart; no name has it."""


def child_of(place: str) -> str:
    """The child that a place belongs to."""
    return place.partition(PART_MARK)[0]


@dataclass(frozen=True, slots=True)
class Place:
    """A member, or equal members below a child hub."""

    name: str
    """The child's name; of a hub's places followed by PART_MARK and what sets it apart."""
    labels: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    taints: tuple[Taint, ...] = ()
    liveness: str = ONLINE
    age: float = 0.0
    """Seconds since its capacity was observed."""
    interval: float = 10.0
    """Seconds between its reports, above 0."""
    cordoned: bool = False
    kinds: frozenset[str] | None = None
    """API kinds it serves; None: not known."""
    claims: Mapping[str, str] = field(default_factory=dict)
    """Claim -> one of CLAIM_LEVELS."""
    properties: Mapping[str, float | str | bool] = field(default_factory=dict)
    """Anything else that expressions may use."""
    hops: int | None = None
    """Links of the tree between it and where its output is used."""
    rtt_ms: float | None = None
    egress_price: float | None = None
    """Per GiB."""
    hub: bool = False
    """A child hub's."""

    @property
    def child(self) -> str:
        """Whose place it is."""
        return child_of(self.name)


@dataclass(frozen=True, slots=True)
class Row:
    """Capacity of one class in one child; without a class, of its nodes without GPUs."""

    gpu_class: GpuClass | None
    sketch: SketchRow = EMPTY
    cpu_known: bool = True
    """Whether the sketch's CPU and memory were measured."""
    allocatable_cpu_millis: int | None = None
    allocatable_memory_mib: int | None = None
    price: float | None = None
    """Per device and hour, spot interruptions included."""
    throttled: float | None = None
    """The fraction of devices that run slower than they could."""
    wait_seconds: float | None = None
    """How long work waited for this class lately."""
    domain_free: int | None = None
    """Most free devices in one NVLink domain or rack."""
