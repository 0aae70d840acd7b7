"""Which members share a MultiKueueConfig, which holds at most 20. Pure.

A member stays in its shard for as long as it is in the Fleet: Kueue takes a member that changes its config for
one that is gone, and starts what runs there a second time. So only a new member is given a shard, the first
with room, and a shard that is empty keeps its number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from arbora_hub.kubernetes.multikueue.kinds import CONFIG_LIMIT


def assigned(before: Mapping[str, int], members: Iterable[str], limit: int = CONFIG_LIMIT) -> dict[str, int]:
    """Member -> number of its shard, from 0. before: the same as it is now, those that are gone included."""
    wanted = sorted(set(members))
    shards = {one: before[one] for one in wanted if one in before}
    sizes = Counter(shards.values())
    for one in wanted:
        if one in shards:
            continue
        shard = 0
        while sizes[shard] >= limit:
            shard += 1
        shards[one] = shard
        sizes[shard] += 1
    return shards
