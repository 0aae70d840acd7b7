"""The table of the driver's error codes, and what each row does to a GPU.

The groups are written out once more here, from the catalog's own lists, so that a slip in the table shows.
"""

from __future__ import annotations

import pytest

from arbora.gpus.health import Health
from arbora_agent.gpu.health.machine import HealthMachine
from arbora_agent.gpu.health.xids import XIDS, Meaning, rule_of
from arbora_agent.gpu.reading import GpuFacts, GpuReading, Xid

RESET = {46, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158, 167, 169, 171, 172}
REBOOT = {79, 151}
DRAIN = {48, 54}
SUSPECT = {74, *range(144, 151), 166, 168, 170}
REPEATED = {92, 94}
APPLICATION = {
    *(8, 11, 13, 25, 31, 32, 39, 40, 41, 60, 68, 69, 70, 71, 72, 75, 76, 77, 80, 82, 83, 84, 85, 86, 88, 89),
    *range(96, 106),
    *range(126, 136),
    139,
}
NOTHING = {
    *(14, 37, 38, 43, 44, 45, 63, 66, 67, 78, 93, 106, 107, 108, 121, 137, 141, 152, 153, 157, 160, 161),
    *(162, 163, 164, 165),
}
LOOK = {154}
AFTER = {
    **dict.fromkeys(RESET | REBOOT, Health.UNHEALTHY),
    **dict.fromkeys(DRAIN, Health.DRAINING),
    **dict.fromkeys(SUSPECT, Health.DEGRADED),
    **dict.fromkeys(REPEATED | APPLICATION | NOTHING | LOOK, Health.HEALTHY),
}
FACTS = GpuFacts("GPU-1", 0)


def well(action: int | None = None) -> GpuReading:
    return GpuReading("GPU-1", utilization=50, recovery_action=action)


def machine() -> HealthMachine:
    """One that has seen a healthy device."""
    one = HealthMachine(0.0)
    one.saw(well(), FACTS, 0.0)
    return one


def test_every_row_is_in_one_group_and_every_code_of_a_group_has_a_row() -> None:
    groups = (RESET, REBOOT, DRAIN, SUSPECT, REPEATED, APPLICATION, NOTHING, LOOK)
    assert sum(map(len, groups)) == len(XIDS)
    assert set().union(*groups) == set(XIDS)


@pytest.mark.parametrize("code", sorted(XIDS))
def test_a_code_has_the_effect_of_its_group_and_says_why(code: int) -> None:
    one = machine()
    verdict = one.heard(Xid(code, "GPU-1"), 10.0)
    assert verdict.health is AFTER[code]
    if verdict.health is not Health.HEALTHY:
        assert f"XID {code}, {XIDS[code].words}" in verdict.reason
    assert one.xids == 1
    assert one.last_xid == code


@pytest.mark.parametrize("rule", XIDS.values(), ids=lambda rule: str(rule.code))
def test_a_row_says_who_judged(rule: object) -> None:
    found = rule_of(rule.code)  # type: ignore[attr-defined]
    assert found.source.startswith(("NVIDIA Xid catalog: ", "our judgement: "))
    assert found.words


@pytest.mark.parametrize("code", [1, 61, 142, 159, 999])
def test_a_code_that_nobody_explains_makes_a_gpu_suspect_for_ten_minutes(code: int) -> None:
    one = machine()
    assert rule_of(code).meaning is Meaning.SUSPECT
    assert one.heard(Xid(code, "GPU-1"), 10.0).health is Health.DEGRADED
    assert one.tick(609.0).health is Health.DEGRADED
    assert one.tick(610.0).health is Health.HEALTHY


@pytest.mark.parametrize("code", sorted(APPLICATION | NOTHING))
def test_no_number_of_application_errors_costs_a_gpu(code: int) -> None:
    one = machine()
    for second in range(100):
        assert one.heard(Xid(code, "GPU-1"), 10.0 + second).health is Health.HEALTHY
    assert one.xids == 100


@pytest.mark.parametrize("code", sorted(RESET | REBOOT | DRAIN))
def test_a_fault_ends_when_the_driver_asks_for_nothing_more(code: int) -> None:
    one = machine()
    one.heard(Xid(code, "GPU-1"), 10.0)
    assert not one.saw(well(action=0), FACTS, 20.0).health.takes_work  # too soon to be the last word
    assert not one.saw(well(action=0), FACTS, 60.0).health.takes_work  # a state lasts a minute
    assert one.saw(well(action=0), FACTS, 70.0).health is Health.RECOVERING
    assert one.saw(well(action=0), FACTS, 655.0).health is Health.RECOVERING
    assert one.saw(well(action=0), FACTS, 660.0).health is Health.HEALTHY


class TestWhatTheDevicePluginOfKubernetesGetsWrong:
    """Its version 0.20 takes a GPU away for good at most codes, and leaves it at 109."""

    @pytest.mark.parametrize("code", [94, 63, 92])
    def test_these_do_not_kill_a_gpu(self, code: int) -> None:
        assert machine().heard(Xid(code, "GPU-1"), 10.0).health is Health.HEALTHY

    def test_109_does(self) -> None:
        assert machine().heard(Xid(109, "GPU-1"), 10.0).health is Health.UNHEALTHY

    @pytest.mark.parametrize("code", [94, 92])
    def test_twice_within_a_day_is_a_pattern_for_the_rest_of_that_day(self, code: int) -> None:
        one = machine()
        one.heard(Xid(code, "GPU-1"), 10.0)
        verdict = one.heard(Xid(code, "GPU-1"), 50_000.0)
        assert verdict.health is Health.DEGRADED
        assert "2 times within a day" in verdict.reason
        assert one.tick(86_409.0).health is Health.DEGRADED
        assert one.tick(86_410.0).health is Health.HEALTHY

    def test_a_day_apart_they_are_no_pattern(self) -> None:
        one = machine()
        one.heard(Xid(94, "GPU-1"), 10.0)
        assert one.heard(Xid(94, "GPU-1"), 86_411.0).health is Health.HEALTHY
