"""The health of a GPU over time: what makes it worse, what ends that, and that it never flaps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arbora.gpus.health import Health, health_from_wire
from arbora_agent.gpu.health.conditions import CONDITIONS
from arbora_agent.gpu.health.machine import WELL, HealthMachine, Verdict
from arbora_agent.gpu.health.recovery import RECOVERY, recovery_of
from arbora_agent.gpu.reading import Answer, GpuFacts, GpuReading, Xid

GPU = "GPU-1"
FACTS = GpuFacts(GPU, 0, pcie_width_max=16)
WELL_READ = GpuReading(GPU, utilization=50, pcie_width=16, temperature_margin=30)


class Watched:
    """A machine whose device is read every ten seconds."""

    def __init__(self, reading: GpuReading = WELL_READ, facts: GpuFacts = FACTS) -> None:
        self.machine = HealthMachine(0.0)
        self.reading = reading
        self.facts = facts
        self.now = 0.0
        self.see()

    def see(self, **changes: object) -> Verdict:
        """The device is read now, changed for good."""
        self.reading = replace(self.reading, **changes)  # type: ignore[arg-type]
        return self.machine.saw(self.reading, self.facts, self.now)

    def after(self, seconds: float, **changes: object) -> Verdict:
        """The same device is read every ten seconds for so long, with the last reading changed."""
        end = self.now + seconds
        while self.now + 10.0 < end:
            self.now += 10.0
            self.see()
        self.now = end
        return self.see(**changes)

    def heard(self, code: int, age: float = 0.0) -> Verdict:
        return self.machine.heard(Xid(code, GPU, age), self.now)


def test_a_device_of_which_nothing_bad_is_known_is_healthy() -> None:
    one = Watched()
    assert one.machine.verdict == Verdict(Health.HEALTHY, WELL, 0.0)


@pytest.mark.parametrize(
    ("code", "changes", "health"),
    [
        ("lost", {"answer": Answer.LOST}, Health.UNHEALTHY),
        ("reset-required", {"answer": Answer.RESET_REQUIRED}, Health.UNHEALTHY),
        ("remap-failed", {"remap_failed": True}, Health.UNHEALTHY),
        ("fabric-unhealthy", {"fabric_health": 2}, Health.UNHEALTHY),
        ("sram-threshold", {"sram_threshold_exceeded": True}, Health.DRAINING),
        ("fabric-limited", {"fabric_health": 3}, Health.DEGRADED),
        ("hot", {"temperature_margin": 0}, Health.DEGRADED),
        ("pcie-width", {"pcie_width": 8}, Health.DEGRADED),
    ],
)
def test_a_condition_is_seen_in_one_reading(code: str, changes: dict[str, object], health: Health) -> None:
    row = next(each for each in CONDITIONS if each.code == code)
    verdict = Watched().after(10.0, **changes)
    assert (verdict.health, verdict.reason, verdict.since) == (health, row.sentence, 10.0)


def test_every_condition_is_tested() -> None:
    mark = next(each for each in test_a_condition_is_seen_in_one_reading.pytestmark if each.name == "parametrize")
    assert [each[0] for each in mark.args[1]] == [row.code for row in CONDITIONS]


@pytest.mark.parametrize("rule", RECOVERY.values(), ids=lambda rule: str(rule.action))
def test_the_drivers_own_verdict_decides(rule: object) -> None:
    found = recovery_of(rule.action)  # type: ignore[attr-defined]
    verdict = Watched().after(10.0, recovery_action=found.action)
    assert verdict.health is found.health
    expected = {0: Health.HEALTHY, 3: Health.DRAINING, 5: Health.DEGRADED}
    assert found.health is expected.get(found.action, Health.UNHEALTHY)
    if found.action:
        assert verdict.reason == found.sentence


def test_a_recovery_action_that_is_not_known_still_keeps_new_work_away() -> None:
    assert Watched().after(10.0, recovery_action=42).health is Health.DRAINING


def test_a_fault_that_no_reading_shows_any_more_is_over_after_ten_clean_minutes() -> None:
    one = Watched()
    one.after(10.0, fabric_health=2)
    verdict = one.after(60.0, fabric_health=1)
    assert verdict.health is Health.RECOVERING
    assert "the NVLink fabric calls the GPU unhealthy" in verdict.reason
    assert one.after(590.0).health is Health.RECOVERING
    assert one.after(10.0).health is Health.HEALTHY


def test_a_new_fault_while_recovering_counts_at_once() -> None:
    one = Watched()
    one.after(10.0, fabric_health=2)
    one.after(70.0, fabric_health=1)
    assert one.after(10.0, fabric_health=2).health is Health.UNHEALTHY


def test_what_a_reading_does_not_tell_changes_nothing() -> None:
    one = Watched()
    one.after(10.0, remap_failed=True)
    one.after(10.0, answer=Answer.SILENT, remap_failed=None)
    verdict = one.after(1000.0, answer=Answer.ANSWERS, remap_failed=None)
    assert verdict.health is Health.UNHEALTHY


def test_a_device_that_is_gone_from_the_bus_and_comes_back_has_to_prove_itself() -> None:
    one = Watched()
    one.heard(79)
    one.after(10.0, answer=Answer.LOST)
    one.after(300.0)
    one.machine.gone(one.now)
    assert one.machine.verdict.health is Health.UNHEALTHY
    verdict = one.after(60.0, answer=Answer.ANSWERS)
    assert verdict.health is Health.RECOVERING
    assert one.after(640.0).health is Health.HEALTHY


def test_a_device_that_can_not_be_read_three_times_takes_no_new_work() -> None:
    one = Watched()
    assert one.after(10.0, answer=Answer.SILENT, problem="Unknown Error").health is Health.HEALTHY
    assert one.after(10.0).health is Health.HEALTHY
    verdict = one.after(10.0)
    assert verdict.health is Health.DRAINING
    assert "Unknown Error" in verdict.reason


class TestErrorsWithoutAVerdictOfTheDriver:
    """Drivers before recovery actions: something else has to show that it is over."""

    def test_ten_minutes_of_work_without_another_error_end_it(self) -> None:
        one = Watched()
        one.heard(109)
        assert one.after(590.0).health is Health.UNHEALTHY
        assert one.after(30.0).health is Health.RECOVERING
        assert one.after(600.0).health is Health.HEALTHY

    def test_idle_time_proves_nothing(self) -> None:
        one = Watched(replace(WELL_READ, utilization=0))
        one.heard(109)
        assert one.after(3600.0).health is Health.UNHEALTHY

    def test_a_clean_day_ends_it_all_the_same(self) -> None:
        one = Watched(replace(WELL_READ, utilization=0))
        one.heard(109, age=86_390.0)
        one.see()
        assert one.after(80.0).health is Health.RECOVERING
        assert one.after(600.0).health is Health.HEALTHY

    @pytest.mark.parametrize("counter", ["ecc_uncorrected", "ecc_corrected", "energy_mj"])
    def test_a_counter_that_began_anew_ends_it(self, counter: str) -> None:
        one = Watched(replace(WELL_READ, utilization=0, **{counter: 1000}))
        one.heard(95)
        assert one.after(30.0).health is Health.UNHEALTHY
        assert one.after(40.0, **{counter: 3}).health is Health.RECOVERING
        assert one.after(600.0).health is Health.HEALTHY


class TestAfterARestartOfTheAgent:
    def test_an_old_error_that_is_over_costs_nothing(self) -> None:
        one = HealthMachine(0.0)
        one.heard(Xid(79, GPU, age=7200.0), 0.0)
        assert one.verdict.health is Health.HEALTHY
        assert one.saw(replace(WELL_READ, recovery_action=0), FACTS, 0.0).health is Health.HEALTHY

    def test_an_old_error_that_the_driver_still_asks_to_recover_from_counts_at_once(self) -> None:
        one = HealthMachine(0.0)
        one.heard(Xid(95, GPU, age=7200.0), 0.0)
        assert one.saw(replace(WELL_READ, recovery_action=1), FACTS, 0.0).health is Health.UNHEALTHY

    def test_a_recent_error_is_recovered_from(self) -> None:
        one = HealthMachine(0.0)
        one.heard(Xid(79, GPU, age=300.0), 0.0)
        assert one.saw(replace(WELL_READ, recovery_action=0), FACTS, 0.0).health is Health.RECOVERING
        assert one.saw(replace(WELL_READ, recovery_action=0), FACTS, 300.0).health is Health.HEALTHY


class TestMemory:
    def test_a_pending_replacement_drains_only_once_nothing_runs(self) -> None:
        one = Watched()
        assert one.after(100.0, remap_pending=True).health is Health.DEGRADED
        assert one.after(1000.0).health is Health.DEGRADED
        one.after(10.0, utilization=0)
        assert one.after(50.0).health is Health.DEGRADED
        verdict = one.after(10.0)
        assert verdict.health is Health.DRAINING
        assert "reset it now" in verdict.reason

    def test_and_stays_drained_until_the_reset_although_work_comes(self) -> None:
        one = Watched(replace(WELL_READ, utilization=0, remap_pending=True))
        one.after(100.0)
        assert one.after(1000.0, utilization=90).health is Health.DRAINING
        assert one.after(10.0, remap_pending=False).health is Health.RECOVERING

    @pytest.mark.parametrize("code", [63, 48])
    def test_one_that_the_driver_announced_drains_at_once(self, code: int) -> None:
        one = Watched()
        one.heard(code)
        verdict = one.after(10.0, remap_pending=True)
        assert verdict.health is Health.DRAINING
        assert "to be replaced by a reset" in verdict.reason

    @pytest.mark.parametrize("order", [(48, 94), (94, 48)])
    def test_a_double_bit_error_that_was_contained_costs_the_program_only(self, order: tuple[int, int]) -> None:
        one = Watched()
        for code in order:
            one.heard(code)
            one.now += 1.0
        assert one.after(70.0).health in (Health.RECOVERING, Health.HEALTHY)
        assert one.after(600.0).health is Health.HEALTHY

    def test_a_double_bit_error_alone_drains(self) -> None:
        one = Watched()
        one.heard(48)
        one.now += 6.0
        one.heard(94)  # of another accident
        assert one.machine.verdict.health is Health.DRAINING

    def test_a_double_bit_error_with_an_uncontained_one_kills(self) -> None:
        one = Watched()
        one.heard(48)
        assert one.heard(95).health is Health.UNHEALTHY

    def test_uncorrected_errors_without_a_contained_one_kill_after_a_moment(self) -> None:
        one = Watched(replace(WELL_READ, ecc_uncorrected=2))
        assert one.after(10.0, ecc_uncorrected=3).health is Health.HEALTHY
        assert one.machine.next_look == 15.0
        one.now = 15.0
        assert one.see().health is Health.UNHEALTHY

    @pytest.mark.parametrize("later", [False, True])
    def test_uncorrected_errors_with_a_contained_one_do_not(self, later: bool) -> None:
        one = Watched(replace(WELL_READ, ecc_uncorrected=2))
        if not later:
            one.heard(94)
        one.after(10.0, ecc_uncorrected=3)
        if later:
            one.heard(94)
        assert one.after(10.0).health is Health.HEALTHY
        assert one.after(100.0).health is Health.HEALTHY


class TestHeatAndLinks:
    def test_a_tenth_of_ten_minutes_held_back_degrades(self) -> None:
        one = Watched(replace(WELL_READ, throttled_heat_ns=0, throttled_brake_ns=0))
        one.after(100.0)
        assert one.after(10.0, throttled_heat_ns=40_000_000_000).health is Health.HEALTHY
        verdict = one.after(10.0, throttled_brake_ns=21_000_000_000)
        assert verdict.health is Health.DEGRADED
        assert one.after(540.0).health is Health.DEGRADED
        assert one.after(120.0).health is Health.HEALTHY

    def test_a_driver_that_counts_no_time_is_asked_for_its_reasons(self) -> None:
        one = Watched(replace(WELL_READ, throttle_reasons=0x1))
        one.after(600.0)
        one.after(50.0, throttle_reasons=0x40)
        assert one.machine.verdict.health is Health.HEALTHY
        assert one.after(120.0).health is Health.DEGRADED

    def test_power_capping_by_software_is_normal(self) -> None:
        one = Watched(replace(WELL_READ, throttle_reasons=0x4))
        assert one.after(2000.0).health is Health.HEALTHY

    @pytest.mark.parametrize(("name", "few", "many"), [("pcie_replays", 79, 80), ("nvlink_errors", 59, 60)])
    def test_errors_of_a_link_that_grow_degrade(self, name: str, few: int, many: int) -> None:
        one = Watched(replace(WELL_READ, **{name: 10_000}))
        assert one.after(300.0, **{name: 10_000 + few}).health is Health.HEALTHY
        assert one.after(10.0, **{name: 10_000 + many}).health is Health.DEGRADED
        assert one.after(700.0).health is Health.HEALTHY

    def test_a_counter_that_was_set_back_has_not_grown(self) -> None:
        one = Watched(replace(WELL_READ, pcie_replays=10_000))
        assert one.after(300.0, pcie_replays=0).health is Health.HEALTHY

    def test_a_link_that_was_there_before_is_missed(self) -> None:
        one = Watched(replace(WELL_READ, nvlinks_active=18))
        verdict = one.after(10.0, nvlinks_active=17)
        assert (verdict.health, verdict.reason) == (Health.DEGRADED, "17 of 18 NVLinks are up")

    def test_a_link_that_its_neighbours_have_is_missed(self) -> None:
        one = HealthMachine(0.0)
        verdict = one.saw(replace(WELL_READ, nvlinks_active=16), FACTS, 0.0, siblings_links=18)
        assert verdict.reason == "16 of 18 NVLinks are up"

    def test_a_narrow_link_of_an_idle_device_saves_power(self) -> None:
        assert Watched().after(10.0, pcie_width=4, utilization=0).health is Health.HEALTHY


def test_the_worst_is_told_and_how_many_others_there_are() -> None:
    one = Watched()
    one.heard(74)
    verdict = one.after(10.0, remap_failed=True, temperature_margin=-1)
    assert verdict.health is Health.UNHEALTHY
    assert verdict.reason.endswith("(and 2 more)")


def test_a_state_that_is_not_known_here_gets_no_work() -> None:
    assert health_from_wire(99) is Health.DRAINING
    assert [health_from_wire(each.value) for each in Health] == list(Health)


@pytest.mark.parametrize(
    ("health", "takes"),
    [
        (Health.HEALTHY, True),
        (Health.DEGRADED, True),
        (Health.DRAINING, False),
        (Health.UNHEALTHY, False),
        (Health.RECOVERING, False),
    ],
)
def test_only_healthy_and_degraded_gpus_take_work(health: Health, takes: bool) -> None:
    assert health.takes_work is takes
