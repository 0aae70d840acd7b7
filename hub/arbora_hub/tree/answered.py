"""Calls that were taken lately, and their answers: a call that is delivered twice is done once.

After a cut the hub above may send a call again that was done meanwhile, and its answer may be lost with the old
link. Pure: time is passed in. Bounded in number and bytes; the oldest go first.
"""

from __future__ import annotations

from collections import OrderedDict

KEEP_SECONDS = 60.0
MAX_CALLS = 10_000
MAX_BYTES = 16 * 1024 * 1024
"""Of all answers that are kept. Beyond, a call is still known and its answer is not."""


class Answered:
    """Calls by id, the oldest first."""

    __slots__ = ("_answers", "_bytes", "_taken")

    def __init__(self) -> None:
        self._taken: OrderedDict[str, float] = OrderedDict()
        self._answers: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, call_id: str, now: float) -> bool:
        """Whether the call is new and so is to be done. now: seconds of a clock that never goes back."""
        while self._taken and now - next(iter(self._taken.values())) >= KEEP_SECONDS:
            self._forget_oldest()
        if call_id in self._taken:
            return False
        if len(self._taken) >= MAX_CALLS:
            self._forget_oldest()
        self._taken[call_id] = now
        return True

    def answer_to(self, call_id: str) -> bytes | None:
        """The answer that was given; None if there is none yet, or it was dropped to make room."""
        return self._answers.get(call_id)

    def keep(self, call_id: str, answer: bytes) -> None:
        """The call was answered."""
        if call_id not in self._taken or call_id in self._answers:
            return
        self._answers[call_id] = answer
        self._bytes += len(answer)
        while self._bytes > MAX_BYTES:
            self._bytes -= len(self._answers.popitem(last=False)[1])

    def _forget_oldest(self) -> None:
        call_id, _ = self._taken.popitem(last=False)
        self._bytes -= len(self._answers.pop(call_id, b""))
