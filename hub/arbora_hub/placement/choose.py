"""Which children take a workload: those listed and those selected, less those that take no new work. Pure.

Here the scheduler will stand; today a placement is an explicit list and a label selector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from arbora.manifests.matching import matches
from arbora.manifests.selectors import Selector

BLOCKING_EFFECTS = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True)
class Wish:
    """Where a workload is to go."""

    members: tuple[str, ...] = ()
    """Names of children."""
    selector: Selector | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What placement knows of one child."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[tuple[str, str, str], ...] = ()
    """(key, value, effect)"""
    cordoned: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The children that take the workload, in the order of their names, and why others don't."""

    chosen: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    """(name, reason) of listed or selected children that don't take it."""

    @property
    def sentence(self) -> str:
        """The decision in one sentence."""
        placed = f"placed on {len(self.chosen)} member{'s' * (len(self.chosen) != 1)}"
        if not self.left_out:
            return placed if self.chosen else "no member is listed or selected"
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.left_out[:3])
        more = f" and {len(self.left_out) - 3} more" if len(self.left_out) > 3 else ""
        return f"{placed}; not on {reasons}{more}"


def choose(wish: Wish, candidates: Iterable[Candidate], present: frozenset[str]) -> Choice:
    """Decide.

    present: children that have the workload now; they keep it while they are listed or selected, whatever
    keeps new work away from them.
    """
    known = {candidate.name: candidate for candidate in candidates}
    wanted = {name for name in wish.members if name in known}
    if wish.selector is not None:
        wanted |= {name for name, one in known.items() if matches(wish.selector, one.labels)}
    chosen: list[str] = []
    left_out: list[tuple[str, str]] = [
        (name, "is not a member of this hub") for name in sorted(set(wish.members) - known.keys())
    ]
    for name in sorted(wanted):
        reason = "" if name in present else _keeps_new_work_away(known[name])
        if reason:
            left_out.append((name, reason))
        else:
            chosen.append(name)
    return Choice(tuple(chosen), tuple(left_out))


def _keeps_new_work_away(candidate: Candidate) -> str:
    if candidate.cordoned:
        return "is cordoned"
    for key, value, effect in candidate.taints:
        if effect in BLOCKING_EFFECTS:
            return f"has the taint {key}{'=' + value if value else ''}:{effect}"
    if candidate.lost:
        return "is lost"
    return ""
