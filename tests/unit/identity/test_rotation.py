"""A leaf is renewed around its half life; a CA is replaced without stranding anybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from arbora.errors import Conflict, InvalidInput
from arbora.identity.rotation import (
    TABLE,
    Phase,
    Slot,
    Slots,
    Step,
    activate,
    begin,
    living,
    next_step,
    prepare,
    renew_at,
    retire,
    signer,
    trusted,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
LEAF = timedelta(hours=24)
LIFE = timedelta(days=20)
BACKDATE = timedelta(minutes=5)
SECOND = timedelta(seconds=1)


# leaves


def test_a_leaf_is_renewed_at_half_of_its_life() -> None:
    assert renew_at(START - BACKDATE, START + LEAF, 0.5) == START + LEAF / 2


def test_the_jitter_is_ten_percent_either_way() -> None:
    assert renew_at(START - BACKDATE, START + LEAF, 0.0) == START + LEAF / 2 * 0.9
    assert renew_at(START - BACKDATE, START + LEAF, 1.0) == START + LEAF / 2 * 1.1


@given(st.integers(min_value=1, max_value=10**8), st.floats(min_value=0, max_value=1))
def test_a_renewal_is_due_after_the_issue_and_before_the_end(seconds: int, jitter: float) -> None:
    """Also for a leaf that lives shorter than it is backdated: else it would be renewed without pause."""
    end = START + timedelta(seconds=seconds)
    assert START < renew_at(START - BACKDATE, end, jitter) < end


@pytest.mark.parametrize("jitter", [-0.01, 1.01, float("nan")])
def test_a_jitter_out_of_range_is_refused(jitter: float) -> None:
    with pytest.raises(InvalidInput):
        renew_at(START, START + LEAF, jitter)


# every phase and step


def _slot(phase: Phase, since: datetime = START, serial: str = "") -> Slot:
    return Slot(serial or phase.value, phase, START - BACKDATE, START + LIFE, since)


LATER = START + LEAF + SECOND


def _prepare(slots: Slots) -> Slots:
    return prepare(slots, "new", LATER - BACKDATE, LATER + LIFE, LATER)


def _activate(slots: Slots) -> Slots:
    return activate(slots, LATER, LEAF)


def _retire(slots: Slots) -> Slots:
    return retire(slots, LATER, LEAF)


_STEPS: dict[Step, Callable[[Slots], Slots]] = {
    Step.PREPARE: _prepare,
    Step.ACTIVATE: _activate,
    Step.RETIRE: _retire,
}

# from, step, to: all that there is. None stands for an error.
_CASES: list[tuple[tuple[str, ...], Step, tuple[str, ...] | None]] = [
    ((), Step.PREPARE, ("prepared",)),
    ((), Step.ACTIVATE, None),
    ((), Step.RETIRE, None),
    (("active",), Step.PREPARE, ("active", "prepared")),
    (("active",), Step.ACTIVATE, None),
    (("active",), Step.RETIRE, None),
    (("prepared",), Step.PREPARE, None),
    (("prepared",), Step.ACTIVATE, ("active",)),
    (("prepared",), Step.RETIRE, None),
    (("retiring",), Step.PREPARE, None),
    (("retiring",), Step.ACTIVATE, None),
    (("retiring",), Step.RETIRE, ()),
    (("active", "prepared"), Step.PREPARE, None),
    (("active", "prepared"), Step.ACTIVATE, ("retiring", "active")),
    (("active", "prepared"), Step.RETIRE, None),
    (("retiring", "active"), Step.PREPARE, None),
    (("retiring", "active"), Step.ACTIVATE, None),
    (("retiring", "active"), Step.RETIRE, ("active",)),
]


@pytest.mark.parametrize(("before", "step", "after"), _CASES)
def test_every_step_in_every_state_is_decided(
    before: tuple[str, ...], step: Step, after: tuple[str, ...] | None
) -> None:
    slots = tuple(_slot(Phase(phase)) for phase in before)
    if after is None:
        with pytest.raises(Conflict) as refused:
            _STEPS[step](slots)
        assert refused.value.hint
    else:
        assert tuple(slot.phase.value for slot in _STEPS[step](slots)) == after


def test_the_table_has_every_phase_and_step() -> None:
    assert set(TABLE) == set(product(Phase, Step))


def test_a_step_renews_the_time_of_those_it_moves_and_of_no_other() -> None:
    old, new = _activate((_slot(Phase.ACTIVE), _slot(Phase.PREPARED)))
    assert (old.phase_since, new.phase_since) == (LATER, LATER)
    kept, _ = _prepare((_slot(Phase.ACTIVE),))
    assert kept == _slot(Phase.ACTIVE)


# the two waits


def test_a_prepared_ca_waits_one_leaf_lifetime_before_it_signs() -> None:
    slots = (_slot(Phase.ACTIVE), _slot(Phase.PREPARED))
    with pytest.raises(Conflict, match="too early") as refused:
        activate(slots, START + LEAF, LEAF)
    assert "2026-03-02 00:00:00" in refused.value.hint
    assert signer(activate(slots, START + LEAF + SECOND, LEAF), LATER).serial == "prepared"


def test_a_retiring_ca_waits_one_leaf_lifetime_before_it_goes() -> None:
    slots = (_slot(Phase.RETIRING), _slot(Phase.ACTIVE))
    with pytest.raises(Conflict, match="too early"):
        retire(slots, START + LEAF, LEAF)
    assert trusted(retire(slots, START + LEAF + SECOND, LEAF), LATER) == ("active",)


def test_who_forces_a_step_does_not_wait() -> None:
    slots = activate((_slot(Phase.ACTIVE), _slot(Phase.PREPARED)), START, LEAF, forced=True)
    assert trusted(retire(slots, START, LEAF, forced=True), START) == ("prepared",)


def test_force_does_not_replace_the_step_before() -> None:
    with pytest.raises(Conflict, match="no CA is prepared"):
        activate((_slot(Phase.ACTIVE),), START, LEAF, forced=True)
    with pytest.raises(Conflict, match="no CA is retiring"):
        retire((_slot(Phase.ACTIVE), _slot(Phase.PREPARED)), START, LEAF, forced=True)


def test_a_prepared_ca_does_not_wait_for_one_that_has_ended() -> None:
    old = Slot("old", Phase.ACTIVE, START - LIFE, START, START - LIFE)
    slots = activate((old, _slot(Phase.PREPARED)), START + SECOND, LEAF)
    assert [slot.serial for slot in slots] == ["prepared"]


# a new CA


def test_the_first_ca_signs_at_once() -> None:
    slots = begin("1", START - BACKDATE, START + LIFE, START)
    assert signer(slots, START).serial == "1"
    assert trusted(slots, START) == ("1",)


def test_a_prepared_ca_is_trusted_and_does_not_sign() -> None:
    slots = _prepare(begin("1", START - BACKDATE, START + LIFE, START))
    assert trusted(slots, LATER) == ("1", "new")
    assert signer(slots, LATER).serial == "1"


def test_a_ca_is_not_prepared_twice_nor_when_it_is_not_valid() -> None:
    slots = begin("1", START - BACKDATE, START + LIFE, START)
    with pytest.raises(Conflict, match="known already"):
        prepare(slots, "1", START, START + LIFE, START)
    for begins, ends in ((START + SECOND, START + LIFE), (START - LIFE, START)):
        with pytest.raises(Conflict, match="not valid now"):
            prepare(slots, "2", begins, ends, START)


def test_a_ca_that_has_ended_counts_as_gone() -> None:
    slots = (_slot(Phase.ACTIVE),)
    end = START + LIFE
    assert living(slots, end) == slots
    assert trusted(slots, end + SECOND) == ()
    with pytest.raises(Conflict, match="no valid CA"):
        signer(slots, end + SECOND)


# the automatic decision


@pytest.mark.parametrize(
    ("slots", "at", "step", "sentence"),
    [
        pytest.param((), START, Step.PREPARE, "No CA is valid.", id="none"),
        pytest.param(
            (_slot(Phase.ACTIVE),), START, None, "another one is prepared from 2026-03-10 23:57:30", id="young"
        ),
        pytest.param(
            (_slot(Phase.ACTIVE),), START + LIFE / 2, Step.PREPARE, "Half of the life of CA active", id="half"
        ),
        pytest.param(
            (_slot(Phase.ACTIVE), _slot(Phase.PREPARED)),
            START + LEAF,
            None,
            "activate is due at 2026-03-02 00:00:00",
            id="prepared just now",
        ),
        pytest.param(
            (_slot(Phase.ACTIVE), _slot(Phase.PREPARED)),
            LATER,
            Step.ACTIVATE,
            "was prepared",
            id="prepared long ago",
        ),
        pytest.param(
            (_slot(Phase.PREPARED),), START, Step.ACTIVATE, "no other one is valid", id="only a prepared one"
        ),
        pytest.param(
            (_slot(Phase.RETIRING), _slot(Phase.ACTIVE)),
            START + LEAF,
            None,
            "retire is due",
            id="replaced just now",
        ),
        pytest.param(
            (_slot(Phase.RETIRING), _slot(Phase.ACTIVE)),
            LATER,
            Step.RETIRE,
            "was replaced",
            id="replaced long ago",
        ),
        pytest.param((_slot(Phase.ACTIVE),), START + LIFE + SECOND, Step.PREPARE, "No CA is valid.", id="ended"),
    ],
)
def test_the_step_that_is_due_comes_with_its_reason(
    slots: Slots, at: datetime, step: Step | None, sentence: str
) -> None:
    decision = next_step(slots, at, LEAF)
    assert decision.step is step
    assert sentence in decision.sentence


@dataclass(frozen=True)
class Leaf:
    """A child that has heard nothing of its hub since it got this certificate."""

    issuer: str
    ends: datetime
    bundle: tuple[str, ...]


class World:
    """A hub that issues leaves all the time, and the children that hold them."""

    def __init__(self) -> None:
        self.now = START
        self.serials = map(str, count(1))
        self.slots = begin(next(self.serials), START - BACKDATE, START + LIFE, START)
        self.leaves: list[Leaf] = []
        self.history = ["1"]

    def pass_time(self, passed: timedelta) -> None:
        self.now += passed
        self.leaves = [leaf for leaf in self.leaves if self.now <= leaf.ends]

    def issue(self) -> None:
        try:
            by = signer(self.slots, self.now)
        except Conflict:
            return
        ends = min(self.now + LEAF, by.not_after)
        self.leaves.append(Leaf(by.serial, ends, trusted(self.slots, self.now)))

    def take(self, step: Step) -> None:
        match step:
            case Step.PREPARE:
                self.slots = prepare(
                    self.slots, next(self.serials), self.now - BACKDATE, self.now + LIFE, self.now
                )
            case Step.ACTIVATE:
                self.slots = activate(self.slots, self.now, LEAF)
                self.history.append(signer(self.slots, self.now).serial)
            case Step.RETIRE:
                self.slots = retire(self.slots, self.now, LEAF)

    def check(self) -> None:
        phases = [slot.phase for slot in self.slots]
        assert phases.count(Phase.ACTIVE) <= 1
        assert phases.count(Phase.PREPARED) <= 1
        assert phases.count(Phase.RETIRING) <= 1
        roots = trusted(self.slots, self.now)
        for leaf in self.leaves:
            assert leaf.issuer in roots, "the hub stopped trusting a child whose certificate is valid"
            assert signer(self.slots, self.now).serial in leaf.bundle, "a child does not trust its hub"


class Rotation(RuleBasedStateMachine):
    """Any steps at any time, whether by hand or automatic, none forced."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(
        hours=st.one_of(st.sampled_from([12, 24, 24 * 10, 24 * 20]), st.integers(0, 500)),
        seconds=st.integers(0, 2),
    )
    def pass_time(self, hours: int, seconds: int) -> None:
        self.world.pass_time(timedelta(hours=hours, seconds=seconds))

    @rule()
    def issue(self) -> None:
        self.world.issue()

    @rule(step=st.sampled_from(Step))
    def take_by_hand(self, step: Step) -> None:
        before = self.world.slots
        try:
            self.world.take(step)
        except Conflict:
            assert self.world.slots == before

    @rule()
    def take_what_is_due(self) -> None:
        due = next_step(self.world.slots, self.world.now, LEAF).step
        if due is not None:
            self.world.take(due)

    @invariant()
    def nobody_is_stranded(self) -> None:
        self.world.check()


TestRotation = Rotation.TestCase
TestRotation.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@settings(max_examples=20, deadline=None)
@given(st.integers(min_value=1, max_value=20), st.randoms(use_true_random=False))
def test_a_hub_that_follows_the_decisions_always_has_a_ca_that_every_child_trusts(
    hours: int, chance: object
) -> None:
    world = World()
    while world.now < START + 3 * LIFE:
        world.pass_time(timedelta(hours=hours, seconds=chance.randint(0, 3600)))  # type: ignore[attr-defined]
        due = next_step(world.slots, world.now, LEAF).step
        if due is not None:
            world.take(due)
        assert signer(world.slots, world.now)
        world.issue()
        world.check()
    assert len(world.history) >= 5
