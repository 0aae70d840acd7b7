"""Subscriptions coalesce and never wait for each other."""

from __future__ import annotations

import asyncio

from arbora_hub.changes import Changes


async def test_a_slow_subscriber_gets_each_key_once_in_order() -> None:
    changes = Changes()
    with changes.subscribe() as subscription:
        for key in ("a", "b", "a", "c", "b"):
            changes.notify(key)
        batches = subscription.batches()
        assert await anext(batches) == ("a", "b", "c")
        changes.notify("a")
        assert await anext(batches) == ("a",)
        await batches.aclose()


async def test_what_happens_between_two_batches_is_not_lost() -> None:
    changes = Changes()
    with changes.subscribe() as subscription:
        batches = subscription.batches()
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        changes.notify("late")
        assert await waiting == ("late",)
        await batches.aclose()


async def test_who_has_left_hears_nothing_and_holds_nothing() -> None:
    changes = Changes()
    with changes.subscribe():
        pass
    changes.notify("a")
