"""Which class a device is summed up under."""

from __future__ import annotations

import pytest

from arbora.capacity.gpus import GpuClass
from arbora.gpus.model import Device
from arbora_hub.gpus.classes import class_of

H100 = GpuClass("nvidia", "NVIDIA-H100-80GB-HBM3")
L4 = GpuClass("nvidia", "NVIDIA-L4")
SHORT = GpuClass("nvidia", "H100")
DEVICE = Device("GPU-0", 0, "NVIDIA H100 80GB HBM3")


def test_a_device_belongs_to_the_class_of_its_product() -> None:
    assert class_of(DEVICE, [L4, H100]) == H100


def test_a_device_of_a_member_without_sketches_has_the_class_that_its_driver_says() -> None:
    assert class_of(DEVICE, []) == H100


@pytest.mark.parametrize("known", [SHORT, GpuClass("nvidia", "nvidia-gpu")])
def test_where_sketches_know_one_product_only_it_is_that_one(known: GpuClass) -> None:
    assert class_of(DEVICE, [known]) == known


def test_where_sketches_know_several_others_it_is_what_the_driver_says() -> None:
    assert class_of(DEVICE, [SHORT, L4]) == H100


def test_products_of_other_vendors_are_none() -> None:
    assert class_of(DEVICE, [GpuClass("amd", "MI300X"), GpuClass("none", "none")]) == H100
    assert class_of(DEVICE, [GpuClass("amd", "MI300X"), SHORT]) == SHORT


def test_a_device_without_a_name_is_some_gpu_of_its_vendor() -> None:
    assert class_of(Device("GPU-0", 0), [H100, L4]) == GpuClass("nvidia", "nvidia-gpu")
    assert class_of(Device("GPU-0", 0), [H100]) == H100


def test_a_device_is_shared_as_the_sketches_say() -> None:
    shared = GpuClass("nvidia", H100.product, sharing="time-slicing")
    assert class_of(DEVICE, [shared, L4]) == shared
    assert class_of(DEVICE, [shared, H100]) == H100, "a member that has both is summed up under one"


def test_of_a_divided_device_the_whole_counts() -> None:
    slices = GpuClass("nvidia", H100.product, "1g.10gb")
    assert class_of(DEVICE, [slices]) == H100
    assert class_of(DEVICE, [GpuClass("nvidia", H100.product, "1g.10gb", "mps"), H100]) == H100


def test_the_order_of_the_sketches_makes_no_difference() -> None:
    known = [L4, SHORT, GpuClass("nvidia", H100.product, sharing="mps"), H100]
    assert class_of(DEVICE, known) == class_of(DEVICE, known[::-1]) == H100
