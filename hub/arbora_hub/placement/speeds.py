"""How fast GPU products are, relative to each other. Pure data.

Dense FP16/BF16 tensor throughput in TFLOPS from the vendors' data sheets, without sparsity. Only ratios are used,
and only as one part of the performance score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from arbora.capacity.gpus import GpuClass

TFLOPS: Mapping[str, float] = {
    "gb200": 2500.0,
    "b200": 2250.0,
    "h200": 989.0,
    "h100": 989.0,
    "h800": 989.0,
    "mi300x": 1307.0,
    "a100": 312.0,
    "a800": 312.0,
    "l40s": 362.0,
    "l40": 181.0,
    "a40": 150.0,
    "a30": 165.0,
    "a10": 125.0,
    "v100": 125.0,
    "l4": 121.0,
    "t4": 65.0,
}


@lru_cache(maxsize=1024)
def speed_of(gpu_class: GpuClass | None) -> float:
    """Of the class; NaN if the table does not know its product."""
    if gpu_class is None:
        return math.nan
    words = gpu_class.product.lower().replace("_", "-").replace(" ", "-").split("-")
    return next((TFLOPS[word] for word in words if word in TFLOPS), math.nan)
