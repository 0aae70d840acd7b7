"""Prices of GPUs, from a file or an endpoint: read, checked, looked up, with their age. Pure, so no fetching.

    {"currency": "USD", "prices": {"H100": 2.5, "edge-7/H100": 1.9}}
    {"currency": "USD", "prices": [{"gpu": "H100", "hour": 2.5, "member": "edge-7",
                                    "interruptionsPerHour": 0.05, "restartFraction": 0.3}]}

A price is per device and hour. What may be interrupted costs more than its price: work is done again.
    effective = price x (1 + restartFraction x interruptions per hour)
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arbora.capacity.gpus import GpuClass
from arbora.errors import InvalidInput

KEPT_SECONDS = 24 * 3600.0
"""How long the last good prices are used when no newer ones come."""
MAX_PRICES = 10_000


@dataclass(frozen=True, slots=True)
class Price:
    """Of one GPU product, everywhere or in one member."""

    hour: float
    interruptions_per_hour: float = 0.0
    restart_fraction: float = 0.0
    """Of the work, how much an interruption costs."""

    @property
    def effective(self) -> float:
        """Per device and hour, interruptions included."""
        return self.hour * (1.0 + self.restart_fraction * self.interruptions_per_hour)


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices as they were at one time."""

    prices: Mapping[tuple[str, str], Price]
    """(member or empty, product in lower case) -> price."""
    currency: str = ""
    fetched: float = 0.0
    """When they were read, in seconds."""

    def price(self, member: str, gpu_class: GpuClass) -> float | None:
        """Per device and hour: the member's own price, else the product's; None if there is neither."""
        product = gpu_class.product.lower()
        found = self.prices.get((member, product)) or self.prices.get(("", product))
        return found.effective if found is not None else None

    def age(self, now: float) -> float:
        """Seconds since they were read."""
        return max(0.0, now - self.fetched)

    def usable(self, now: float) -> bool:
        """False once they are too old to decide by."""
        return self.age(now) <= KEPT_SECONDS


def parse_prices(data: str | bytes | Mapping[str, Any], fetched: float, field: str = "prices") -> PriceTable:
    """Read a table from JSON text or the object in it. Raises InvalidInput naming the entry that is wrong."""
    if isinstance(data, str | bytes):
        try:
            data = json.loads(data)
        except ValueError as error:
            raise InvalidInput("is not JSON", field=field) from error
    if not isinstance(data, Mapping):
        raise InvalidInput("is not an object", field=field, hint='Such as {"prices": {"H100": 2.5}}.')
    entries = data.get("prices", data)
    currency = data.get("currency", "")
    if not isinstance(currency, str):
        raise InvalidInput("is not a text", field=f"{field}.currency")
    if not isinstance(entries, Mapping | list):
        raise InvalidInput("is neither a map nor a list", field=field)
    if len(entries) > MAX_PRICES:
        raise InvalidInput(f"holds {len(entries)} entries, {MAX_PRICES} at most", field=field)
    prices: dict[tuple[str, str], Price] = {}
    if isinstance(entries, Mapping):
        for name, value in entries.items():
            if entries is data and name == "currency":
                continue
            member, _, product = str(name).rpartition("/")
            prices[member, _product(product, f"{field}.{name}")] = Price(_amount(value, f"{field}.{name}"))
        return PriceTable(prices, currency, fetched)
    for index, entry in enumerate(entries):
        where = f"{field}[{index}]"
        if not isinstance(entry, Mapping):
            raise InvalidInput("is not an object", field=where)
        member = entry.get("member", "")
        if not isinstance(member, str):
            raise InvalidInput("is not a text", field=f"{where}.member")
        prices[member, _product(entry.get("gpu"), f"{where}.gpu")] = Price(
            _amount(entry.get("hour"), f"{where}.hour"),
            _amount(entry.get("interruptionsPerHour", 0.0), f"{where}.interruptionsPerHour"),
            _amount(entry.get("restartFraction", 0.0), f"{where}.restartFraction"),
        )
    return PriceTable(prices, currency, fetched)


def _product(value: object, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInput("names no GPU product", field=field, hint="Such as H100.")
    return value.lower()


def _amount(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise InvalidInput(f"{value!r} is not a number of 0 or more", field=field)
    return float(value)
