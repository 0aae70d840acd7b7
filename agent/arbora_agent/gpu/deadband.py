"""Which changes of a device's values are worth a message. Pure.

A value is sent anew when it has left the band around the one that was sent last: utilization 5 points,
temperature 2 degrees, power 5 %, memory 1 % of what there is, clocks 5 %. Between idle and not idle there is no
band, nor for what is counted or is a set of reasons. Source of the bands: design notes, GPU status.
"""

from __future__ import annotations

from arbora.gpus.model import Values

UTILIZATION = 5
TEMPERATURE = 2
POWER_SHARE = 0.05
MEMORY_SHARE = 0.01
CLOCK_SHARE = 0.05
_EXACT = ("processes", "throttle")


def worth_telling(sent: Values, now: Values, memory_mib: int | None) -> bool:
    """Whether `now` has left the bands around `sent`. memory_mib: the device's memory, where it is known."""
    if any(getattr(sent, name) != getattr(now, name) for name in _EXACT):
        return True
    room = (memory_mib or 0) * MEMORY_SHARE
    return (
        _left(sent.utilization, now.utilization, UTILIZATION)
        or _left(sent.memory_utilization, now.memory_utilization, UTILIZATION)
        or _left(sent.temperature, now.temperature, TEMPERATURE)
        or _left(sent.memory_temperature, now.memory_temperature, TEMPERATURE)
        or _left(sent.power, now.power, POWER_SHARE * (sent.power or 0))
        or _left(sent.sm_clock, now.sm_clock, CLOCK_SHARE * (sent.sm_clock or 0))
        or _left(sent.memory_clock, now.memory_clock, CLOCK_SHARE * (sent.memory_clock or 0))
        or _left(sent.memory_used_mib, now.memory_used_mib, room)
        or len(sent.mig_memory_used_mib) != len(now.mig_memory_used_mib)
        or any(
            _left(before, after, room)
            for before, after in zip(sent.mig_memory_used_mib, now.mig_memory_used_mib, strict=True)
        )
    )


def _left(sent: int | None, now: int | None, band: float) -> bool:
    if sent is None or now is None:
        return sent is not now
    return abs(now - sent) >= max(band, 1) or (sent == 0) is not (now == 0)
