"""One device over one minute: a value counts for as long as it stood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.gpus.health import Health
from arbora.gpus.model import NOTHING, Values
from arbora_hub.gpus.minute import Gathering, Minute

POWER_LIMIT, HARDWARE_SLOWDOWN, HEAT_BY_SOFTWARE, HEAT_BY_HARDWARE, POWER_BRAKE = 0x4, 0x8, 0x20, 0x40, 0x80


def gathering(*values: Values) -> Gathering:
    """A device whose minute begins at 0 with these values."""
    made = Gathering(0.0)
    for each in values:
        made.take(each, 0.0)
    return made


def closed(one: Gathering, now: float = 60.0, health: Health = Health.HEALTHY) -> Minute:
    return one.close(health, now)


def use(percent: int) -> Values:
    return Values(utilization=percent)


# means


def test_a_mean_weighs_each_value_by_how_long_it_stood() -> None:
    one = gathering(Values(utilization=100, memory_used_mib=80_000, power=700))
    one.take(Values(utilization=0, memory_used_mib=0, power=100), 15.0)
    minute = closed(one)
    assert (minute.utilization, minute.memory_used_mib, minute.power) == (25.0, 20_000.0, 250.0)


def test_a_value_that_is_sent_often_counts_no_more_than_one_that_is_sent_once() -> None:
    one = gathering(use(0))
    one.take(use(100), 30.0)
    for second in range(31, 60):
        one.take(use(100), float(second))
    assert closed(one).utilization == 50.0


def test_what_is_known_for_a_part_of_the_minute_is_the_mean_of_that_part() -> None:
    one = gathering()
    one.take(use(40), 20.0)
    one.take(use(80), 40.0)
    assert closed(one).utilization == 60.0


def test_what_a_device_does_not_offer_is_unknown_and_not_zero() -> None:
    minute = closed(gathering(Values(power=300)))
    assert minute == Minute(power=300.0)
    assert minute.known


def test_a_device_that_said_nothing_is_unknown() -> None:
    minute = closed(gathering())
    assert minute == Minute()
    assert not minute.known


def test_a_minute_that_took_no_time_has_the_value_that_stood() -> None:
    assert closed(gathering(use(70)), now=0.0).utilization == 70


values = st.builds(
    Values,
    utilization=st.none() | st.integers(0, 100),
    memory_used_mib=st.none() | st.integers(0, 200_000),
    temperature=st.none() | st.integers(0, 120),
    power=st.none() | st.integers(0, 2_000),
    throttle=st.none() | st.integers(0, 0x1FF),
)
changes = st.lists(st.tuples(st.integers(0, 60), values), max_size=8).map(
    lambda those: sorted(those, key=lambda change: change[0])
)


@given(changes)
def test_a_mean_is_that_of_every_second_and_a_high_is_that_of_everything_seen(
    those: list[tuple[int, Values]],
) -> None:
    one = Gathering(0.0)
    seconds = [NOTHING] * 60
    for at, value in those:
        one.take(value, float(at))
        seconds[at:] = [value] * (60 - at)
    minute = closed(one)
    for name in ("utilization", "memory_used_mib", "power"):
        stood = [known for each in seconds if (known := getattr(each, name)) is not None]
        if stood:
            assert getattr(minute, name) == pytest.approx(sum(stood) / len(stood)), name
    for name, high in (("utilization", minute.utilization_max), ("temperature", minute.temperature)):
        seen = [known for _, each in those if (known := getattr(each, name)) is not None]
        assert high == max(seen, default=None), name


@given(changes, st.integers(0, 60))
def test_hearing_the_same_once_more_changes_nothing(those: list[tuple[int, Values]], again: int) -> None:
    plain, repeated = Gathering(0.0), Gathering(0.0)
    last, told = NOTHING, False
    for at, value in those:
        if at > again and not told:
            told = True
            repeated.take(last, float(again))
        plain.take(value, float(at))
        repeated.take(value, float(at))
        last = value
    one, other = closed(plain), closed(repeated)
    assert (other.utilization, other.power) == (pytest.approx(one.utilization), pytest.approx(one.power))
    assert (other.utilization_max, other.temperature, other.throttled) == (
        one.utilization_max,
        one.temperature,
        one.throttled,
    )


# highs


def test_a_high_counts_however_short_it_was() -> None:
    one = gathering(Values(utilization=10, temperature=40))
    one.take(Values(utilization=99, temperature=88), 30.0)
    one.take(Values(utilization=10, temperature=41), 30.0)
    minute = closed(one)
    assert (minute.utilization_max, minute.temperature) == (99, 88)
    assert minute.utilization == 10.0


@pytest.mark.parametrize("reason", [HARDWARE_SLOWDOWN, HEAT_BY_SOFTWARE, HEAT_BY_HARDWARE, POWER_BRAKE])
def test_a_device_that_was_held_back_by_heat_or_power_was_throttled_in_that_minute(reason: int) -> None:
    one = gathering(Values(throttle=reason | POWER_LIMIT))
    one.take(Values(throttle=0), 1.0)
    assert closed(one).throttled
    assert not closed(one, 120.0).throttled


@pytest.mark.parametrize("reasons", [None, 0, POWER_LIMIT, 0x1, 0x2])
def test_a_device_at_its_power_limit_was_not_throttled(reasons: int | None) -> None:
    assert not closed(gathering(Values(throttle=reasons))).throttled


# health


def test_the_health_of_a_minute_is_the_worst_that_was_known_in_it() -> None:
    one = gathering()
    one.judged(Health.UNHEALTHY)
    one.judged(Health.RECOVERING)
    assert closed(one, health=Health.RECOVERING).health is Health.UNHEALTHY
    assert closed(one, 120.0, Health.RECOVERING).health is Health.RECOVERING
    assert closed(one, 180.0, Health.HEALTHY).health is Health.RECOVERING, "it was so until it was healthy"
    assert closed(one, 240.0, Health.HEALTHY).health is Health.HEALTHY


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (Health.DEGRADED, Health.HEALTHY),
        (Health.RECOVERING, Health.DEGRADED),
        (Health.DRAINING, Health.RECOVERING),
        (Health.UNHEALTHY, Health.DRAINING),
    ],
)
def test_which_of_two_is_worse_is_not_a_matter_of_their_numbers(worse: Health, better: Health) -> None:
    for first, second in ((worse, better), (better, worse)):
        one = gathering()
        one.judged(first)
        assert closed(one, health=second).health is worse


# from one minute to the next


def test_a_value_that_stood_over_the_end_of_a_minute_is_that_of_the_next_one_too() -> None:
    standing = Values(90, memory_used_mib=70_000, temperature=66, power=650, throttle=HEAT_BY_HARDWARE)
    one = gathering(standing)
    first, second = closed(one), closed(one, 120.0)
    assert first == second == Minute(90.0, 90, 70_000.0, 650.0, 66, throttled=True)


def test_a_value_that_stood_over_the_end_counts_in_the_next_minute_until_it_changes() -> None:
    one = gathering(Values(utilization=100, temperature=80))
    closed(one)
    one.take(Values(utilization=0, temperature=50), 75.0)
    minute = closed(one, 120.0)
    assert (minute.utilization, minute.utilization_max, minute.temperature) == (25.0, 100, 80)


def test_what_was_before_the_end_is_not_in_the_next_minute() -> None:
    one = gathering(Values(utilization=100, temperature=80, throttle=HEAT_BY_HARDWARE))
    one.take(Values(utilization=0, temperature=40, throttle=0), 59.0)
    closed(one)
    assert closed(one, 120.0) == Minute(0.0, 0, temperature=40)


# silence


def test_of_a_device_that_is_silent_nothing_is_known_from_then_on() -> None:
    one = gathering(Values(utilization=100, temperature=70))
    one.silence(30.0)
    assert one.values == NOTHING
    minute = closed(one)
    assert (minute.utilization, minute.utilization_max, minute.temperature) == (100.0, 100, 70)
    assert not closed(one, 120.0).known


def test_a_device_that_speaks_again_is_known_from_then_on() -> None:
    one = gathering(use(100))
    one.silence(10.0)
    closed(one)
    one.take(use(20), 110.0)
    minute = closed(one, 120.0)
    assert (minute.utilization, minute.utilization_max) == (20.0, 20)


# a member that is away


def test_the_time_in_which_a_member_is_away_counts_for_nothing() -> None:
    one = gathering(use(100))
    one.pause(10.0)
    one.resume(50.0)
    one.take(use(0), 50.0)
    assert closed(one).utilization == 50.0, "ten seconds of each"


def test_what_stood_before_a_member_was_away_is_not_the_high_of_the_minute_in_which_it_is_back() -> None:
    one = gathering(Values(utilization=100, temperature=85, throttle=HEAT_BY_HARDWARE))
    one.pause(10.0)
    for end in (60.0, 120.0):
        closed(one, end)
    one.resume(150.0)
    one.take(Values(utilization=5, temperature=40, throttle=0), 150.0)
    assert closed(one, 180.0) == Minute(5.0, 5, temperature=40)


def test_what_is_still_so_when_a_member_is_back_counts_from_then_on() -> None:
    one = gathering(Values(utilization=100, temperature=85))
    one.pause(10.0)
    closed(one)
    one.resume(90.0)
    minute = closed(one, 120.0)
    assert (minute.utilization, minute.utilization_max, minute.temperature) == (100.0, 100, 85)


def test_to_be_away_twice_at_once_is_to_be_away_and_to_be_back_twice_is_to_be_back() -> None:
    one = gathering(use(100))
    one.pause(10.0)
    one.pause(40.0)
    one.resume(50.0)
    one.take(use(0), 50.0)
    one.resume(58.0)
    assert closed(one).utilization == 50.0
