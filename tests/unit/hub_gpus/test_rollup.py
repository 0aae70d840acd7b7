"""Devices of one class added up: however a tree is cut, the sums are the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.capacity.gpus import GpuClass
from arbora.errors import InvalidInput
from arbora.gpus.health import Health
from arbora.gpus.model import NOTHING, Device, Use, Values
from arbora.v1 import gpu_pb2 as pb
from arbora_hub.gpus.minute import Minute
from arbora_hub.gpus.rollup import (
    MAX_ROWS,
    NAMES,
    Rollup,
    add,
    from_wire,
    of_minute,
    of_values,
    row_to_wire,
    to_wire,
)

H100 = GpuClass("nvidia", "H100")
L4 = GpuClass("nvidia", "L4")
GIB = 2**30

rows = st.builds(Rollup, **{name: st.integers(0, 1_000_000) for name in NAMES})
classes = st.sampled_from([H100, L4, GpuClass("nvidia", "H100", sharing="mps"), GpuClass("amd", "MI300X")])
devices = st.builds(
    lambda memory, health, use: Device("GPU", 0, memory_bytes=memory, health=health, use=use),
    st.none() | st.integers(0, 2**40),
    st.sampled_from(Health),
    st.sampled_from(Use),
)
minutes = st.builds(
    Minute,
    utilization=st.none() | st.floats(0, 100),
    utilization_max=st.none() | st.integers(0, 100),
    memory_used_mib=st.none() | st.floats(0, 1e6),
    power=st.none() | st.floats(0, 2000),
    temperature=st.none() | st.integers(0, 120),
    health=st.sampled_from(Health),
    throttled=st.booleans(),
)
one_device = st.tuples(classes, st.builds(of_minute, devices, minutes, st.booleans()))


def by_class(those: Iterable[tuple[GpuClass, Rollup]]) -> dict[GpuClass, Rollup]:
    found: defaultdict[GpuClass, list[Rollup]] = defaultdict(list)
    for gpu_class, row in those:
        found[gpu_class].append(row)
    return {gpu_class: add(each) for gpu_class, each in found.items()}


def sent(those: dict[GpuClass, Rollup]) -> dict[GpuClass, Rollup]:
    """As the hub above reads it."""
    return from_wire(pb.GpuRollups.FromString(to_wire(those.items()).SerializeToString()))


# a commutative monoid


@given(rows, rows, rows)
def test_adding_is_associative(a: Rollup, b: Rollup, c: Rollup) -> None:
    assert add([add([a, b]), c]) == add([a, add([b, c])]) == add([a, b, c])


@given(rows, rows)
def test_adding_is_commutative(a: Rollup, b: Rollup) -> None:
    assert add([a, b]) == add([b, a])


@given(rows)
def test_the_empty_row_is_the_identity(a: Rollup) -> None:
    assert add([a, Rollup()]) == add([Rollup(), a]) == add([a]) == a
    assert add([]) == Rollup()


def test_counts_add_up_and_of_highs_the_highest_stays() -> None:
    one = Rollup(devices=2, utilization_sum=100, utilization_max=60, temperature_max=80, silent=1)
    other = Rollup(devices=3, utilization_sum=50, utilization_max=90, temperature_max=70)
    assert add([one, other]) == Rollup(
        devices=5, utilization_sum=150, utilization_max=90, temperature_max=80, silent=1
    )


# over the wire


@given(st.dictionaries(classes, rows))
def test_rows_survive_the_wire(those: dict[GpuClass, Rollup]) -> None:
    assert sent(those) == those


@given(st.lists(st.tuples(one_device, st.integers(0, 2)), max_size=12))
def test_what_child_hubs_say_adds_up_as_if_their_devices_were_its_own(
    those: list[tuple[tuple[GpuClass, Rollup], int]],
) -> None:
    """A device belongs to this hub (0), to a child hub (1), or to a hub below that one (2)."""
    own, child, grandchild = ([device for device, at in those if at == hub] for hub in range(3))
    below = sent(by_class([*child, *sent(by_class(grandchild)).items()]))
    assert by_class([*own, *below.items()]) == by_class(device for device, _ in those)


def test_the_record_has_a_field_for_every_number_and_no_other() -> None:
    assert {each.name for each in pb.GpuRollup.DESCRIPTOR.fields} == {"gpu_class", *NAMES}


def test_the_record_is_the_same_whatever_order_the_classes_come_in() -> None:
    those = [(H100, Rollup(devices=8)), (L4, Rollup(devices=2))]
    assert to_wire(those) == to_wire(those[::-1])


def test_two_rows_of_one_class_are_one() -> None:
    message = pb.GpuRollups(rows=[row_to_wire(H100, Rollup(devices=8)), row_to_wire(H100, Rollup(devices=2))])
    assert from_wire(message) == {H100: Rollup(devices=10)}


def test_more_classes_than_a_record_takes_are_left_out_and_never_read() -> None:
    many = [(GpuClass("nvidia", f"{index:04}"), Rollup(devices=1)) for index in range(MAX_ROWS + 1)]
    assert len(from_wire(to_wire(many))) == MAX_ROWS
    message = pb.GpuRollups(rows=[row_to_wire(*each) for each in many])
    with pytest.raises(InvalidInput, match="257") as caught:
        from_wire(message)
    assert caught.value.field == "gpu-rollup.rows"


def test_a_class_without_a_name_is_refused_by_field() -> None:
    message = pb.GpuRollups(rows=[row_to_wire(H100, Rollup()), pb.GpuRollup(devices=1)])
    with pytest.raises(InvalidInput) as caught:
        from_wire(message)
    assert caught.value.field == "gpu-rollup.rows[1].gpu_class.vendor"


@given(st.builds(Rollup, **{name: st.integers(0, 2**70) for name in NAMES}))
def test_what_no_field_holds_is_cut_to_what_it_holds(row: Rollup) -> None:
    read = sent({H100: row})[H100]
    for name in NAMES:
        assert getattr(read, name) <= getattr(row, name), name
    wide = ("utilization_sum", "memory_used_mib", "memory_total_mib", "power_milliwatts")
    for name in NAMES:
        assert getattr(read, name) == min(getattr(row, name), 2 ** (64 if name in wide else 32) - 1), name


# one device


def test_a_device_over_a_minute_in_numbers() -> None:
    device = Device("GPU-0", 0, memory_bytes=80 * GIB, health=Health.DEGRADED, use=Use.IDLE)
    minute = Minute(12.345, 90, 1024.4, 312.5, 71, throttled=True)
    assert of_minute(device, minute, silent=False) == Rollup(
        devices=1,
        reporting=1,
        utilization_known=1,
        utilization_sum=1234,
        utilization_max=90,
        memory_used_mib=1024,
        memory_total_mib=80 * 1024,
        power_milliwatts=312_500,
        temperature_max=71,
        throttled=1,
        degraded=1,
        idle=1,
    )


def test_a_device_as_it_is_now_in_numbers() -> None:
    device = Device("GPU-0", 0, memory_bytes=80 * GIB, use=Use.LEAKED)
    values = Values(utilization=50, memory_used_mib=2048, temperature=60, power=300, throttle=0x40)
    assert of_values(device, values, silent=False) == Rollup(
        devices=1,
        reporting=1,
        utilization_known=1,
        utilization_sum=5000,
        utilization_max=50,
        memory_used_mib=2048,
        memory_total_mib=80 * 1024,
        power_milliwatts=300_000,
        temperature_max=60,
        throttled=1,
        healthy=1,
        leaked=1,
    )


def test_a_silent_device_that_measured_nothing_counts_with_its_health_alone() -> None:
    device = Device("GPU-0", 0, memory_bytes=80 * GIB, health=Health.UNHEALTHY)
    expected = Rollup(devices=1, unhealthy=1, silent=1)
    assert of_minute(device, Minute(), silent=True) == of_values(device, NOTHING, silent=True) == expected


@pytest.mark.parametrize("health", Health)
def test_the_health_that_counts_is_that_at_the_end_of_the_minute(health: Health) -> None:
    row = of_minute(Device("GPU-0", 0, health=health), Minute(health=Health.UNHEALTHY), silent=False)
    counted = {each: getattr(row, each.name.lower()) for each in Health}
    assert counted == {each: int(each is health) for each in Health}


def test_memory_that_nobody_measured_is_not_in_the_sum_of_what_there_is() -> None:
    device = Device("GPU-0", 0, memory_bytes=80 * GIB)
    both = add([of_minute(device, Minute(memory_used_mib=1024.0), False), of_minute(device, Minute(), False)])
    assert (both.memory_used_mib, both.memory_total_mib) == (1024, 80 * 1024)


@pytest.mark.parametrize("name", ["utilization", "memory_used_mib", "power", "temperature"])
def test_a_device_that_measures_a_single_thing_reports(name: str) -> None:
    device = Device("GPU-0", 0)
    assert of_values(device, Values(**{name: 1}), silent=False).reporting == 1
    assert of_minute(device, Minute(**{name: 1}), silent=False).reporting == 1  # type: ignore[arg-type]


def test_a_mean_is_over_the_devices_that_tell_it_wherever_they_are() -> None:
    device = Device("GPU-0", 0)
    busy = [of_values(device, Values(utilization=100), False)] * 3
    calm, mute = of_values(device, Values(utilization=0), False), of_values(device, NOTHING, False)
    assert add([add(busy), add([calm, mute])]).utilization == 75.0
    assert mute.utilization is None
    assert Rollup().utilization is None
