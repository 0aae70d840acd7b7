"""Minutes of many devices in few bytes, and one device found among them."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arbora.gpus.health import Health
from arbora_hub.gpus.minute import Minute
from arbora_hub.gpus.packing import MEMORY_UNIT, SIZE, find, key_of, pack

ONE_HASH = ("GPU-70f8e8744af72bda", "GPU-ae28cb82a80019b3")
"""UUIDs whose keys are the same: whoever names devices finds such in five minutes."""

uuids = st.text(min_size=1, max_size=40)
exact = st.builds(
    Minute,
    utilization=st.none() | st.integers(0, 100),
    utilization_max=st.none() | st.integers(0, 100),
    memory_used_mib=st.none() | st.integers(0, 60_000).map(lambda units: units * MEMORY_UNIT),
    power=st.none() | st.integers(0, 60_000),
    temperature=st.none() | st.integers(0, 200),
    health=st.sampled_from(Health),
    throttled=st.booleans(),
)
measured = st.builds(
    Minute,
    utilization=st.floats(0, 100),
    memory_used_mib=st.floats(0, 1_000_000),
    power=st.floats(0, 10_000),
)


@given(st.dictionaries(uuids, exact, max_size=20))
def test_every_device_has_its_own_minute_again(minutes: dict[str, Minute]) -> None:
    data = pack(minutes)
    assert len(data) == SIZE * len(minutes)
    assert {uuid: find(data, uuid) for uuid in minutes} == minutes


@given(st.dictionaries(uuids, exact, max_size=20), uuids)
def test_a_device_that_is_not_there_has_none(minutes: dict[str, Minute], other: str) -> None:
    minutes.pop(other, None)
    assert find(pack(minutes), other) is None


@given(st.dictionaries(uuids, exact, max_size=10), st.randoms(use_true_random=False))
def test_the_order_in_which_devices_come_makes_no_difference(
    minutes: dict[str, Minute], chance: random.Random
) -> None:
    shuffled = list(minutes.items())
    chance.shuffle(shuffled)
    assert pack(dict(shuffled)) == pack(minutes)


@given(measured)
def test_what_is_measured_comes_back_as_near_as_its_unit_allows(minute: Minute) -> None:
    found = find(pack({"GPU-0": minute}), "GPU-0")
    assert found is not None
    assert found.utilization == pytest.approx(minute.utilization, abs=0.5)
    assert found.memory_used_mib == pytest.approx(minute.memory_used_mib, abs=MEMORY_UNIT / 2)
    assert found.power == pytest.approx(minute.power, abs=0.5)
    assert (found.utilization_max, found.temperature) == (None, None), "what is not known stays so"


def test_what_is_more_than_fits_is_the_most_that_fits_and_never_unknown() -> None:
    huge = Minute(1e9, 10**9, 1e9, 1e9, 10**9)
    found = find(pack({"GPU-0": huge}), "GPU-0")
    assert found == Minute(254, 254, 65_534 * MEMORY_UNIT, 65_534, 254)


def test_zero_is_not_unknown() -> None:
    nothing, zero = Minute(), Minute(0, 0, 0, 0, 0)
    data = pack({"a": nothing, "b": zero})
    assert (find(data, "a"), find(data, "b")) == (nothing, zero)


def test_a_health_alone_is_a_minute_too() -> None:
    minute = Minute(health=Health.UNHEALTHY)
    assert find(pack({"GPU-0": minute}), "GPU-0") == minute


def test_a_member_with_512_devices_takes_8_kb() -> None:
    assert len(pack({f"GPU-{index}": Minute(50) for index in range(512)})) == 8192


def test_two_devices_whose_names_have_one_hash_do_no_harm() -> None:
    assert key_of(ONE_HASH[0]) == key_of(ONE_HASH[1])
    minutes = {ONE_HASH[0]: Minute(10), ONE_HASH[1]: Minute(10, throttled=True), "GPU-0": Minute(30)}
    data = pack(minutes)
    assert find(data, "GPU-0") == Minute(30)
    assert find(data, ONE_HASH[0]) in minutes.values()


# what a damaged or a newer store holds


@given(st.binary(max_size=200), uuids)
@example(b"", "GPU-0")
@example(key_of("GPU-0"), "GPU-0")
def test_whatever_bytes_there_are_a_device_is_found_or_not(data: bytes, uuid: str) -> None:
    assert find(data, uuid) is None or isinstance(find(data, uuid), Minute)


@given(st.dictionaries(uuids, exact, min_size=1, max_size=5), st.data())
def test_a_row_that_was_cut_off_is_not_there_and_those_before_it_are(
    minutes: dict[str, Minute], data: st.DataObject
) -> None:
    whole = pack(minutes)
    length = data.draw(st.integers(0, len(whole)))
    found = {uuid: find(whole[:length], uuid) for uuid in minutes}
    kept = {uuid for uuid, minute in found.items() if minute is not None}
    assert kept == set(sorted(minutes, key=key_of)[: length // SIZE])
    assert {uuid: found[uuid] for uuid in kept} == {uuid: minutes[uuid] for uuid in kept}


@pytest.mark.parametrize("number", [0, 6, 0x7F])
def test_a_health_that_a_newer_hub_wrote_is_none_that_takes_work(number: int) -> None:
    data = bytearray(pack({"GPU-0": Minute(50)}))
    data[-1] = number
    found = find(bytes(data), "GPU-0")
    assert found is not None
    assert not found.health.takes_work
