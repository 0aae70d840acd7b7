"""Price tables: two ways to write them, their age, and what is wrong with a bad one."""

from __future__ import annotations

import json

import pytest

from arbora.errors import InvalidInput
from arbora_hub.placement.cost import parse_prices
from tests.unit.placement.fleet import A100, H100


def test_a_member_s_own_price_comes_before_the_product_s() -> None:
    table = parse_prices('{"currency": "USD", "prices": {"H100": 2.5, "edge-7/h100": 1.9}}', fetched=10.0)
    assert (table.price("edge-7", H100), table.price("other", H100), table.price("other", A100)) == (
        1.9,
        2.5,
        None,
    )
    assert table.currency == "USD"
    assert parse_prices({"currency": "EUR", "H100": 3}, 0.0).price("x", H100) == 3.0


def test_interruptions_make_a_price_higher() -> None:
    entry = {"gpu": "H100", "hour": 1.0, "interruptionsPerHour": 0.2, "restartFraction": 0.5}
    assert parse_prices({"prices": [entry]}, 0.0).price("a", H100) == pytest.approx(1.1)


def test_prices_are_used_for_a_day() -> None:
    table = parse_prices({"H100": 1}, fetched=100.0)
    assert table.age(160.0) == 60.0
    assert table.usable(100.0 + 24 * 3600)
    assert not table.usable(101.0 + 24 * 3600)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ("[1", "prices"),
        ("[]", "prices"),
        ({"H100": -1}, "prices.H100"),
        ({"H100": True}, "prices.H100"),
        ({"prices": [{"gpu": "H100"}]}, "prices[0].hour"),
        ({"prices": [{"hour": 1}]}, "prices[0].gpu"),
        ({"prices": [{"gpu": "H100", "hour": 1, "member": 3}]}, "prices[0].member"),
        (json.dumps({"H100": float("nan")}), "prices.H100"),
    ],
)
def test_a_wrong_entry_is_named(data: object, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_prices(data, 0.0)  # type: ignore[arg-type]
    assert caught.value.field == field
