"""The health of a GPU: five states, and what each means for work.

    Healthy     nothing is known against it
    Degraded    works, slower or less surely than it should       takes new work, last
    Recovering  its fault is over, ten clean minutes are not      takes no new work
    Draining    what runs may go on                               takes no new work
    Unhealthy   not counted as a GPU

Who judges is the node agent (`arbora_agent/gpu/health`); everybody else only counts. Pure.
"""

from __future__ import annotations

from enum import IntEnum


class Health(IntEnum):
    """The numbers are those of the wire (gpu.proto)."""

    HEALTHY = 1
    DEGRADED = 2
    DRAINING = 3
    UNHEALTHY = 4
    RECOVERING = 5

    @property
    def severity(self) -> int:
        """0 is best. A GPU is as bad as the worst that is known of it."""
        return _SEVERITY[self]

    @property
    def takes_work(self) -> bool:
        """Whether new work may start on it."""
        return self in (Health.HEALTHY, Health.DEGRADED)

    @property
    def word(self) -> str:
        """As people read it: `Healthy`."""
        return self.name.capitalize()


_SEVERITY = {
    Health.HEALTHY: 0,
    Health.DEGRADED: 1,
    Health.RECOVERING: 2,
    Health.DRAINING: 3,
    Health.UNHEALTHY: 4,
}


def health_from_wire(number: int) -> Health:
    """What a peer says. A state that a newer peer invented is no reason to give a GPU work."""
    try:
        return Health(number)
    except ValueError:
        return Health.DRAINING
