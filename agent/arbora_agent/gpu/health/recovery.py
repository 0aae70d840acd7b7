"""What the driver's own verdict means: field 230, the recovery action of a GPU. Data.

It outlives the node agent, and it is the best evidence there is that a fault is over. Source: nvml.h of go-nvml
13.615, nvmlDeviceGpuRecoveryAction; NVIDIA, "GPU memory error management", response flags.
"""

from __future__ import annotations

from dataclasses import dataclass

from arbora.gpus.health import Health

NONE = 0
"""Nothing to do."""


@dataclass(frozen=True, slots=True)
class RecoveryRule:
    """One row."""

    action: int
    health: Health
    sentence: str
    source: str


_HEADER = "nvml.h"
_OURS = "our judgement"

RECOVERY: dict[int, RecoveryRule] = {
    rule.action: rule
    for rule in (
        RecoveryRule(NONE, Health.HEALTHY, "the driver asks for nothing", _HEADER),
        RecoveryRule(1, Health.UNHEALTHY, "the driver asks for a reset of the GPU", _HEADER),
        RecoveryRule(2, Health.UNHEALTHY, "the driver asks for a restart of the node", _HEADER),
        RecoveryRule(
            3, Health.DRAINING, "the driver asks to end what runs on it and its NVLink neighbours", _HEADER
        ),
        RecoveryRule(4, Health.UNHEALTHY, "the driver asks to end what runs on it and reset the GPU", _HEADER),
        RecoveryRule(
            5,
            Health.DEGRADED,
            "the driver asks to recover the IMEX domain",
            f"{_OURS}: memory of other nodes is out of reach, the GPU itself works",
        ),
        RecoveryRule(6, Health.UNHEALTHY, "the driver asks for a reset of the bus", _HEADER),
        RecoveryRule(7, Health.UNHEALTHY, "the driver asks for a restart of the whole system", _HEADER),
    )
}
"""By action."""


def recovery_of(action: int) -> RecoveryRule:
    """The row of an action. One that is not known still says that something is to be done."""
    found = RECOVERY.get(action)
    if found is not None:
        return found
    return RecoveryRule(
        action, Health.DRAINING, f"the driver asks for a recovery action that is not known ({action})", _OURS
    )
