"""Names for the numpy arrays that placement works on, and how a column grows."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Hashes: TypeAlias = npt.NDArray[np.uint64]

LOTS = 2**31 - 1
"""Stands for no known limit; small enough to be summed."""


def grown(column: npt.NDArray[Any], length: int, fill: Any = 0) -> npt.NDArray[Any]:
    """The column with room for `length` entries, new ones holding `fill`."""
    if len(column) >= length:
        return column
    bigger = np.full((max(length, 2 * len(column), 16), *column.shape[1:]), fill, dtype=column.dtype)
    bigger[: len(column)] = column
    return bigger
