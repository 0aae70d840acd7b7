"""Any sequence of errors, readings and silences: reasons for each state, no flapping, nothing broken for ever."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from arbora.gpus.health import Health
from arbora_agent.gpu.health.finding import CLEAN, DAY, HOLD
from arbora_agent.gpu.health.machine import WELL, HealthMachine
from arbora_agent.gpu.health.xids import XIDS, Meaning
from arbora_agent.gpu.reading import Answer, GpuFacts, GpuReading, Xid

GPU = "GPU-1"
FACTS = GpuFacts(GPU, 0, pcie_width_max=16)
GOOD = GpuReading(GPU, utilization=50, pcie_width=16, ecc_uncorrected=10, temperature_margin=20)

codes = st.one_of(st.sampled_from(sorted(XIDS)), st.integers(0, 300))
readings = st.builds(
    GpuReading,
    st.just(GPU),
    answer=st.sampled_from(list(Answer)),
    utilization=st.one_of(st.none(), st.integers(0, 100)),
    throttled_heat_ns=st.one_of(st.none(), st.integers(0, 10**12)),
    ecc_uncorrected=st.one_of(st.none(), st.integers(0, 20)),
    remap_pending=st.one_of(st.none(), st.booleans()),
    remap_failed=st.one_of(st.none(), st.booleans()),
    recovery_action=st.one_of(st.none(), st.integers(0, 9)),
    pcie_width=st.one_of(st.none(), st.sampled_from([8, 16])),
    nvlinks_active=st.one_of(st.none(), st.integers(0, 18)),
    fabric_health=st.one_of(st.none(), st.integers(0, 3)),
    temperature_margin=st.one_of(st.none(), st.integers(-5, 50)),
    processes=st.one_of(st.none(), st.integers(0, 3)),
)
steps = st.lists(
    st.tuples(st.floats(0.0, 200.0), st.one_of(codes, readings, st.sampled_from(["gone", "tick"]))), max_size=40
)


def play(one: HealthMachine, what: object, now: float) -> None:
    if isinstance(what, int):
        one.heard(Xid(what, GPU), now)
    elif isinstance(what, GpuReading):
        one.saw(what, FACTS, now)
    elif what == "gone":
        one.gone(now)
    else:
        one.tick(now)


@given(steps)
def test_there_is_no_state_without_a_reason_and_none_gets_better_within_a_minute(
    given_steps: list[tuple[float, object]],
) -> None:
    one = HealthMachine(0.0)
    one.saw(GOOD, FACTS, 0.0)
    now = 0.0
    for pause, what in given_steps:
        now += pause
        before = one.verdict
        play(one, what, now)
        after = one.verdict
        assert after.reason
        assert (after.reason == WELL) is (after.health is Health.HEALTHY)
        if after.health is before.health:
            assert after.since == before.since
        else:
            assert after.since == now
            if after.health.severity < before.health.severity:
                assert now - before.since >= HOLD
            if before.health in (Health.UNHEALTHY, Health.DRAINING) and after.health.takes_work:
                assert now - before.since >= CLEAN


@given(steps, st.booleans())
def test_whatever_happened_a_gpu_that_works_again_is_healthy_after_a_day(
    given_steps: list[tuple[float, object]], has_verdict: bool
) -> None:
    one = HealthMachine(0.0)
    now = 0.0
    for pause, what in given_steps:
        now += pause
        play(one, what, now)
    good = replace(
        GOOD,
        nvlinks_active=18,
        recovery_action=0,
        remap_pending=False,
        remap_failed=False,
        fabric_health=1,
        throttled_heat_ns=0,
    )
    if not has_verdict:
        # a driver that never gave one: what it once said would otherwise stand
        one = HealthMachine(now)
        good = replace(good, recovery_action=None)
        for code in (79, 109, 48, 154):
            one.heard(Xid(code, GPU), now)
    end = now + DAY + 2 * CLEAN
    while now < end:
        now += 20.0
        one.saw(good, FACTS, now)
    assert one.verdict.health is Health.HEALTHY, one.verdict


@given(st.lists(st.tuples(st.floats(0.0, 100.0), codes), max_size=40))
def test_errors_of_applications_change_nothing(heard: list[tuple[float, int]]) -> None:
    harmless = {
        code
        for code, rule in XIDS.items()
        if rule.meaning in (Meaning.APPLICATION, Meaning.NOTHING, Meaning.LOOK)
    }
    one = HealthMachine(0.0)
    one.saw(GOOD, FACTS, 0.0)
    now = 0.0
    for pause, code in heard:
        now += pause
        if code in harmless:
            one.heard(Xid(code, GPU), now)
            one.saw(GOOD, FACTS, now)
        assert one.verdict.health is Health.HEALTHY


@given(steps)
def test_the_same_sequence_gives_the_same_verdicts(given_steps: list[tuple[float, object]]) -> None:
    machines = HealthMachine(0.0), HealthMachine(0.0)
    now = 0.0
    for pause, what in given_steps:
        now += pause
        for one in machines:
            play(one, what, now)
        assert machines[0].verdict == machines[1].verdict
