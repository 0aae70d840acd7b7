"""One device over one minute: means, highs, the worst health. Pure: times come in, in seconds of one clock.

Values arrive when they change, so a value counts for as long as it stood, and not for how often it was sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from arbora.gpus.health import Health
from arbora.gpus.model import NOTHING, Values

THROTTLE_MASK = 0x8 | 0x20 | 0x40 | 0x80
"""Hardware slowdown, heat by software or hardware, power brake: held back by more than a power limit."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What is kept of a device's minute. None: not known."""

    utilization: float | None = None
    """Mean, percent."""
    utilization_max: int | None = None
    memory_used_mib: float | None = None
    power: float | None = None
    """Mean, watts."""
    temperature: int | None = None
    """Highest."""
    health: Health = Health.HEALTHY
    """The worst."""
    throttled: bool = False

    @property
    def known(self) -> bool:
        """Whether anything was measured."""
        return any(
            each is not None for each in (self.utilization, self.memory_used_mib, self.power, self.temperature)
        )


class _Mean:
    """Of one value, weighted by how long it stood."""

    __slots__ = ("_seconds", "_sum")

    def __init__(self) -> None:
        self._sum = self._seconds = 0.0

    def add(self, value: int | None, seconds: float) -> None:
        if value is not None:
            self._sum += value * seconds
            self._seconds += seconds

    def take(self, last: int | None) -> float | None:
        """The mean, and begin anew; `last` where there was no time to weigh by."""
        mean = self._sum / self._seconds if self._seconds else last
        self._sum = self._seconds = 0.0
        return mean


class Gathering:
    """Gathers a device's present minute."""

    __slots__ = (
        "_at",
        "_health",
        "_memory",
        "_paused",
        "_power",
        "_temperature",
        "_throttled",
        "_utilization",
        "_utilization_max",
        "values",
    )

    def __init__(self, now: float) -> None:
        self.values = NOTHING
        """As it stands now."""
        self._at = now
        self._paused = False
        self._utilization, self._memory, self._power = _Mean(), _Mean(), _Mean()
        self._utilization_max: int | None = None
        self._temperature: int | None = None
        self._throttled = False
        self._health = Health.HEALTHY

    def take(self, values: Values, now: float) -> None:
        """The device reads so from now on."""
        self._stand(now)
        self.values = values
        self._note()

    def judged(self, health: Health) -> None:
        """Its health is so from now on."""
        if health.severity > self._health.severity:
            self._health = health

    def close(self, health: Health, now: float) -> Minute:
        """The minute is over at `now`; the next one begins. health: as it is now."""
        self.judged(health)
        self._stand(now)
        values = self.values
        minute = Minute(
            utilization=self._utilization.take(values.utilization),
            utilization_max=self._utilization_max,
            memory_used_mib=self._memory.take(values.memory_used_mib),
            power=self._power.take(values.power),
            temperature=self._temperature,
            health=self._health,
            throttled=self._throttled,
        )
        self._utilization_max = self._temperature = None
        self._throttled = False
        self._health = health
        return minute

    def silence(self, now: float) -> None:
        """Nothing is known of it from now on."""
        self._stand(now)
        self.values = NOTHING

    def pause(self, heard: float) -> None:
        """Its member is away: what it measures now is not known, and it was so until `heard`."""
        self._stand(heard)
        self._paused = True

    def resume(self, now: float) -> None:
        """Its member is there again."""
        if self._paused:
            self._paused = False
            self._at = now

    def _stand(self, now: float) -> None:
        """The present values have stood until `now`, and count for the minute."""
        if self._paused or now <= self._at:
            return
        seconds = now - self._at
        self._at = now
        self._note()
        self._utilization.add(self.values.utilization, seconds)
        self._memory.add(self.values.memory_used_mib, seconds)
        self._power.add(self.values.power, seconds)

    def _note(self) -> None:
        """The highs of the minute."""
        values = self.values
        self._utilization_max = _higher(self._utilization_max, values.utilization)
        self._temperature = _higher(self._temperature, values.temperature)
        self._throttled |= bool((values.throttle or 0) & THROTTLE_MASK)


def _higher(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)
