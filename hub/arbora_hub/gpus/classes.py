"""Which class of a member's sketches a device belongs to, so that both are summed up under one name. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from arbora.capacity.gpus import GpuClass
from arbora.gpus.model import Device

VENDOR = "nvidia"


def class_of(device: Device, known: Iterable[GpuClass]) -> GpuClass:
    """The class of the whole device. known: those of the member's sketches.

    The sketches' names come from node labels, which may say less than the driver: where they know one product
    only, it is that one.
    """
    ours = [each for each in known if each.vendor == VENDOR]
    products = sorted({each.product for each in ours})
    product = device.product or "nvidia-gpu"
    if product not in products and len(products) == 1:
        product = products[0]
    shared = sorted(each.sharing for each in ours if each.product == product and not each.mig_profile)
    return GpuClass(VENDOR, product, "", shared[0] if shared else "exclusive")
