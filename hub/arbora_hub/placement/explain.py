"""Why a decision is what it is: reason counts, the nearest misses, the parts of every score. Plain data.

A usual decision keeps the few best and the nearest misses; with `top=None` it keeps every child, which is what
`explain` and `simulate` show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from arbora_hub.placement.arrays import Bools, Ints
from arbora_hub.placement.filters.port import Filter
from arbora_hub.placement.ranking import Ranking
from arbora_hub.placement.scores.port import UNKNOWN_SCORE
from arbora_hub.placement.subtrees import judged_below
from arbora_hub.placement.world import World


@dataclass(frozen=True, slots=True)
class Rejected:
    """One reason against one child."""

    child: str
    filter: str
    code: str
    sentence: str
    """To be read after the child's name."""


@dataclass(frozen=True, slots=True)
class ScorePart:
    """One scorer's say on one child."""

    name: str
    weight: float
    score: float
    reason: str = ""
    """Not empty where nothing was known and the score stands for that."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A child that could take some, best first."""

    child: str
    total: float
    parts: tuple[ScorePart, ...]
    room: int
    """Replicas that could be added before the decision."""
    replicas: int
    """What it runs by the decision."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is kept of one decision's reasons."""

    children: int
    """Children that were looked at."""
    counts: tuple[tuple[str, int], ...]
    """Reason code -> children whose first reason it is, most first."""
    rejected: tuple[Rejected, ...]
    scored: tuple[Scored, ...]

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Head and lines, to be shown as they are."""
        names = [part.name for part in self.scored[0].parts] if self.scored else []
        head = ("child", "replicas", "total", *names, "why not")
        lines = [
            (
                one.child,
                str(one.replicas),
                f"{one.total:.2f}",
                *(f"{part.score:.1f}{'?' if part.reason else ''}" for part in one.parts),
                "",
            )
            for one in self.scored
        ]
        reasons: dict[str, list[str]] = {}
        for each in self.rejected:
            reasons.setdefault(each.child, []).append(each.sentence)
        lines += [
            (child, "", "", *("" for _ in names), "; ".join(dict.fromkeys(sentences)))
            for child, sentences in reasons.items()
        ]
        return head, lines

    def data(self) -> dict[str, Any]:
        """The same for programs: JSON values only."""
        return {
            "children": self.children,
            "counts": dict(self.counts),
            "scored": [
                {
                    "child": one.child,
                    "replicas": one.replicas,
                    "room": one.room,
                    "total": one.total,
                    "parts": [
                        {"name": part.name, "weight": part.weight, "score": part.score, "reason": part.reason}
                        for part in one.parts
                    ],
                }
                for one in self.scored
            ],
            "rejected": [
                {"child": one.child, "filter": one.filter, "code": one.code, "sentence": one.sentence}
                for one in self.rejected
            ],
        }


@dataclass(frozen=True, slots=True)
class Review:
    """What the filters said."""

    verdicts: tuple[tuple[Filter, Ints], ...]
    new: Bools
    """Per slot: may take new work."""
    stays: Bools
    """Per slot: what it has may stay."""


def reviewed(world: World, filters: Sequence[Filter]) -> Review:
    """Ask every filter that the request can fail."""
    alive = world.snapshot.alive()
    new, stays = alive.copy(), alive.copy()
    hubs = world.snapshot.column("hub", lambda place, rows: place.hub, np.bool_, False)
    verdicts: list[tuple[Filter, Ints]] = []
    for one in filters:
        if not one.applies(world.request):
            continue
        found = one.verdicts(world)
        verdicts.append((one, found))
        passes = found == 0
        new &= passes
        if one.lasting:
            stays &= passes | hubs if judged_below(one.name, world.request) else passes
    return Review(tuple(verdicts), new, stays)


def explained(
    world: World, review: Review, ranking: Ranking, order: Ints, replicas: Ints, top: int | None
) -> Explanation:
    """Gather the reasons. order: slots that could take some, best first. replicas: per slot, as decided."""
    alive = world.snapshot.alive()
    first = np.full(len(alive), -1, dtype=np.int64)
    for index in range(len(review.verdicts) - 1, -1, -1):
        found = review.verdicts[index][1]
        first = np.where(found > 0, index * 16 + found, first)
    out = alive & ~review.new
    tally = np.bincount(first[out & (first >= 0)], minlength=0)
    counts = [
        (review.verdicts[number // 16][0].codes[number % 16 - 1], int(tally[number]))
        for number in np.flatnonzero(tally).tolist()
    ]
    counts.sort(key=lambda each: (-each[1], each[0]))
    slots = _nearest(world, review, out, first, top)
    rejected = tuple(
        Rejected(world.snapshot.place(slot).name, one.name, code, one.sentence(world, slot, code))
        for slot in slots
        for one, code in _reasons(review, slot, every=top is None)
    )
    scored = tuple(_scored(world, ranking, slot, replicas) for slot in _shown(order, replicas, top))
    return Explanation(int(alive.sum()), tuple(counts), rejected, scored)


def _shown(order: Ints, replicas: Ints, top: int | None) -> list[int]:
    """The best, but always some of those that were chosen."""
    if top is None or len(order) <= top:
        return [int(slot) for slot in order]
    chosen = np.flatnonzero(replicas[order] > 0)[: max(1, top // 2)].tolist()
    best = [place for place in range(top) if place not in chosen][: top - len(chosen)]
    return [int(order[place]) for place in sorted([*chosen, *best])]


def _nearest(world: World, review: Review, out: Bools, first: Ints, top: int | None) -> list[int]:
    """Rejected children; those that failed the latest question came nearest."""
    slots = np.flatnonzero(out)
    if top is None:
        return sorted(map(int, slots), key=lambda slot: world.snapshot.place(slot).name)
    latest = first[slots] // 16
    nearest: list[int] = []
    for index in range(len(review.verdicts) - 1, -1, -1):
        # a hash picks among equals: names would show the same few children of a fleet every time
        equal = slots[latest == index]
        if len(equal) > top:
            equal = equal[np.argpartition(world.ties[equal], top)[:top]]
        nearest += equal[np.argsort(world.ties[equal])].tolist()
        if len(nearest) >= top:
            break
    return nearest[:top]


def _reasons(review: Review, slot: int, *, every: bool) -> list[tuple[Filter, str]]:
    found = [(one, one.codes[int(verdicts[slot]) - 1]) for one, verdicts in review.verdicts if verdicts[slot] > 0]
    return found if every else found[:1]


def _scored(world: World, ranking: Ranking, slot: int, replicas: Ints) -> Scored:
    parts = []
    for part in ranking.parts:
        score = float(part.scores[slot])
        unknown = score != score  # NaN
        parts.append(
            ScorePart(
                part.name,
                part.weight,
                UNKNOWN_SCORE if unknown else round(score, 4),
                f"{part.missing} are not known" if unknown else "",
            )
        )
    return Scored(
        world.snapshot.place(slot).name,
        float(ranking.totals[slot]),
        tuple(parts),
        int(world.room.pods[slot]),
        int(replicas[slot]),
    )
